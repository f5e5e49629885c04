/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cron schedules: five fields (minute, hour, day of month, month, day of week) with lists, ranges, steps and names, or
 * @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly. As in cron, when both day fields are restricted
 * either may match.
 */
#ifndef KEELSON_CONTROLLERS_CRON_H
#define KEELSON_CONTROLLERS_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct cron {
	uint64_t minutes, hours, days, months, weekdays; /* bit n: n is in it */
	bool any_day, any_weekday;                       /* the field is "*" or "?" */
};
/* 0 or -EINVAL. */
int cron_parse(const char *text, struct cron *ret);
/* The first time after after_s that matches, in a time zone (IANA name, NULL: UTC); -1 when there is none within five
 * years. Times skipped by daylight saving do not exist; repeated ones match once. */
int64_t cron_next_s(const struct cron *c, const char *zone, int64_t after_s);
/* The latest time after after_s and not after until_s, or -1. *ret_seen: how many such times were seen on the way;
 * times long before the latest may not be. */
int64_t cron_latest_s(const struct cron *c, const char *zone, int64_t after_s, int64_t until_s, int *ret_seen);
/* The zone is known on this machine. */
bool cron_zone_exists(const char *zone);

#endif
