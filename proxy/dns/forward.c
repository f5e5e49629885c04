/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An open question stands in table[id % FORWARD_MAX], so ids are unique by construction, and in a list in the order of
 * deadlines (all waits are equally long). UDP questions share a few sockets, each connected to one upstream and replaced
 * after some use; a TCP question has a connection of its own.
 */
#include "proxy/dns/forward.h"

#include "base/mem.h"
#include "base/str.h"

enum { SOCKETS = 4, SOCKET_USES = 256, TICK_MS = 100 };

struct usock {
	uv_udp_t handle;
	struct forwarder *f; /* NULL: closing */
	unsigned upstream;
	unsigned uses, open;
};
struct forward {
	struct forwarder *f;
	struct forward *prev, *next;
	forward_done_fn done;
	void *user;
	uint64_t deadline_ms;
	struct usock *sock;  /* UDP, while sent */
	struct ftcp *tcp;
	uint16_t id, client_id;
	unsigned upstream, tries;
	bool is_tcp, failed_now;
	size_t len;
	uint8_t msg[];       /* behind two bytes of length, for TCP */
};
struct ftcp {
	uv_tcp_t handle;
	uv_connect_t connect;
	struct forward *q;   /* NULL: cancelled, closing */
	uint8_t *in;
	size_t in_len, in_cap;
};
struct forwarder {
	uv_loop_t *loop;
	uv_timer_t *timer;
	struct sockaddr_storage upstreams[FORWARD_UPSTREAMS_MAX];
	struct usock *socks[FORWARD_UPSTREAMS_MAX][SOCKETS];
	size_t upstream_count, open;
	struct forward *table[FORWARD_MAX];
	struct forward *first, *last;
	uint8_t buf[DNS_TCP_MAX];
};

static void forward_try(struct forward *q);

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void usock_close(struct usock *s)
{
	if (!s || !s->f)
		return;
	s->f = NULL;
	uv_close((uv_handle_t *)&s->handle, free_handle); /* the handle is the first member */
}

static void unlink_question(struct forward *q)
{
	struct forwarder *f = q->f;
	if (q->prev)
		q->prev->next = q->next;
	else
		f->first = q->next;
	if (q->next)
		q->next->prev = q->prev;
	else
		f->last = q->prev;
	q->prev = q->next = NULL;
}

static void append_question(struct forward *q)
{
	struct forwarder *f = q->f;
	q->prev = f->last;
	q->next = NULL;
	if (f->last)
		f->last->next = q;
	else
		f->first = q;
	f->last = q;
}

static void ftcp_closed(uv_handle_t *h)
{
	struct ftcp *t = CONTAINER_OF(h, struct ftcp, handle);
	free(t->in);
	free(t);
}

/* Lets go of what carries the current try. */
static void drop_carrier(struct forward *q)
{
	if (q->sock) {
		q->sock->open--;
		q->sock = NULL;
	}
	if (q->tcp) {
		q->tcp->q = NULL;
		if (!uv_is_closing((uv_handle_t *)&q->tcp->handle))
			uv_close((uv_handle_t *)&q->tcp->handle, ftcp_closed);
		q->tcp = NULL;
	}
}

static void question_free(struct forward *q)
{
	struct forwarder *f = q->f;
	drop_carrier(q);
	unlink_question(q);
	f->table[q->id & (FORWARD_MAX - 1)] = NULL;
	f->open--;
	if (!f->open)
		uv_timer_stop(f->timer);
	free(q);
}

void forward_cancel(struct forward *q)
{
	if (q)
		question_free(q);
}

static void finish(struct forward *q, const uint8_t *answer, size_t len)
{
	forward_done_fn done = q->done;
	void *user = q->user;
	question_free(q);
	done(answer, len, user);
}

/* The next upstream, or the end. */
static void try_failed(struct forward *q)
{
	drop_carrier(q);
	size_t most = MAX(q->f->upstream_count, (size_t)FORWARD_TRIES);
	most = MIN(most, (size_t)FORWARD_TRIES_MAX);
	if (++q->tries >= most) {
		finish(q, NULL, 0);
		return;
	}
	q->upstream = (q->upstream + 1) % (unsigned)q->f->upstream_count;
	forward_try(q);
}

static void on_tick(uv_timer_t *t)
{
	struct forwarder *f = t->data;
	uint64_t now = uv_now(f->loop);
	while (f->first && (f->first->deadline_ms <= now || f->first->failed_now)) {
		struct forward *q = f->first;
		q->failed_now = false;
		try_failed(q);
	}
}

