// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cron schedules. The next time is searched in local broken-down time, by day first, so that a yearly schedule costs
 * some hundred steps and not half a million.
 */
#include "controllers/cron.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

struct field {
	unsigned low, high;
	const char *const *names; /* names[i] is low + i; NULL: numbers only */
};
static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
					   "jul", "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const day_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };
static const struct field fields[5] = {
	{ 0, 59, NULL }, { 0, 23, NULL }, { 1, 31, NULL }, { 1, 12, month_names }, { 0, 6, day_names },
};

static int value_of(const struct field *f, const char *text, unsigned *ret)
{
	uint64_t n;

	for (unsigned i = 0; f->names && f->names[i]; i++) {
		if (strcasecmp(text, f->names[i]) == 0) {
			*ret = f->low + i;
			return 0;
		}
	}
	if (str_to_u64(text, f->high, &n) < 0 || n < f->low)
		return -EINVAL;
	*ret = (unsigned)n;
	return 0;
}

/* "*", "3", "1-5", each with "/2". */
static int parse_part(const struct field *f, char *part, uint64_t *set)
{
	char *slash = strchr(part, '/'), *dash;
	unsigned low = f->low, high = f->high;
	uint64_t step = 1;

	if (slash) {
		*slash = 0;
		if (str_to_u64(slash + 1, f->high, &step) < 0 || !step)
			return -EINVAL;
	}
	if (!str_eq(part, "*") && !str_eq(part, "?")) {
		dash = strchr(part, '-');
		if (dash)
			*dash = 0;
		if (value_of(f, part, &low) < 0 || (dash && value_of(f, dash + 1, &high) < 0))
			return -EINVAL;
		if (!dash && !slash)
			high = low;
	}
	if (low > high)
		return -EINVAL;
	for (unsigned i = low; i <= high; i += (unsigned)step)
		*set |= UINT64_C(1) << i;
	return 0;
}

static int parse_field(const struct field *f, const char *text, uint64_t *ret)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	uint64_t set = 0;

	if (text[0] == ',' || str_ends(text, ",") || strstr(text, ",,"))
		return -EINVAL;
	strlist_split(&parts, text, ',');
	for (size_t i = 0; i < parts.count; i++) {
		if (parse_part(f, parts.items[i], &set) < 0)
			return -EINVAL;
	}
	*ret = set;
	return set ? 0 : -EINVAL;
}

static const char *expand(const char *text)
{
	static const char *const macros[][2] = {
		{ "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
		{ "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
		{ "@hourly", "0 * * * *" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(macros); i++) {
		if (str_eq(text, macros[i][0]))
			return macros[i][1];
	}
	return text;
}

int cron_parse(const char *text, struct cron *ret)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	uint64_t sets[5];

	strlist_split(&parts, expand(text), ' ');
	if (parts.count != 5)
		return -EINVAL;
	for (size_t i = 0; i < 5; i++) {
		if (parse_field(&fields[i], parts.items[i], &sets[i]) < 0)
			return -EINVAL;
	}
	*ret = (struct cron){
		.minutes = sets[0], .hours = sets[1], .days = sets[2], .months = sets[3], .weekdays = sets[4]
	};
	ret->any_day = str_eq(parts.items[2], "*") || str_eq(parts.items[2], "?");
	ret->any_weekday = str_eq(parts.items[4], "*") || str_eq(parts.items[4], "?");
	return 0;
}

static bool has(uint64_t set, int n)
{
	return set >> n & 1;
}

static bool day_matches(const struct cron *c, const struct tm *t)
{
	bool day = has(c->days, t->tm_mday), weekday = has(c->weekdays, t->tm_wday);

	if (!has(c->months, t->tm_mon + 1))
		return false;
	return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* Seconds of a local time, or -1 when daylight saving skips it. */
static int64_t seconds_of(const struct tm *day, int hour, int minute)
{
	struct tm t = { .tm_year = day->tm_year, .tm_mon = day->tm_mon, .tm_mday = day->tm_mday, .tm_hour = hour,
			.tm_min = minute, .tm_isdst = -1 };
	time_t s = mktime(&t);

	return t.tm_hour == hour && t.tm_min == minute ? (int64_t)s : -1;
}

static int64_t first_in_day(const struct cron *c, const struct tm *day, int64_t after_s)
{
	for (int hour = 0; hour < 24; hour++) {
		if (!has(c->hours, hour))
			continue;
		for (int minute = 0; minute < 60; minute++) {
			int64_t s = has(c->minutes, minute) ? seconds_of(day, hour, minute) : -1;

			if (s > after_s)
				return s;
		}
	}
	return -1;
}

static int64_t search(const struct cron *c, int64_t after_s)
{
	time_t start = (time_t)after_s;
	struct tm day;

	localtime_r(&start, &day);
	for (int i = 0; i < 5 * 366; i++) {
		struct tm noon = { .tm_year = day.tm_year, .tm_mon = day.tm_mon, .tm_mday = day.tm_mday + i,
				   .tm_hour = 12, .tm_isdst = -1 };
		int64_t s;

		mktime(&noon); /* into range, with the weekday */
		s = day_matches(c, &noon) ? first_in_day(c, &noon, after_s) : -1;
		if (s >= 0)
			return s;
	}
	return -1;
}

int64_t cron_next_s(const struct cron *c, const char *zone, int64_t after_s)
{
	_cleanup_free_ char *before = mem_strdup(getenv("TZ"));
	int64_t s;

	setenv("TZ", zone ? zone : "UTC0", 1);
	tzset();
	s = search(c, after_s);
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	return s;
}

int64_t cron_latest_s(const struct cron *c, const char *zone, int64_t after_s, int64_t until_s, int *ret_seen)
{
	static const int64_t windows_s[] = { 3600, 86400, 31 * 86400, 366 * 86400, INT64_C(5) * 366 * 86400 };

	*ret_seen = 0;
	for (size_t i = 0; i < ARRAY_SIZE(windows_s); i++) {
		int64_t from_s = MAX(after_s, until_s - windows_s[i]), s, latest = -1;

		for (s = cron_next_s(c, zone, from_s); s >= 0 && s <= until_s; s = cron_next_s(c, zone, s)) {
			latest = s;
			(*ret_seen)++;
		}
		if (latest >= 0 || from_s == after_s)
			return latest;
	}
	return -1;
}

bool cron_zone_exists(const char *zone)
{
	_cleanup_free_ char *path = NULL;

	if (str_eq(zone, "UTC") || str_eq(zone, "Etc/UTC"))
		return true;
	if (!*zone || *zone == '/' || *zone == ':' || strstr(zone, ".."))
		return false;
	path = str_printf("/usr/share/zoneinfo/%s", zone);
	return access(path, R_OK) == 0;
}
