/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The histogram of reasons, sorted as upstream sorts it: by the text with the count in front. */
#include "scheduler/explain.h"

#include "base/mem.h"

void explanation_add(struct explanation *x, const struct strlist *reasons)
{
	if (!x->reasons)
		x->reasons = map_new(NULL);
	for (size_t i = 0; i < reasons->count; i++) {
		uintptr_t n = (uintptr_t)map_get(x->reasons, reasons->items[i]);

		map_set(x->reasons, reasons->items[i], (void *)(n + 1));
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void write_preemption(const struct explanation *x, size_t helpable, const char *why, struct strbuf *out)
{
	size_t hopeless = x->nodes - helpable;

	strbuf_adds(out, " preemption: ");
	if (why) {
		strbuf_adds(out, why);
		return;
	}
	strbuf_addf(out, "0/%zu nodes are available: ", x->nodes);
	/* Sorted by the whole text, like the reasons. */
	_cleanup_strlist_ struct strlist lines = { 0 };

	if (helpable)
		strlist_addf(&lines, "%zu No preemption victims found for incoming pod", helpable);
	if (hopeless)
		strlist_addf(&lines, "%zu Preemption is not helpful for scheduling", hopeless);
	qsort(lines.items, lines.count, sizeof(*lines.items), by_text);
	for (size_t i = 0; i < lines.count; i++)
		strbuf_addf(out, "%s%s", i ? ", " : "", lines.items[i]);
	strbuf_addc(out, '.');
}

void explanation_write(const struct explanation *x, size_t helpable, const char *why, bool preempting, struct strbuf *out)
{
	_cleanup_strlist_ struct strlist lines = { 0 };
	const char *reason;
	size_t it = 0;
	void *n;

	if (!x->nodes) {
		strbuf_adds(out, "no nodes available to schedule pods");
		return;
	}
	while (x->reasons && map_next(x->reasons, &it, &reason, &n))
		strlist_addf(&lines, "%zu %s", (size_t)(uintptr_t)n, reason);
	if (lines.count)
		qsort(lines.items, lines.count, sizeof(*lines.items), by_text);
	strbuf_addf(out, "0/%zu nodes are available:", x->nodes);
	for (size_t i = 0; i < lines.count; i++)
		strbuf_addf(out, "%s%s", i ? ", " : " ", lines.items[i]);
	strbuf_addc(out, '.');
	if (!preempting)
		write_preemption(x, helpable, why, out);
}

void explanation_done(struct explanation *x)
{
	x->reasons = map_free(x->reasons);
}
