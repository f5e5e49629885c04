/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protobuf wire format (protobuf.dev/programming-guides/encoding): fields out of bytes and into a buffer. */
#ifndef KEELSON_KUBE_CODEC_WIRE_H
#define KEELSON_KUBE_CODEC_WIRE_H

#include "base/err.h"
#include "base/str.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };

struct wire_slice {
	const unsigned char *data; /* borrow */
	size_t len;
};
struct wire_reader {
	const unsigned char *p, *end;
};
static inline struct wire_reader wire_reader_of(struct wire_slice s)
{
	const unsigned char *p = s.data ? s.data : (const unsigned char *)"";

	return (struct wire_reader){ p, p + s.len };
}
struct wire_field {
	uint32_t number, wire_type;
	uint64_t value;		 /* varint, fixed64, fixed32 */
	struct wire_slice bytes; /* WIRE_BYTES; borrow */
};
/* The next field: 1, 0 at the end, or -EINVAL with err (400; texts like gogo-protobuf's: "unexpected EOF",
 * "proto: integer overflow", "proto: illegal tag 0 (wire type 0)"). Groups are skipped. */
int wire_next(struct wire_reader *r, struct wire_field *ret, struct err *err);
/* A bare varint, of a packed list. 0 or -EINVAL with err. */
int wire_varint(struct wire_reader *r, uint64_t *ret, struct err *err);

void wire_put_varint(struct strbuf *out, uint64_t v);
void wire_put_tag(struct strbuf *out, unsigned number, unsigned wire_type);
void wire_put_int(struct strbuf *out, unsigned number, int64_t v); /* negative: ten bytes */
void wire_put_double(struct strbuf *out, unsigned number, double v);
void wire_put_bytes(struct strbuf *out, unsigned number, const void *data, size_t len);
/* A message inside a message: open, write its fields, close with what open returned. */
size_t wire_open(struct strbuf *out, unsigned number);
void wire_close(struct strbuf *out, size_t at);

#endif