/* Do two messages ask the same? The question stands behind the header; names are compared without case. */
static bool same_question(const struct forward *q, const uint8_t *msg, size_t len)
{
	struct dns_name a, b;
	size_t pa = DNS_HEADER, pb = DNS_HEADER;
	if (len < DNS_HEADER || !(msg[2] & 0x80) || msg[4] != 0 || msg[5] != 1)
		return false;
	const uint8_t *own = q->msg + 2;
	return dns_name_read(own, q->len, &pa, &a) && dns_name_read(msg, len, &pb, &b) && dns_name_eq(&a, &b) &&
	       q->len - pa >= 4 && len - pb >= 4 && memcmp(own + pa, msg + pb, 4) == 0;
}

static void answered(struct forward *q, uint8_t *msg, size_t len)
{
	msg[0] = (uint8_t)(q->client_id >> 8);
	msg[1] = (uint8_t)q->client_id;
	finish(q, msg, len);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct usock *s = CONTAINER_OF(h, struct usock, handle);
	(void)suggested;
	*buf = s->f ? uv_buf_init((char *)s->f->buf, sizeof(s->f->buf)) : uv_buf_init(NULL, 0);
}

static void on_datagram(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct usock *s = CONTAINER_OF(h, struct usock, handle);
	struct forwarder *f = s->f;
	(void)from;
	if (!f || (flags & UV_UDP_PARTIAL))
		return;
	if (n < 0) { /* an ICMP error: nobody is there. Everything asked here goes on to the next upstream. */
		for (size_t i = 0; i < FORWARD_MAX && s->f && s->open; i++)
			if (f->table[i] && f->table[i]->sock == s)
				try_failed(f->table[i]);
		return;
	}
	if (n < DNS_HEADER)
		return;
	uint8_t *msg = (uint8_t *)buf->base;
	uint16_t id = (uint16_t)(msg[0] << 8 | msg[1]);
	struct forward *q = f->table[id & (FORWARD_MAX - 1)];
	if (q && q->id == id && q->sock == s && same_question(q, msg, (size_t)n))
		answered(q, msg, (size_t)n);
}

static struct usock *usock_get(struct forwarder *f, unsigned upstream)
{
	uint8_t r;
	rand_bytes(&r, sizeof(r));
	struct usock **place = &f->socks[upstream][r % SOCKETS], *s = *place;
	if (s && s->uses >= SOCKET_USES && !s->open) {
		usock_close(s);
		s = *place = NULL;
	}
	if (s)
		return s;
	s = mem_new(struct usock);
	s->f = f;
	s->upstream = upstream;
	uv_udp_init(f->loop, &s->handle);
	if (uv_udp_connect(&s->handle, (struct sockaddr *)&f->upstreams[upstream]) < 0 ||
	    uv_udp_recv_start(&s->handle, on_alloc, on_datagram) < 0) {
		usock_close(s);
		return NULL;
	}
	*place = s;
	return s;
}

static void try_udp(struct forward *q)
{
	struct usock *s = usock_get(q->f, q->upstream);
	uv_buf_t b = uv_buf_init((char *)q->msg + 2, (unsigned)q->len);
	if (!s) {
		q->failed_now = true;
		return;
	}
	s->uses++;
	s->open++;
	q->sock = s;
	int r = uv_udp_try_send(&s->handle, &b, 1, NULL);
	if (r == UV_ECONNREFUSED) /* an error of an earlier question was delivered instead of sending */
		r = uv_udp_try_send(&s->handle, &b, 1, NULL);
	if (r < 0)
		q->failed_now = true;
}

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct ftcp *t = CONTAINER_OF(h, struct ftcp, handle);
	(void)suggested;
	MEM_GROW(t->in, t->in_cap, MIN(t->in_len + 4096, (size_t)DNS_TCP_MAX + 2));
	*buf = uv_buf_init((char *)t->in + t->in_len, (unsigned)(t->in_cap - t->in_len));
}

