/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel settings that forwarding for pods needs, and their undoing. What they were is noted in the alias of lo: it
 * belongs to the network namespace as they do, and like them it is gone after a reboot.
 */
#ifndef KEELSON_PROXY_PODNET_SYSCTLS_H
#define KEELSON_PROXY_PODNET_SYSCTLS_H

#include <stdbool.h>

#include "base/err.h"

/* Forwarding of the families that are asked for. With IPv6 forwarding a link ignores router advertisements unless it is
 * told otherwise (accept_ra 2): those that have their default route from one are, so that the node keeps it. */
int sysctls_set(bool v4, bool v6, struct err *err);
/*
 * Direct return brings clients' own packets in through the tunnel, though the way back to them is another: where strict
 * reverse path filtering (RFC 3704) would drop them the link gets the loose kind. Ours to set and not noted: it goes with the link.
 */
int sysctls_loosen(const char *ifname, struct err *err);
/* Puts back what sysctls_set() of this or an earlier process changed, unless somebody has changed it since. */
int sysctls_restore(struct err *err);

#endif
