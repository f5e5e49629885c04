/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a pod has no node, in upstream's words: "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods." */
#ifndef KEELSON_SCHEDULER_EXPLAIN_H
#define KEELSON_SCHEDULER_EXPLAIN_H

#include "base/map.h"
#include "base/str.h"

struct explanation {
	size_t nodes;        /* that were looked at */
	struct map *reasons; /* reason -> count as uintptr_t */
};
void explanation_add(struct explanation *x, const struct strlist *reasons);
/* helpable: nodes where preemption was tried. why: a sentence instead of counts, NULL: none. preempting: it found
 * victims, and nothing more is said about it. */
void explanation_write(const struct explanation *x, size_t helpable, const char *why, bool preempting, struct strbuf *out);
void explanation_done(struct explanation *x);

#endif
