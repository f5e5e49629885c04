/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resource.Quantity (apimachinery/pkg/api/resource): a decimal number with a decimal, binary or exponent suffix, kept
 * exactly in billionths. As upstream, finer parts round away from zero and magnitudes are capped at 2^63-1.
 */
#include "kube/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define NANO ((__int128)1000000000)
#define MAX_NANO ((__int128)INT64_MAX * NANO)

enum { MAX_DIGITS = 36, EXPONENT_LIMIT = 1000 };

/* A non-negative number as digits * 10^exponent; sticky: something non-zero was cut off below. */
struct decimal {
	__int128 digits;
	int64_t exponent;
	bool sticky;
};

static void add_digit(struct decimal *d, int digit, int *count, bool fraction)
{
	if (*count < MAX_DIGITS) {
		d->digits = d->digits * 10 + digit;
		*count += d->digits != 0;
		d->exponent -= fraction;
		return;
	}
	d->sticky |= digit != 0;
	d->exponent += !fraction;
}

static __int128 pow10_128(int64_t n)
{
	__int128 v = 1;

	while (n-- > 0)
		v *= 10;
	return v;
}

static __int128 divide_up(__int128 v, __int128 by, bool sticky)
{
	return v / by + (v % by != 0 || sticky);
}

static __int128 decimal_nano(const struct decimal *d)
{
	int64_t p = d->exponent + 9;

	if (!d->digits)
		return d->sticky;
	if (p < 0)
		return p < -MAX_DIGITS - 1 ? 1 : divide_up(d->digits, pow10_128(-p), d->sticky);
	__int128 v = d->digits;

	for (; p > 0 && v <= MAX_NANO; p--)
		v *= 10;
	return v;
}

static __int128 binary_nano(const struct decimal *d, int shift)
{
	__int128 whole = d->digits, part = 0;
	bool sticky = d->sticky;

	if (d->exponent < 0) {
		/* More fractional digits than fit are zeros in front of the kept ones. */
		if (d->exponent < -MAX_DIGITS - 1)
			return d->digits != 0 || sticky;
		__int128 unit = pow10_128(-d->exponent);

		whole = d->digits / unit;
		part = d->digits % unit;
		/* Eighteen digits of the fraction: 2^60 * 10^18 still fits. */
		for (int64_t n = -d->exponent; n > 18; n--) {
			sticky |= part % 10 != 0;
			part /= 10;
		}
		for (int64_t n = -d->exponent; n < 18; n++)
			part *= 10;
	}
	for (int64_t n = d->exponent; n > 0 && whole <= MAX_NANO; n--)
		whole *= 10;
	if (whole > MAX_NANO >> shift)
		return MAX_NANO;
	return (whole << shift) * NANO + divide_up(part << shift, NANO, sticky);
}

/* What stands behind the number. Fills the power of ten or two and the format. */
static int parse_suffix(const char *s, struct quantity *q, int64_t *ret_exponent, int *ret_shift)
{
	static const char decimal[] = "num kMGTPE", binary[] = "KMGTPE";
	const char *at;

	*ret_exponent = 0;
	*ret_shift = 0;
	q->format = QUANTITY_DECIMAL_SI;
	if (!*s)
		return 0;
	if ((*s == 'e' || *s == 'E') && s[1] && s[1] != 'i') {
		bool negative = s[1] == '-';
		int64_t e = 0;

		s += 1 + (s[1] == '-' || s[1] == '+');
		if (!*s)
			return -EINVAL;
		for (; isdigit((unsigned char)*s); s++)
			e = MIN(e * 10 + (*s - '0'), (int64_t)EXPONENT_LIMIT);
		*ret_exponent = negative ? -e : e;
		q->format = QUANTITY_DECIMAL_EXPONENT;
		return *s ? -EINVAL : 0;
	}
	if (s[1] == 'i' && !s[2]) {
		at = strchr(binary, *s);
		if (!at)
			return -EINVAL;
		*ret_shift = 10 * (int)(at - binary + 1);
		q->format = QUANTITY_BINARY_SI;
		return 0;
	}
	at = *s != ' ' ? strchr(decimal, *s) : NULL;
	if (!at || s[1])
		return -EINVAL;
	*ret_exponent = 3 * (at - decimal) - 9;
	return 0;
}

