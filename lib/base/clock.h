/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks and RFC 3339 times as Kubernetes writes them (always UTC, "Z"). */
#ifndef KEELSON_BASE_CLOCK_H
#define KEELSON_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_ms(void);
int64_t clock_wall_s(void);  /* seconds since the epoch */
int64_t clock_wall_us(void);

enum { CLOCK_RFC3339_SIZE = 32, CLOCK_RFC3339_MICRO_SIZE = 40 };
/* "2006-01-02T15:04:05Z" (metav1.Time) and "2006-01-02T15:04:05.000000Z" (metav1.MicroTime). */
void clock_format_rfc3339(int64_t wall_s, char out[static CLOCK_RFC3339_SIZE]);
void clock_format_rfc3339_micro(int64_t wall_us, char out[static CLOCK_RFC3339_MICRO_SIZE]);
/* RFC 3339 with any offset and fraction, years 0000-9999. 0 or -EINVAL; *ret_us only on success. */
int clock_parse_rfc3339(const char *s, int64_t *ret_us);

#endif
