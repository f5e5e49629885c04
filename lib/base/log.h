/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging, for daemons only (library code returns errors instead). One line an event on stderr:
 *   2026-11-21T19:11:37.123Z INFO  agent: pod started pod=default/web-0 took_ms=312
 * Values are written through %s etc. by the caller; control characters are escaped here, so that a
 * peer cannot forge lines.
 */
#ifndef KEELSON_BASE_LOG_H
#define KEELSON_BASE_LOG_H

#include <stdbool.h>

#include "base/macros.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_MAX };

/* component: a literal ("apiserver"). Level from KEELSON_LOG (debug, info, warn, error), default info. */
void log_init(const char *component);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_debug(...)                                 \
	do {                                           \
		if (log_enabled(LOG_DEBUG))            \
			log_write(LOG_DEBUG, __VA_ARGS__); \
	} while (0)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
