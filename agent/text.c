/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cleaning of foreign text: JSON must be valid UTF-8, a container's last words need not. */
#include "agent/text.h"

#include "base/str.h"

/* The length of the valid sequence at s, 0 when there is none. */
static size_t sequence(const unsigned char *s)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max;
		size_t len;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (*s < 0x80)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (*s < forms[i].first_min || *s > forms[i].first_max)
			continue;
		if (s[1] < forms[i].second_min || s[1] > forms[i].second_max)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if (s[k] < 0x80 || s[k] > 0xbf) /* the final NUL ends it too */
				return 0;
		return forms[i].len;
	}
	return 0;
}

char *text_utf8(const char *s)
{
	struct strbuf out = { 0 };

	while (*s) {
		size_t len = sequence((const unsigned char *)s);

		if (len)
			strbuf_add(&out, s, len);
		else
			strbuf_adds(&out, "\xef\xbf\xbd");
		s += len ? len : 1;
	}
	return strbuf_take(&out);
}
