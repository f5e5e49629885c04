/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The atomic writer. One rename of "..data" is the moment at which readers see the new files; whatever fails before it
 * leaves the old ones in place, and a half-made directory is removed at the next update.
 */
#include "agent/volume/atomic.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define DATA_LINK "..data"

void atomic_files_done(struct atomic_files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->items[i].path);
		free(f->items[i].data);
	}
	free(f->items);
	*f = (struct atomic_files){ 0 };
}

static bool is_safe_path(const char *path)
{
	struct strlist parts = { 0 };
	bool safe = *path && *path != '/' && !str_starts(path, "..") && !strstr(path, "//") && !str_ends(path, "/") &&
		    strlen(path) < 4096;

	strlist_split(&parts, path, '/');
	for (size_t i = 0; i < parts.count; i++)
		safe = safe && !str_eq(parts.items[i], "..") && !str_eq(parts.items[i], ".") &&
		       strlen(parts.items[i]) <= 255;
	strlist_done(&parts);
	return safe;
}

int atomic_files_add(struct atomic_files *f, const char *path, char *data, size_t len, mode_t mode, uid_t uid,
		     struct err *err)
{
	struct atomic_file *file = NULL;

	if (!is_safe_path(path)) {
		free(data);
		return err_set(err, EINVAL, "invalid path \"%s\" in a volume: it must be relative and may not contain '..'",
			       path);
	}
	for (size_t i = 0; i < f->count; i++)
		if (str_eq(f->items[i].path, path))
			file = &f->items[i];
	if (!file) {
		MEM_GROW(f->items, f->cap, f->count + 1);
		file = &f->items[f->count++];
		*file = (struct atomic_file){ .path = mem_strdup(path) };
	}
	free(file->data);
	file->data = data;
	file->len = len;
	file->mode = mode;
	file->uid = uid;
	return 0;
}

static uint64_t hash_files(const struct atomic_files *f, gid_t gid)
{
	uint64_t sum = gid;

	for (size_t i = 0; i < f->count; i++) {
		const struct atomic_file *file = &f->items[i];
		uint64_t h = hash_bytes(file->path, strlen(file->path) + 1, file->mode + ((uint64_t)file->uid << 16));

		sum += hash_bytes(file->data, file->len, h);
	}
	return sum;
}

static int write_file(int dir_fd, const char *dir, const struct atomic_file *file, gid_t gid, struct err *err)
{
	_cleanup_free_ char *path = mem_strdup(file->path);
	_cleanup_close_ int fd = -1;
	mode_t mode = gid == (gid_t)-1 ? file->mode : file->mode | 0440;
	size_t off = 0;

	for (char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdirat(dir_fd, path, 0755) < 0 && errno != EEXIST)
			return err_set(err, errno, "make directory %s/%s: %s", dir, path, strerror(errno));
		if (gid != (gid_t)-1 && fchownat(dir_fd, path, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0)
			return err_set(err, errno, "change the group of %s/%s: %s", dir, path, strerror(errno));
		*p = '/';
	}
	fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, errno, "create %s/%s: %s", dir, path, strerror(errno));
	while (off < file->len) {
		ssize_t n = write(fd, file->data + off, file->len - off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, errno, "write %s/%s: %s", dir, path, strerror(errno));
		off += (size_t)n;
	}
	if (fchown(fd, file->uid, gid) < 0 || fchmod(fd, mode) < 0)
		return err_set(err, errno, "set owner and mode of %s/%s: %s", dir, path, strerror(errno));
	return 0;
}

/* The visible names: the first parts of the paths. */
static void visible_names(const struct atomic_files *f, struct strlist *out)
{
	for (size_t i = 0; i < f->count; i++) {
		const char *slash = strchr(f->items[i].path, '/');
		_cleanup_free_ char *name =
			slash ? mem_strndup(f->items[i].path, (size_t)(slash - f->items[i].path)) :
				mem_strdup(f->items[i].path);

		if (!strlist_has(out, name))
			strlist_add(out, name);
	}
}

