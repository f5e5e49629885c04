/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines to stderr, one write() each so that lines of several processes never mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

enum { LINE_MAX_BYTES = 4096 };

static const char *component = "keelson";
static enum log_level min_level = LOG_INFO;
static const char *const names[LOG_LEVEL_MAX] = { "DEBUG", "INFO ", "WARN ", "ERROR" };

void log_init(const char *name)
{
	static const char *const env_names[LOG_LEVEL_MAX] = { "debug", "info", "warn", "error" };
	const char *want = getenv("KEELSON_LOG");

	component = name;
	for (int i = 0; want && i < LOG_LEVEL_MAX; i++)
		if (str_eq(want, env_names[i]))
			min_level = (enum log_level)i;
}

void log_set_level(enum log_level level)
{
	min_level = level;
}

bool log_enabled(enum log_level level)
{
	return level >= min_level;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	_cleanup_strbuf_ struct strbuf text = { 0 }, line = { 0 };
	char stamp[CLOCK_RFC3339_MICRO_SIZE];
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	clock_format_rfc3339_micro(clock_wall_us(), stamp);
	strbuf_addf(&line, "%.23sZ %s %s: ", stamp, names[level], component);
	for (size_t i = 0; i < text.len && line.len < LINE_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (c < 0x20 || c == 0x7f)
			strbuf_addf(&line, c == '\n' ? "\\n" : "\\x%02x", c);
		else
			strbuf_addc(&line, (char)c);
	}
	strbuf_addc(&line, '\n');
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		return; /* nowhere left to say it */
}