static void on_tcp_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct ftcp *t = CONTAINER_OF(st, struct ftcp, handle);
	struct forward *q = t->q;
	(void)buf;
	if (!q)
		return;
	if (n < 0) {
		try_failed(q);
		return;
	}
	t->in_len += (size_t)n;
	if (t->in_len < 2)
		return;
	size_t want = (size_t)t->in[0] << 8 | t->in[1];
	if (t->in_len < 2 + want)
		return;
	uint8_t *msg = t->in + 2;
	if (want < DNS_HEADER || (uint16_t)(msg[0] << 8 | msg[1]) != q->id || !same_question(q, msg, want))
		try_failed(q);
	else
		answered(q, msg, want); /* t lives until its close callback */
}

static void on_connected(uv_connect_t *c, int status)
{
	struct ftcp *t = CONTAINER_OF(c, struct ftcp, connect);
	struct forward *q = t->q;
	if (!q)
		return;
	if (status < 0) {
		try_failed(q);
		return;
	}
	q->msg[0] = (uint8_t)(q->len >> 8);
	q->msg[1] = (uint8_t)q->len;
	/* A fresh connection's buffer takes a question whole, so no write outlives a cancelled question. */
	uv_buf_t b = uv_buf_init((char *)q->msg, (unsigned)q->len + 2);
	int r = uv_try_write((uv_stream_t *)&t->handle, &b, 1);
	if (r != (int)q->len + 2 || uv_read_start((uv_stream_t *)&t->handle, on_tcp_alloc, on_tcp_read) < 0)
		try_failed(q);
}

static void try_tcp(struct forward *q)
{
	struct ftcp *t = mem_new(struct ftcp);
	uv_tcp_init(q->f->loop, &t->handle);
	t->q = q;
	q->tcp = t;
	if (uv_tcp_connect(&t->connect, &t->handle, (struct sockaddr *)&q->f->upstreams[q->upstream], on_connected) < 0)
		q->failed_now = true;
}

/* A try that fails at once is noticed at the next tick, so that nobody is called back from inside. */
static void forward_try(struct forward *q)
{
	unlink_question(q);
	q->deadline_ms = uv_now(q->f->loop) + FORWARD_TRY_MS;
	if (q->is_tcp)
		try_tcp(q);
	else
		try_udp(q);
	if (q->failed_now) {
		q->deadline_ms = 0;
		q->next = q->f->first;
		if (q->f->first)
			q->f->first->prev = q;
		else
			q->f->last = q;
		q->f->first = q;
	} else {
		append_question(q);
	}
}

struct forward *forward_ask(struct forwarder *f, const uint8_t *msg, size_t len, const struct dns_query *dq, bool tcp,
			    forward_done_fn done, void *user)
{
	uint16_t id = 0;
	if (!f->upstream_count || len < DNS_HEADER || len > DNS_UDP_MAX)
		return NULL;
	bool found = false;
	for (int i = 0; i < 16 && !found; i++) {
		rand_bytes(&id, sizeof(id));
		found = !f->table[id & (FORWARD_MAX - 1)];
	}
	if (!found)
		return NULL;
	struct forward *q = mem_zalloc(sizeof(*q) + 2 + len);
	q->f = f;
	q->done = done;
	q->user = user;
	q->id = id;
	q->client_id = dq->id;
	q->is_tcp = tcp;
	q->len = len;
	memcpy(q->msg + 2, msg, len);
	q->msg[2] = (uint8_t)(id >> 8);
	q->msg[3] = (uint8_t)id;
	f->table[id & (FORWARD_MAX - 1)] = q;
	if (f->open++ == 0)
		uv_timer_start(f->timer, on_tick, TICK_MS, TICK_MS);
	append_question(q);
	forward_try(q);
	return q;
}

bool forwarder_add_upstream(struct forwarder *f, const struct sockaddr *addr)
{
	if (f->upstream_count == FORWARD_UPSTREAMS_MAX)
		return false;
	memcpy(&f->upstreams[f->upstream_count++], addr,
	       addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	return true;
}

size_t forwarder_open(const struct forwarder *f)
{
	return f->open;
}

struct forwarder *forwarder_new(uv_loop_t *loop)
{
	struct forwarder *f = mem_new(struct forwarder);
	f->loop = loop;
	f->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, f->timer);
	f->timer->data = f;
	return f;
}

void forwarder_free(struct forwarder *f)
{
	if (!f)
		return;
	while (f->first)
		question_free(f->first);
	for (size_t u = 0; u < FORWARD_UPSTREAMS_MAX; u++)
		for (size_t i = 0; i < SOCKETS; i++)
			usock_close(f->socks[u][i]);
	uv_close((uv_handle_t *)f->timer, free_handle);
	free(f);
}
