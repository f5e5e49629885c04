/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long changes take to reach the kernel: histograms in /metrics, one observation a change. */
#ifndef KEELSON_PROXY_PROGRAMMING_H
#define KEELSON_PROXY_PROGRAMMING_H

#include "proxy/model/model.h"

/* Zero-initialize. */
struct programming {
	int64_t *arrived_ns; /* monotonic; of changes that are not in the kernel yet */
	size_t count, cap;
	int64_t began_us;    /* wall clock of the first flush; 0: none yet */
};
void programming_done(struct programming *p);
/* A change came from the source. */
void programming_arrived(struct programming *p);
/* All of them are in the kernel; changed: some Service port was different. What came before the first call is the state
 * found at the start, not changes. */
void programming_flushed(struct programming *p, const struct model *m, bool changed);

#endif
