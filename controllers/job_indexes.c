// SPDX-License-Identifier: GPL-2.0-or-later
/* Sets of completion indexes in the text form of Job status. */
#include "base/mem.h"
#include "base/str.h"
#include "controllers/job.h"

static void mark(const char *part, uint8_t *set, size_t size)
{
	const char *dash = strchr(part, '-');
	_cleanup_free_ char *first = mem_strndup(part, dash ? (size_t)(dash - part) : strlen(part));
	uint64_t from, to;

	if (str_to_u64(first, UINT32_MAX, &from) < 0)
		return;
	to = from;
	if (dash && str_to_u64(dash + 1, UINT32_MAX, &to) < 0)
		return;
	for (uint64_t i = from; i <= to && i < size; i++)
		set[i] = 1;
}

void job_indexes_parse(const char *text, uint8_t *set, size_t size)
{
	_cleanup_strlist_ struct strlist parts = { 0 };

	strlist_split(&parts, text ? text : "", ',');
	for (size_t i = 0; i < parts.count; i++)
		mark(parts.items[i], set, size);
}

char *job_indexes_format(const uint8_t *set, size_t size)
{
	struct strbuf out = { 0 };

	for (size_t i = 0; i < size; i++) {
		size_t last = i;

		if (!set[i])
			continue;
		while (last + 1 < size && set[last + 1])
			last++;
		strbuf_addf(&out, out.len ? ",%zu" : "%zu", i);
		/* Two neighbours are a list, three a range: "3,4" and "3-5". */
		if (last == i + 1)
			strbuf_addf(&out, ",%zu", last);
		else if (last > i)
			strbuf_addf(&out, "-%zu", last);
		i = last;
	}
	return strbuf_take(&out);
}
