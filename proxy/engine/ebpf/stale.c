/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iterator names sockets by namespace inode and addresses; sock_diag destroys them one by one through a netlink socket of
 * that namespace. Only making that socket needs the thread to be there: it is back before anything else happens.
 */
#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/str.h"
#include "bpf/shared/abi.h"
#include "proxy/engine/ebpf/stale.h"

/* Everything that the iterator says; own. */
static struct abi_stale_socket *list_stale(int prog_fd, int socks_fd, size_t *ret_count, struct err *err)
{
	union bpf_iter_link_info info = { .map.map_fd = (uint32_t)socks_fd };
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	_cleanup_close_ int link = bpf_link_create(prog_fd, 0, BPF_TRACE_ITER, &opts);
	_cleanup_close_ int iter = link < 0 ? -1 : bpf_iter_create(link);
	if (iter < 0) {
		err_set(err, errno, "walking the sockets: %s", strerror(errno));
		return NULL;
	}
	struct abi_stale_socket *list = mem_new_n(struct abi_stale_socket, 64);
	size_t bytes = 0, cap = 64;
	for (;;) {
		MEM_GROW(list, cap, bytes / sizeof(*list) + 64);
		ssize_t n = read(iter, (char *)list + bytes, cap * sizeof(*list) - bytes);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			err_set(err, errno, "walking the sockets: %s", strerror(errno));
			free(list);
			return NULL;
		}
		if (n == 0)
			break;
		bytes += (size_t)n;
	}
	*ret_count = bytes / sizeof(*list);
	return list;
}

static int by_netns(const void *a, const void *b)
{
	uint32_t x = ((const struct abi_stale_socket *)a)->netns, y = ((const struct abi_stale_socket *)b)->netns;
	return x < y ? -1 : x > y;
}

/* The namespace of that inode, through any process that is in it. -1: none is. */
static int open_netns(uint32_t inode)
{
	DIR *d = opendir("/proc");
	int found = -1;
	for (struct dirent *n; found < 0 && d && (n = readdir(d));) {
		char path[300];
		struct stat st;
		if (!isdigit((unsigned char)n->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", n->d_name);
		if (stat(path, &st) == 0 && st.st_ino == inode)
			found = open(path, O_RDONLY | O_CLOEXEC);
		if (found >= 0 && (fstat(found, &st) < 0 || st.st_ino != inode)) { /* the process has ended meanwhile */
			close(found);
			found = -1;
		}
	}
	if (d)
		closedir(d);
	return found;
}

static int diag_socket(uint32_t inode)
{
	_cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int there = own < 0 ? -1 : open_netns(inode);
	if (there < 0 || setns(there, CLONE_NEWNET) < 0)
		return -1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	BUG_ON(setns(own, CLONE_NEWNET) < 0); /* in the wrong namespace nothing else may be done */
	return fd;
}

/* 0 or -errno as the kernel answers; -ENOENT: it closed meanwhile. */
static int destroy(int fd, const struct abi_stale_socket *s)
{
	bool v4 = s->family == AF_INET;
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {
		.h = { .nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.r = { .sdiag_family = (uint8_t)s->family, .sdiag_protocol = IPPROTO_UDP, .idiag_states = ~0u,
		       .id = { .idiag_sport = s->sport, .idiag_dport = s->dport, .idiag_if = s->ifindex,
			       .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
	};
	memcpy(q.r.id.idiag_src, v4 ? &s->saddr[3] : s->saddr, v4 ? 4 : 16);
	memcpy(q.r.id.idiag_dst, v4 ? &s->daddr[3] : s->daddr, v4 ? 4 : 16);
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char more[256];
	} a;
	if (send(fd, &q, sizeof(q), 0) != sizeof(q))
		return -errno;
	ssize_t n = recv(fd, &a, sizeof(a), 0);
	if (n < (ssize_t)(sizeof(a.h) + sizeof(a.e)) || a.h.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? -errno : -EPROTO;
	return a.e.error;
}

int stale_sockets_destroy(int prog_fd, int socks_fd, size_t *ret_destroyed, struct err *err)
{
	size_t count = 0, destroyed = 0;
	int fd = -1, r = 0;
	_cleanup_free_ struct abi_stale_socket *list = list_stale(prog_fd, socks_fd, &count, err);
	if (!list)
		return -EOPNOTSUPP;
	qsort(list, count, sizeof(*list), by_netns);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || list[i].netns != list[i - 1].netns) {
			if (fd >= 0)
				close(fd);
			fd = diag_socket(list[i].netns);
		}
		int d = fd < 0 ? -ENOENT : destroy(fd, &list[i]);
		destroyed += d == 0;
		if (d < 0 && d != -ENOENT)
			r = err_set(err, -d, "destroying a socket whose endpoint is gone: %s", strerror(-d));
	}
	if (fd >= 0)
		close(fd);
	*ret_destroyed = destroyed;
	return r;
}
