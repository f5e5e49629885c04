/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links agent kube io base */
/* What containers write: log entries, log files read in pieces, text that goes into JSON, image references. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/image.h"
#include "agent/logs.h"
#include "agent/text.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
	_cleanup_free_ char *clean = text_utf8(s);
	json_t *v = json_string(clean);

	BUG_ON(!v);
	json_decref(v);
}

/* Reading in one piece and in many gives the same. */
static char *read_file(const char *path, const struct logs_options *o, size_t piece)
{
	struct logs_reader r = { .fd = -1 };
	struct strbuf out = { 0 };
	int more;

	BUG_ON(logs_open(&r, path, o) < 0);
	while ((more = logs_read(&r, piece, &out)) > 0)
		;
	BUG_ON(more < 0 || (o->limit_bytes >= 0 && (int64_t)out.len > o->limit_bytes));
	logs_reader_done(&r);
	return strbuf_take(&out);
}

static void check_log(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/agent-fuzz-XXXXXX";
	int fd = mkstemp(path);
	struct logs_options o = { .tail_lines = -1, .limit_bytes = -1, .since_us = INT64_MIN };

	BUG_ON(fd < 0 || write(fd, data, size) != (ssize_t)size);
	close(fd);
	if (size > 2) {
		o.tail_lines = data[0] < 128 ? data[0] % 8 : -1;
		o.limit_bytes = data[1] < 128 ? data[1] : -1;
		o.timestamps = data[2] & 1;
	}
	{
		_cleanup_free_ char *whole = read_file(path, &o, 1 << 20), *pieces = read_file(path, &o, 1);

		BUG_ON(!str_eq(whole, pieces));
	}
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = mem_strndup((const char *)data, size), *registry = image_registry(text);
	_cleanup_free_ char *user = NULL, *password = NULL;
	struct logs_entry e;

	if (logs_parse((const char *)data, size, &e) == 0)
		BUG_ON(e.text < (const char *)data || e.text + e.text_len != (const char *)data + size);
	check_text(text);
	check_log(data, size);
	(void)image_credentials(text, "docker.io", &user, &password);
	return 0;
}
