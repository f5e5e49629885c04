/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links io base */
/* The HTTP/1.1 reader read whole and read in pieces must agree, stay inside its limits and never read past the end. */
#include <stdlib.h>

#include "base/mem.h"
#include "io/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	enum http1_event last;
	int status;
	size_t used;
	struct strbuf text, body;
};

static void run(const char *in, size_t size, size_t step, struct outcome *o)
{
	static const struct http1_limits limits = { .max_head_bytes = 1024, .max_fields = 16, .max_body_bytes = 2048 };
	struct http1_reader r;
	const char *p = in, *piece;
	size_t len = 0, piece_len;

	http1_init(&r, &limits);
	for (;;) {
		o->last = http1_next(&r, &p, &len, &piece, &piece_len);
		BUG_ON(r.text.len > limits.max_head_bytes + 2);
		if (o->last == HTTP1_BODY) {
			strbuf_add(&o->body, piece, piece_len);
			BUG_ON(o->body.len > limits.max_body_bytes);
		} else if (o->last == HTTP1_HEAD) {
			strbuf_addf(&o->text, "%s|%s|%s|%d", r.text.data + r.method, r.text.data + r.path,
				    r.text.data + r.query, r.keep_alive);
			for (size_t i = 0; i < r.field_count; i++)
				strbuf_addf(&o->text, "|%s:%s", r.text.data + r.fields[i].name,
					    r.text.data + r.fields[i].value);
		} else if (o->last != HTTP1_MORE || p == in + size) {
			break;
		} else {
			BUG_ON(len != 0);
			len = MIN(step, (size_t)(in + size - p));
		}
	}
	o->status = r.status;
	o->used = o->last == HTTP1_END ? (size_t)(p - in) : 0;
	http1_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole = { 0 }, cut = { 0 };
	char *in;

	if (size < 1)
		return 0;
	in = mem_dup(data + 1, size - 1); /* its own allocation: reading past the end is seen */
	run(in, size - 1, size, &whole);
	run(in, size - 1, data[0] % 16 + 1, &cut);
	BUG_ON(whole.last != cut.last || whole.status != cut.status || whole.used != cut.used);
	BUG_ON(!str_eq(whole.text.data, cut.text.data));
	BUG_ON(whole.body.len != cut.body.len || (whole.body.len && memcmp(whole.body.data, cut.body.data, whole.body.len)));
	strbuf_done(&whole.text);
	strbuf_done(&whole.body);
	strbuf_done(&cut.text);
	strbuf_done(&cut.body);
	free(in);
	return 0;
}
