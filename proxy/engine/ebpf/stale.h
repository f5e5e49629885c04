/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Destroys connected UDP sockets whose backend is gone, so that their programs notice (bpf/lib/stale.h). */
#ifndef KEELSON_PROXY_ENGINE_EBPF_STALE_H
#define KEELSON_PROXY_ENGINE_EBPF_STALE_H

#include <stddef.h>

#include "base/err.h"

/*
 * Walks the socket storage `socks_fd` with the iterator program and destroys what it names, in whatever network namespace
 * it is (CAP_NET_ADMIN there, CAP_SYS_ADMIN here). *ret_destroyed: how many. A namespace that no process is in any more
 * cannot be entered: nobody can send from it either. 0, or -errno with err when the kernel lacks the iterator or
 * sock_diag's destroy (CONFIG_INET_UDP_DIAG, CONFIG_INET_DIAG_DESTROY).
 */
int stale_sockets_destroy(int prog_fd, int socks_fd, size_t *ret_destroyed, struct err *err);

#endif
