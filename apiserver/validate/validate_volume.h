/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volume sources that pods and persistent volumes share. */
#ifndef KEELSON_APISERVER_VALIDATE_VOLUME_H
#define KEELSON_APISERVER_VALIDATE_VOLUME_H

#include "apiserver/validate/validate_internal.h"

struct volume_source {
	const char *kind, *path; /* path: the name in error paths where it differs; else NULL */
	const char *required[4]; /* members that may not be empty */
	void (*check)(struct field_errors *e, const struct fpath *p, const json_t *source); /* or NULL */
};
extern const struct volume_source volume_sources[];
extern const size_t volume_source_count;

void check_volume_source(struct field_errors *e, const struct fpath *parent, const struct volume_source *s, const json_t *source);
void check_host_path(struct field_errors *e, const struct fpath *p, const json_t *source);
void check_csi_driver_name(struct field_errors *e, const struct fpath *p, const char *name);

#endif
