/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /livez, /readyz and /healthz: named checks, all of one endpoint (?verbose, ?exclude=NAME) or one by its path (/readyz/etcd), in
 * upstream's names and words.
 */
#ifndef KEELSON_APISERVER_HTTP_HEALTH_H
#define KEELSON_APISERVER_HTTP_HEALTH_H

#include "apiserver/registry/registry.h"

/* Answers the call when its path is a health check's. False: it is another path. */
bool health_serve(struct call *c);
/* Adds the paths that are served. */
void health_paths(struct strlist *paths);

#endif
