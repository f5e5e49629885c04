/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket hooks: links on the node's cgroup, pinned, so that the next daemon's programs take their place atomically. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "proxy/engine/ebpf/internal.h"

static const struct {
	const char *program;
	enum bpf_attach_type type;
} hooks[EBPF_HOOKS] = {
	/* Those that undo come first: an answer is understood before the first question is translated. */
	{ "sock_release", BPF_CGROUP_INET_SOCK_RELEASE },
	{ "recvmsg4", BPF_CGROUP_UDP4_RECVMSG },          { "recvmsg6", BPF_CGROUP_UDP6_RECVMSG },
	{ "getpeername4", BPF_CGROUP_INET4_GETPEERNAME }, { "getpeername6", BPF_CGROUP_INET6_GETPEERNAME },
	{ "connect4", BPF_CGROUP_INET4_CONNECT },         { "connect6", BPF_CGROUP_INET6_CONNECT },
	{ "sendmsg4", BPF_CGROUP_UDP4_SENDMSG },          { "sendmsg6", BPF_CGROUP_UDP6_SENDMSG },
};

const char *ebpf_hook_name(size_t i)
{
	return hooks[i].program;
}

int ebpf_link_pin(int fd, const char *path, struct err *err)
{
	_cleanup_free_ char *fresh = str_printf("%s_new", path);
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0 || rename(fresh, path) < 0)
		return err_set(err, errno, "pinning %s: %s", path, strerror(errno));
	return 0;
}

static int attach_hook(int cgroup_fd, uint64_t cgroup_id, int prog_fd, enum bpf_attach_type type, const char *path,
		       struct err *err)
{
	_cleanup_close_ int old = bpf_obj_get(path);
	if (old >= 0) {
		struct bpf_link_info info = { 0 };
		uint32_t len = sizeof(info);
		bool ours = bpf_obj_get_info_by_fd(old, &info, &len) == 0 && info.type == BPF_LINK_TYPE_CGROUP &&
			    info.cgroup.cgroup_id == cgroup_id;
		if (ours && bpf_link_update(old, prog_fd, NULL) == 0)
			return 0;
	}
	_cleanup_close_ int link = bpf_link_create(prog_fd, cgroup_fd, type, NULL);
	if (link < 0)
		return err_set(err, errno, "attaching %s to the cgroup: %s", strrchr(path, '/') + 1, strerror(errno));
	return ebpf_link_pin(link, path, err);
}

int ebpf_open_cgroup(const char *path, struct err *err)
{
	struct statfs fs;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "--cgroup %s: %s", path, strerror(errno));
	if (fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	close(fd);
	return err_set(err, EINVAL, "--cgroup %s is not in a cgroup2 mount; socket hooks need one", path);
}

int ebpf_attach_hooks(struct ebpf *e, struct err *err)
{
	struct stat st;
	if (fstat(e->cgroup, &st) < 0)
		return err_set(err, errno, "cgroup: %s", strerror(errno));
	for (size_t i = 0; i < EBPF_HOOKS; i++) {
		_cleanup_free_ char *path = str_printf("%s/links/%s", e->pin_dir, hooks[i].program);
		int r = attach_hook(e->cgroup, st.st_ino, e->hooks[i], hooks[i].type, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}
