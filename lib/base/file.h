/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files: whole reads with a limit, atomic durable writes, directories. All return 0 or -errno. */
#ifndef KEELSON_BASE_FILE_H
#define KEELSON_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"

/* Appends the whole file to out; -EFBIG beyond max_bytes. */
int file_read(const char *path, size_t max_bytes, struct strbuf *out);
/* Writes to a temporary sibling, fsyncs, renames, fsyncs the directory: readers see the old or the new file. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
int file_mkdir_p(const char *path, mode_t mode);
/* Removes a tree without following symbolic links or crossing mount points; a missing path is success. */
int file_rm_rf(const char *path);
bool file_exists(const char *path);
/* Opens (creating) and takes an exclusive flock. wait=false: -EWOULDBLOCK when held. *ret_fd is owned; closing unlocks. */
int file_lock(const char *path, bool wait, int *ret_fd);
int fd_set_nonblock(int fd, bool on);

#endif