static int link_names(int dir_fd, const char *dir, const struct strlist *names, struct err *err)
{
	for (size_t i = 0; i < names->count; i++) {
		_cleanup_free_ char *target = str_printf(DATA_LINK "/%s", names->items[i]);

		if (symlinkat(target, dir_fd, names->items[i]) < 0 && errno != EEXIST)
			return err_set(err, errno, "link %s/%s: %s", dir, names->items[i], strerror(errno));
	}
	return 0;
}

/* Removes links of names that are gone and directories other than the current one. */
static void remove_stale(int dir_fd, const char *dir, const struct strlist *names, const char *current)
{
	int fd = dup(dir_fd);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(d);
	while ((e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || str_eq(e->d_name, DATA_LINK) ||
		    str_eq(e->d_name, current))
			continue;
		if (str_starts(e->d_name, "..")) {
			_cleanup_free_ char *path = str_printf("%s/%s", dir, e->d_name);

			file_rm_rf(path);
		} else if (!strlist_has(names, e->d_name)) {
			(void)unlinkat(dir_fd, e->d_name, 0);
		}
	}
	closedir(d);
}

static int write_all(int dir_fd, const char *dir, const char *name, const struct atomic_files *f, gid_t gid,
		     struct err *err)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(dir_fd, name, 0755) < 0)
		return err_set(err, errno, "make directory %s/%s: %s", dir, name, strerror(errno));
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set(err, errno, "open %s/%s: %s", dir, name, strerror(errno));
	if (fchmod(fd, 0755) < 0 || (gid != (gid_t)-1 && fchown(fd, (uid_t)-1, gid) < 0))
		return err_set(err, errno, "set owner and mode of %s/%s: %s", dir, name, strerror(errno));
	for (size_t i = 0; i < f->count; i++) {
		int r = write_file(fd, dir, &f->items[i], gid, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int atomic_update(const char *dir, const struct atomic_files *f, gid_t gid, bool *ret_changed, struct err *err)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_strlist_ struct strlist names = { 0 };
	_cleanup_free_ char *name = NULL;
	char suffix[32], current[256], when[32];
	time_t now = time(NULL);
	struct tm tm;
	ssize_t n;
	int r;

	if (dir_fd < 0)
		return err_set(err, errno, "open %s: %s", dir, strerror(errno));
	snprintf(suffix, sizeof(suffix), ".%016llx", (unsigned long long)hash_files(f, gid));
	n = readlinkat(dir_fd, DATA_LINK, current, sizeof(current) - 1);
	current[n > 0 ? n : 0] = '\0';
	visible_names(f, &names);
	if (str_ends(current, suffix)) {
		/* The same files; a crash after the swap may have left links undone. */
		if (ret_changed)
			*ret_changed = false;
		return link_names(dir_fd, dir, &names, err);
	}
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "..%Y_%m_%d_%H_%M_%S", &tm);
	name = str_printf("%s%s", when, suffix);
	remove_stale(dir_fd, dir, &names, current);
	r = write_all(dir_fd, dir, name, f, gid, err);
	if (r == 0 && ((unlinkat(dir_fd, "..data_tmp", 0) < 0 && errno != ENOENT) ||
		       symlinkat(name, dir_fd, "..data_tmp") < 0 ||
		       renameat(dir_fd, "..data_tmp", dir_fd, DATA_LINK) < 0))
		r = err_set(err, errno, "swap %s/" DATA_LINK ": %s", dir, strerror(errno));
	if (r < 0) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, name);

		file_rm_rf(path);
		return r;
	}
	r = link_names(dir_fd, dir, &names, err);
	if (r < 0)
		return r;
	remove_stale(dir_fd, dir, &names, name);
	if (ret_changed)
		*ret_changed = true;
	return 0;
}
