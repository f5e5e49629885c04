/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of keelson-controllers. */
#ifndef KEELSON_CONTROLLERS_OPTIONS_H
#define KEELSON_CONTROLLERS_OPTIONS_H

#include "controllers/controller.h"

struct options {
	const char *kubeconfig; /* borrow from argv; NULL: in-cluster */
	const char *listen;     /* NULL: no health endpoint */
	bool leader_elect;
	bool help, version;
	struct controllers_config config; /* own: options_done() */
};
/* 0, or -EINVAL with a sentence for standard error. Reads the files of --root-ca and of the signing CA. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err);
void options_done(struct options *o);
const char *options_usage(void);

#endif
