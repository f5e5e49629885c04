/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks, and RFC 3339 formatting and parsing. */
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

int64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_s(void)
{
	return clock_wall_us() / 1000000;
}

void clock_format_rfc3339(int64_t wall_s, char out[static CLOCK_RFC3339_SIZE])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(out, CLOCK_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)(tm.tm_year + 1900) % 10000,
		 (unsigned)(tm.tm_mon + 1), (unsigned)tm.tm_mday, (unsigned)tm.tm_hour, (unsigned)tm.tm_min,
		 (unsigned)tm.tm_sec);
}

void clock_format_rfc3339_micro(int64_t wall_us, char out[static CLOCK_RFC3339_MICRO_SIZE])
{
	char sec[CLOCK_RFC3339_SIZE];
	int64_t s = wall_us / 1000000, us = wall_us % 1000000;

	if (us < 0) {
		us += 1000000;
		s--;
	}
	clock_format_rfc3339(s, sec);
	snprintf(out, CLOCK_RFC3339_MICRO_SIZE, "%.19s.%06uZ", sec, (unsigned)us);
}

static bool digits(const char **s, int n, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return false;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return true;
}

static bool lit(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

int clock_parse_rfc3339(const char *s, int64_t *ret_us)
{
	static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, mon, day, hour, min, sec, off_h = 0, off_m = 0, sign = 1;
	int64_t us = 0;

	if (!digits(&s, 4, &year) || !lit(&s, '-') || !digits(&s, 2, &mon) || !lit(&s, '-') || !digits(&s, 2, &day) ||
	    (*s != 'T' && *s != 't'))
		return -EINVAL;
	s++;
	if (!digits(&s, 2, &hour) || !lit(&s, ':') || !digits(&s, 2, &min) || !lit(&s, ':') || !digits(&s, 2, &sec))
		return -EINVAL;
	if (lit(&s, '.')) {
		int64_t scale = 100000;

		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		for (; isdigit((unsigned char)*s); s++, scale /= 10)
			us += (*s - '0') * scale;
	}
	if (*s == 'Z' || *s == 'z') {
		s++;
	} else if (*s == '+' || *s == '-') {
		sign = *s++ == '-' ? -1 : 1;
		if (!digits(&s, 2, &off_h) || !lit(&s, ':') || !digits(&s, 2, &off_m))
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	if (*s || mon < 1 || mon > 12 || day < 1 || day > month_days[mon - 1] || hour > 23 || min > 59 || sec > 59 ||
	    off_h > 23 || off_m > 59)
		return -EINVAL;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (mon == 2 && day == 29 && !leap)
		return -EINVAL;
	struct tm tm = { .tm_year = year - 1900, .tm_mon = mon - 1, .tm_mday = day, .tm_hour = hour, .tm_min = min,
			 .tm_sec = sec };
	int64_t t = (int64_t)timegm(&tm) - sign * (off_h * 3600 + off_m * 60);

	*ret_us = t * 1000000 + us;
	return 0;
}
