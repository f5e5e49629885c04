/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory of small files replaced all at once, as every reader of ConfigMap volumes expects: the files stand in a
 * directory with a time for a name, the symbolic link "..data" names it, and each visible name is a link through it.
 */
#ifndef KEELSON_AGENT_VOLUME_ATOMIC_H
#define KEELSON_AGENT_VOLUME_ATOMIC_H

#include <sys/types.h>

#include "base/err.h"

struct atomic_file {
	char *path; /* relative, may have directories; own */
	char *data; /* own */
	size_t len;
	mode_t mode;
	uid_t uid;  /* (uid_t)-1: as it is */
};
struct atomic_files {
	struct atomic_file *items;
	size_t count, cap;
};
void atomic_files_done(struct atomic_files *f);
#define _cleanup_atomic_files_ _cleanup_(atomic_files_done)
/* data is moved. A later file of the same path replaces an earlier one. -EINVAL: a path that is absolute, has ".."
 * or an empty part, or begins with "..". */
int atomic_files_add(struct atomic_files *f, const char *path, char *data, size_t len, mode_t mode, uid_t uid,
		     struct err *err);
/* Makes dir (which exists) show exactly these files. gid -1: the files' group stays; else they get it and may be read
 * by it (fsGroup). Nothing is touched when the files are the same already; *ret_changed (may be NULL) tells. */
int atomic_update(const char *dir, const struct atomic_files *f, gid_t gid, bool *ret_changed, struct err *err);

#endif
