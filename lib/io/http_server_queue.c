/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The output queue of the HTTP server. Small pieces are copied next to each other, large immutable bytes are referenced,
 * so that one list of slices serves writev() and TLS records. bytes is always the sum of the chunks' len.
 */
#include "io/http_server_internal.h"

enum { CHUNK_SMALL_BYTES = 128, CHUNK_MIN_BYTES = 1024, CHUNK_MAX_BYTES = 65536 };

static struct hs_chunk *chunk_new(struct hs_queue *q, size_t cap)
{
	struct hs_chunk *c = mem_alloc(sizeof(*c) + cap);

	*c = (struct hs_chunk){ .cap = (uint32_t)cap };
	if (q->tail)
		q->tail->next = c;
	else
		q->head = c;
	q->tail = c;
	return c;
}

void hs_queue_copy(struct hs_queue *q, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		struct hs_chunk *c = q->tail;
		size_t room = c && !c->ref ? c->cap - c->off - c->len : 0;

		if (room == 0) {
			/* Behind a slice mostly the next frame's or chunk's few bytes of head follow. */
			size_t cap = MAX(len, (size_t)(c && c->ref ? CHUNK_SMALL_BYTES : CHUNK_MIN_BYTES));

			c = chunk_new(q, MIN(cap, (size_t)CHUNK_MAX_BYTES));
			room = c->cap;
		}
		room = MIN(room, len);
		memcpy(c->data + c->off + c->len, p, room);
		c->len += (uint32_t)room;
		q->bytes += room;
		p += room;
		len -= room;
	}
}

void hs_queue_ref(struct hs_queue *q, struct bytes *b, size_t off, size_t len)
{
	struct hs_chunk *c;

	BUG_ON(off > b->len || len > b->len - off);
	if (len <= HS_COPY_BYTES) {
		hs_queue_copy(q, b->data + off, len);
		return;
	}
	c = chunk_new(q, 0);
	c->ref = bytes_ref(b);
	c->off = (uint32_t)off;
	c->len = (uint32_t)len;
	q->bytes += len;
}

static const char *chunk_data(const struct hs_chunk *c)
{
	return (c->ref ? c->ref->data : c->data) + c->off;
}

void hs_queue_move(struct hs_queue *to, struct hs_queue *from, size_t len)
{
	while (len > 0) {
		struct hs_chunk *c = from->head;
		size_t n = MIN((size_t)c->len, len);

		if (c->ref)
			hs_queue_ref(to, c->ref, c->off, n);
		else
			hs_queue_copy(to, chunk_data(c), n);
		hs_queue_consume(from, n);
		len -= n;
	}
}

size_t hs_queue_iov(const struct hs_queue *q, struct iovec *iov, size_t max, size_t max_bytes)
{
	size_t n = 0;

	for (const struct hs_chunk *c = q->head; c && n < max && max_bytes > 0; c = c->next) {
		size_t len = MIN((size_t)c->len, max_bytes);

		iov[n++] = (struct iovec){ .iov_base = (char *)chunk_data(c), .iov_len = len };
		max_bytes -= len;
	}
	return n;
}

void hs_queue_consume(struct hs_queue *q, size_t len)
{
	q->bytes -= len;
	while (len > 0) {
		struct hs_chunk *c = q->head;

		if (len < c->len) {
			c->off += (uint32_t)len;
			c->len -= (uint32_t)len;
			return;
		}
		len -= c->len;
		q->head = c->next;
		if (!q->head)
			q->tail = NULL;
		bytes_unref(c->ref);
		free(c);
	}
}

void hs_queue_clear(struct hs_queue *q)
{
	hs_queue_consume(q, q->bytes);
}
