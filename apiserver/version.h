/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /version says: the Kubernetes version whose API this is. */
#ifndef KEELSON_APISERVER_VERSION_H
#define KEELSON_APISERVER_VERSION_H

#define VERSION_GIT "v1.36.2+keelson"
#define VERSION_BUILD_DATE "2026-11-21T00:00:00Z"
#define VERSION_JSON                                                                                                       \
	"{\"major\":\"1\",\"minor\":\"36\",\"gitVersion\":\"" VERSION_GIT "\",\"gitCommit\":\"\",\"gitTreeState\":\"clean\"," \
	"\"buildDate\":\"" VERSION_BUILD_DATE "\",\"goVersion\":\"none\",\"compiler\":\"gcc\",\"platform\":\"linux/amd64\"}\n"

#endif
