/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rtnetlink requests of which many travel to the kernel at once, each with its own answer (libmnl). */
#ifndef KEELSON_PROXY_PODNET_BATCH_H
#define KEELSON_PROXY_PODNET_BATCH_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "base/err.h"

enum { BATCH_BYTES = 16384, BATCH_REQUESTS = 64, BATCH_WHAT_SIZE = 128 };

struct batch {
	int fd;
	uint32_t seq;
	size_t len, count;
	struct {
		char what[BATCH_WHAT_SIZE]; /* "add the route ...", for the error */
		int tolerated;              /* errno that counts as success, or 0 */
	} requests[BATCH_REQUESTS];
	/* Of all requests since batch_open(). */
	size_t taken;   /* by the kernel */
	size_t refused;
	struct err *err; /* borrow, may be NULL: the first refusal */
	char buf[BATCH_BYTES] __attribute__((aligned(MNL_ALIGNTO)));
};

int batch_open(struct batch *b, struct err *err);
void batch_close(struct batch *b);
/* Adds a request; the caller appends header and attributes (at most 1 KiB), then calls batch_end(). A full batch is sent. */
struct nlmsghdr *batch_begin(struct batch *b, uint16_t type, uint16_t flags, int tolerated, const char *what, ...)
	_printf_(5, 6);
void batch_end(struct batch *b, struct nlmsghdr *nlh);
/* Sends what was gathered and takes the answers. Refusals are counted; returns 0 or -errno when the socket failed. */
int batch_send(struct batch *b);
/* Sends one request and hands every answer to cb. 0 or -errno; a dump that changes disturbed is -EINTR. */
int batch_ask(struct batch *b, struct nlmsghdr *nlh, mnl_cb_t cb, void *user);

#endif
