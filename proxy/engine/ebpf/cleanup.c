/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removing everything that is pinned, attached and mounted. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "proxy/engine/ebpf/internal.h"

void ebpf_remove_tree(const char *dir)
{
	_cleanup_(strlist_done) struct strlist names = { 0 };
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *n; (n = readdir(d));)
		if (!str_eq(n->d_name, ".") && !str_eq(n->d_name, ".."))
			strlist_addf(&names, "%s/%s", dir, n->d_name);
	closedir(d);
	for (size_t i = 0; i < names.count; i++)
		if (unlink(names.items[i]) < 0 && (errno == EISDIR || errno == EPERM))
			ebpf_remove_tree(names.items[i]);
	rmdir(dir);
}

/* Unmounts the bpffs when it was mounted by ensure_pin_dir() and nothing is left in it. */
static void unmount_own(void)
{
	_cleanup_strbuf_ struct strbuf mounts = { 0 };
	if (rmdir("/sys/fs/bpf/keelson") < 0 && errno != ENOENT)
		return;
	if (file_read("/proc/self/mounts", 1 << 22, &mounts) < 0 || !mounts.data)
		return;
	if (!strstr(mounts.data, EBPF_OWN_MOUNT " /sys/fs/bpf bpf "))
		return;
	DIR *d = opendir("/sys/fs/bpf");
	size_t entries = 0;
	for (struct dirent *n; d && (n = readdir(d));) /* the kernel itself puts maps.debug and progs.debug there */
		entries += n->d_name[0] != '.' && !str_ends(n->d_name, ".debug");
	if (d)
		closedir(d);
	if (d && entries == 0)
		umount2("/sys/fs/bpf", 0);
}

/* At once, whoever else holds the links: removing the pin would do when nobody did. */
static void detach_links(const char *pin_dir)
{
	_cleanup_free_ char *dir = str_printf("%s/links", pin_dir);
	DIR *d = opendir(dir);
	for (struct dirent *n; d && (n = readdir(d));) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, n->d_name);
		_cleanup_close_ int fd = n->d_name[0] == '.' ? -1 : bpf_obj_get(path);
		if (fd >= 0)
			bpf_link_detach(fd);
	}
	if (d)
		closedir(d);
}

int engine_ebpf_cleanup(const char *pin_dir, struct err *err)
{
	ebpf_libbpf_quiet();
	int r = ebpf_tc_detach_all(err);
	if (ebpf_is_bpffs(pin_dir)) {
		detach_links(pin_dir);
		ebpf_remove_tree(pin_dir);
	}
	if (str_starts(pin_dir, "/sys/fs/bpf/keelson/"))
		unmount_own();
	if (r == 0 && file_exists(pin_dir) && ebpf_is_bpffs(pin_dir))
		return err_set(err, EBUSY, "%s could not be removed", pin_dir);
	return r;
}
