/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of `keelson backup`: a tar archive (POSIX.1-1988 ustar) whose first member, MANIFEST.json, has the name, size and SHA-256
 * of each of the others, which follow in its order. The reader takes only that, and only names it knows: nothing an archive says
 * decides where something is written.
 */
#ifndef KEELSON_CLI_ARCHIVE_H
#define KEELSON_CLI_ARCHIVE_H

#include "base/err.h"
#include "kube/json.h"

enum { ARCHIVE_FORMAT = 1, ARCHIVE_HASH_SIZE = 65, ARCHIVE_MAX_MEMBERS = 16 };

/* What an archive may hold: NULL-terminated names ("store/objects.db"). */
extern const char *const archive_names[];

/* Writes the members that are in dir, by their names, to path: mode 0600, durable, the old or the new file at any time. manifest
 * (borrow) gets "format" and "files". */
int archive_write(const char *path, const char *dir, json_t *manifest, struct err *err);
/* Makes the members below dir, which exists; files have mode 0600, directories 0700, all are on disk when it returns. *ret_manifest is
 * own. What an error leaves in dir is the caller's to remove. */
int archive_read(const char *path, const char *dir, json_t **ret_manifest, struct err *err);

#endif
