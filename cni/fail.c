/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording a failure for the CNI error object on standard output. What comes from outside may be cut in the middle of a
 * character or be no text at all; the message is always valid UTF-8. */
#include "cni/fail.h"

#include <stdarg.h>
#include <stdio.h>

/* Length of the UTF-8 sequence at s (RFC 3629), 0 when it is none. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void fail_record(struct fail *f, enum fail_code code, const char *fmt, ...)
{
	unsigned char *s = (unsigned char *)f->msg;
	va_list ap;

	f->code = code;
	va_start(ap, fmt);
	vsnprintf(f->msg, sizeof(f->msg), fmt, ap);
	va_end(ap);
	while (*s) {
		size_t n = utf8_len(s);

		if (n == 0)
			*s = '?';
		s += n ? n : 1;
	}
}