int quantity_parse(const char *s, struct quantity *ret)
{
	struct quantity q = { 0 };
	struct decimal d = { 0 };
	bool negative = false, any = false, fraction = false;
	int count = 0, shift;
	int64_t exponent;

	if (!s)
		return -EINVAL;
	if (*s == '-' || *s == '+')
		negative = *s++ == '-';
	for (; isdigit((unsigned char)*s) || (*s == '.' && !fraction); s++) {
		if (*s == '.') {
			fraction = true;
			continue;
		}
		any = true;
		add_digit(&d, *s - '0', &count, fraction);
	}
	if (!any || parse_suffix(s, &q, &exponent, &shift) < 0)
		return -EINVAL;
	d.exponent += exponent;
	q.nano = q.format == QUANTITY_BINARY_SI ? binary_nano(&d, shift) : decimal_nano(&d);
	q.nano = MIN(q.nano, MAX_NANO);
	if (negative)
		q.nano = -q.nano;
	*ret = q;
	return 0;
}

static void format_i128(__int128 v, char *out, size_t size)
{
	char digits[48];
	size_t n = sizeof(digits);
	unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + (int)(u % 10));
	while (u /= 10);
	snprintf(out, size, "%s%s", v < 0 ? "-" : "", digits + n);
}

void quantity_format(const struct quantity *q, char out[static QUANTITY_TEXT_SIZE])
{
	static const char *const si[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
	static const char *const bin[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	enum quantity_format format = q->format;
	__int128 v = q->nano;
	size_t e = 0;
	char number[QUANTITY_TEXT_SIZE - 8];

	if (v == 0) {
		memcpy(out, "0", 2);
		return;
	}
	/* As upstream: small numbers and fractions of a binary quantity are shown in decimal. */
	if (format == QUANTITY_BINARY_SI && ((v > -1024 * NANO && v < 1024 * NANO) || v % NANO != 0))
		format = QUANTITY_DECIMAL_SI;
	if (format == QUANTITY_BINARY_SI) {
		for (v /= NANO; v % 1024 == 0 && e + 1 < ARRAY_SIZE(bin); e++)
			v /= 1024;
		format_i128(v, number, sizeof(number));
		snprintf(out, QUANTITY_TEXT_SIZE, "%s%s", number, bin[e]);
		return;
	}
	while (v % 1000 == 0 && e + 1 < ARRAY_SIZE(si)) {
		v /= 1000;
		e++;
	}
	format_i128(v, number, sizeof(number));
	int power = 3 * (int)e - 9;

	if (format == QUANTITY_DECIMAL_SI)
		snprintf(out, QUANTITY_TEXT_SIZE, "%s%s", number, si[e]);
	else if (power == 0)
		snprintf(out, QUANTITY_TEXT_SIZE, "%s", number);
	else
		snprintf(out, QUANTITY_TEXT_SIZE, "%se%d", number, power);
}

int quantity_cmp(const struct quantity *a, const struct quantity *b)
{
	return (a->nano > b->nano) - (a->nano < b->nano);
}

void quantity_add(struct quantity *a, const struct quantity *b)
{
	if (a->nano == 0)
		a->format = b->format;
	a->nano += b->nano;
}

void quantity_sub(struct quantity *a, const struct quantity *b)
{
	if (a->nano == 0)
		a->format = b->format;
	a->nano -= b->nano;
}

static int64_t scaled(__int128 nano, int32_t unit)
{
	__int128 v = nano / unit;

	/* Away from zero, as Quantity.ScaledValue(). */
	if (nano % unit)
		v += nano > 0 ? 1 : -1;
	if (v > INT64_MAX)
		return INT64_MAX;
	return v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int64_t quantity_milli(const struct quantity *q)
{
	return scaled(q->nano, 1000000);
}

int64_t quantity_value(const struct quantity *q)
{
	return scaled(q->nano, 1000000000);
}
