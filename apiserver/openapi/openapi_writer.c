/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes JSON or gnostic's protobuf; a comma is due in JSON wherever the last character does not open something. */
#include "apiserver/openapi/openapi_writer.h"

#include "kube/codec_wire.h"

static bool is_proto(const struct writer *w)
{
	return w->form == OPENAPI_V2_PROTO;
}

static void comma(struct writer *w)
{
	if (w->out->len && !strchr("{[:", w->out->data[w->out->len - 1]))
		strbuf_addc(w->out, ',');
}

static void json_string_out(struct writer *w, const char *s)
{
	strbuf_add_json(w->out, s, strlen(s));
}

static void json_key(struct writer *w, const char *key)
{
	comma(w);
	json_string_out(w, key);
	strbuf_addc(w->out, ':');
}

void writer_text(struct writer *w, const char *key, unsigned number, const char *text)
{
	if (!text)
		return;
	if (is_proto(w)) {
		wire_put_bytes(w->out, number, text, strlen(text));
		return;
	}
	json_key(w, key);
	json_string_out(w, text);
}

void writer_true(struct writer *w, const char *key, unsigned number)
{
	if (is_proto(w)) {
		wire_put_int(w->out, number, 1);
		return;
	}
	json_key(w, key);
	strbuf_adds(w->out, "true");
}

void writer_any(struct writer *w, const char *key, unsigned number, const char *json)
{
	if (!json)
		return;
	if (is_proto(w)) {
		size_t at = wire_open(w->out, number);

		wire_put_bytes(w->out, 2, json, strlen(json));
		wire_close(w->out, at);
		return;
	}
	json_key(w, key);
	strbuf_adds(w->out, json);
}

void writer_extension(struct writer *w, unsigned number, const char *key, const char *json)
{
	if (is_proto(w)) {
		size_t at = wire_open(w->out, number);

		wire_put_bytes(w->out, 1, key, strlen(key));
		writer_any(w, key, 2, json);
		wire_close(w->out, at);
		return;
	}
	json_key(w, key);
	strbuf_adds(w->out, json);
}

void writer_texts(struct writer *w, const char *key, unsigned number, const char *const *texts)
{
	if (!is_proto(w)) {
		json_key(w, key);
		strbuf_addc(w->out, '[');
	}
	for (; *texts; texts++) {
		if (is_proto(w)) {
			wire_put_bytes(w->out, number, *texts, strlen(*texts));
		} else {
			comma(w);
			json_string_out(w, *texts);
		}
	}
	writer_list_end(w);
}

size_t writer_open(struct writer *w, const char *key, unsigned number)
{
	if (is_proto(w))
		return wire_open(w->out, number);
	json_key(w, key);
	strbuf_addc(w->out, '{');
	return 0;
}

void writer_close(struct writer *w, size_t at)
{
	if (is_proto(w))
		wire_close(w->out, at);
	else
		strbuf_addc(w->out, '}');
}

size_t writer_element(struct writer *w, unsigned number)
{
	if (is_proto(w))
		return wire_open(w->out, number);
	comma(w);
	strbuf_addc(w->out, '{');
	return 0;
}

void writer_list(struct writer *w, const char *key)
{
	if (is_proto(w))
		return;
	json_key(w, key);
	strbuf_addc(w->out, '[');
}

void writer_list_end(struct writer *w)
{
	if (!is_proto(w))
		strbuf_addc(w->out, ']');
}

size_t writer_only_proto(struct writer *w, unsigned number)
{
	return is_proto(w) ? wire_open(w->out, number) : 0;
}

void writer_only_proto_end(struct writer *w, size_t at)
{
	if (is_proto(w))
		wire_close(w->out, at);
}

struct writer_entry writer_entry(struct writer *w, const char *name, unsigned number)
{
	struct writer_entry e = { 0 };

	if (is_proto(w)) {
		e.outer = wire_open(w->out, number);
		wire_put_bytes(w->out, 1, name, strlen(name));
		e.inner = wire_open(w->out, 2);
		return e;
	}
	json_key(w, name);
	strbuf_addc(w->out, '{');
	return e;
}

void writer_entry_end(struct writer *w, struct writer_entry e)
{
	if (is_proto(w)) {
		wire_close(w->out, e.inner);
		wire_close(w->out, e.outer);
		return;
	}
	strbuf_addc(w->out, '}');
}
