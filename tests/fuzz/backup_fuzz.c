/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links cli kube io base */
/* Any bytes as a backup: refused with a reason, or read whole; in neither case is there a file by a name that archives have not. */
#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_known(const char *path)
{
	for (size_t i = 0; archive_names[i]; i++)
		if (str_eq(archive_names[i], path) || (str_starts(archive_names[i], path) && archive_names[i][strlen(path)] == '/'))
			return true;
	return false;
}

/* Files and directories of dir, prefix being its name within the archive. */
static void check_below(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);

	BUG_ON(!d);
	for (const struct dirent *e; (e = readdir(d));) {
		_cleanup_free_ char *name = str_printf("%s%s", prefix, e->d_name), *path = str_printf("%s/%s", dir, e->d_name);
		_cleanup_free_ char *inner = str_printf("%s/", name);

		if (e->d_name[0] == '.' && (!e->d_name[1] || str_eq(e->d_name, "..")))
			continue;
		BUG_ON(!is_known(name));
		if (e->d_type == DT_DIR)
			check_below(path, inner);
	}
	closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char dir[] = "/tmp/backup-fuzz-XXXXXX";
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *manifest = NULL;
	_cleanup_close_ int fd = memfd_create("backup", MFD_CLOEXEC);
	char path[64];

	BUG_ON(!mkdtemp(dir) || fd < 0 || write(fd, data, size) != (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = archive_read(path, dir, &manifest, &err);

	BUG_ON((r == 0) != !!manifest || (r < 0 && !err.message));
	check_below(dir, "");
	BUG_ON(file_rm_rf(dir) < 0);
	return 0;
}
