/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protobuf wire format. The reader never looks behind its end and takes nothing on trust: every length is compared
 * with what is left before it is used.
 */
#include "kube/codec_wire.h"

#include <errno.h>

enum { GROUP_MAX_DEPTH = 32 };

static int bad(struct err *err, const char *what)
{
	return err_set_api(err, 400, "BadRequest", "%s", what);
}

int wire_varint(struct wire_reader *r, uint64_t *ret, struct err *err)
{
	uint64_t v = 0;

	for (unsigned shift = 0;; shift += 7) {
		if (shift >= 64)
			return bad(err, "proto: integer overflow");
		if (r->p >= r->end)
			return bad(err, "unexpected EOF");
		v |= (uint64_t)(*r->p & 0x7f) << shift;
		if (*r->p++ < 0x80)
			break;
	}
	*ret = v;
	return 0;
}

static int fixed(struct wire_reader *r, size_t size, uint64_t *ret, struct err *err)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->p) < size)
		return bad(err, "unexpected EOF");
	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)r->p[i] << (8 * i);
	r->p += size;
	*ret = v;
	return 0;
}

static int read_field(struct wire_reader *r, struct wire_field *ret, int depth, struct err *err);

static int skip_group(struct wire_reader *r, uint32_t number, int depth, struct err *err)
{
	struct wire_field f;
	int e;

	if (depth > GROUP_MAX_DEPTH)
		return bad(err, "proto: groups are nested too deep");
	do {
		if (r->p >= r->end)
			return bad(err, "unexpected EOF");
		e = read_field(r, &f, depth, err);
		if (e < 0)
			return e;
	} while (f.wire_type != WIRE_GROUP_END);
	return f.number == number ? 0 : bad(err, "proto: unexpected end of group");
}

static int read_field(struct wire_reader *r, struct wire_field *ret, int depth, struct err *err)
{
	uint64_t tag;
	int e = wire_varint(r, &tag, err);

	if (e < 0)
		return e;
	*ret = (struct wire_field){ .number = (uint32_t)tag >> 3, .wire_type = tag & 7 };
	if (ret->number == 0 || tag > UINT32_MAX)
		return err_set_api(err, 400, "BadRequest", "proto: illegal tag %u (wire type %u)", ret->number,
				   ret->wire_type);
	switch (ret->wire_type) {
	case WIRE_VARINT:
		return wire_varint(r, &ret->value, err);
	case WIRE_FIXED64:
		return fixed(r, 8, &ret->value, err);
	case WIRE_FIXED32:
		return fixed(r, 4, &ret->value, err);
	case WIRE_BYTES:
		e = wire_varint(r, &ret->value, err);
		if (e < 0)
			return e;
		if (ret->value > (uint64_t)(r->end - r->p))
			return bad(err, "unexpected EOF");
		ret->bytes = (struct wire_slice){ r->p, ret->value };
		r->p += ret->value;
		return 0;
	case WIRE_GROUP:
		return skip_group(r, ret->number, depth + 1, err);
	case WIRE_GROUP_END:
		return depth ? 0 : bad(err, "proto: unexpected end of group");
	default:
		return err_set_api(err, 400, "BadRequest", "proto: illegal wireType %u", ret->wire_type);
	}
}

int wire_next(struct wire_reader *r, struct wire_field *ret, struct err *err)
{
	int e;

	while (r->p < r->end) {
		e = read_field(r, ret, 0, err);
		if (e < 0)
			return e;
		if (ret->wire_type != WIRE_GROUP)
			return 1;
	}
	return 0;
}

void wire_put_varint(struct strbuf *out, uint64_t v)
{
	unsigned char b[10];
	size_t n = 0;

	do {
		b[n++] = (v & 0x7f) | (v > 0x7f ? 0x80 : 0);
		v >>= 7;
	} while (v);
	strbuf_add(out, b, n);
}

void wire_put_tag(struct strbuf *out, unsigned number, unsigned wire_type)
{
	wire_put_varint(out, (uint64_t)number << 3 | wire_type);
}

void wire_put_int(struct strbuf *out, unsigned number, int64_t v)
{
	wire_put_tag(out, number, WIRE_VARINT);
	wire_put_varint(out, (uint64_t)v);
}

void wire_put_double(struct strbuf *out, unsigned number, double v)
{
	uint64_t bits;
	unsigned char b[8];

	memcpy(&bits, &v, sizeof(bits));
	for (int i = 0; i < 8; i++)
		b[i] = bits >> (8 * i);
	wire_put_tag(out, number, WIRE_FIXED64);
	strbuf_add(out, b, sizeof(b));
}

void wire_put_bytes(struct strbuf *out, unsigned number, const void *data, size_t len)
{
	wire_put_tag(out, number, WIRE_BYTES);
	wire_put_varint(out, len);
	strbuf_add(out, data, len);
}

size_t wire_open(struct strbuf *out, unsigned number)
{
	wire_put_tag(out, number, WIRE_BYTES);
	strbuf_addc(out, 0); /* most lengths fit one byte; wire_close() makes room for others */
	return out->len;
}

void wire_close(struct strbuf *out, size_t at)
{
	size_t len = out->len - at, more = 0;
	uint64_t v = len;

	for (uint64_t rest = len >> 7; rest; rest >>= 7)
		more++;
	if (more) {
		strbuf_reserve(out, more);
		memmove(out->data + at + more, out->data + at, len);
		out->len += more;
		out->data[out->len] = 0;
	}
	for (char *p = out->data + at - 1;; p++) {
		*p = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		if (!v)
			break;
	}
}
