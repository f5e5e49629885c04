/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients over UDP get their answer from one static buffer; only a question that is forwarded is remembered. A TCP client
 * is served one question after the other: reading stops while one is open, so a client can make us hold one question.
 */
#include "proxy/dns/server.h"

#include <errno.h>

#include "base/file.h"
#include "base/mem.h"
#include "proxy/dns/forward.h"

enum { CHASE_MAX = 8, TCP_IN_MAX = 2 + DNS_UDP_MAX };

struct tclient {
	uv_tcp_t handle;
	uv_timer_t timer;
	struct dns_server *s;
	struct tclient *prev, *next;
	struct asked *asked;
	unsigned handles; /* of two, not closed yet */
	bool closing;
	size_t in_len;
	uint8_t in[TCP_IN_MAX];
};
/* A question passed on. */
struct asked {
	struct dns_server *s;
	struct forward *forward;
	struct asked *prev, *next;
	struct tclient *tcp;            /* NULL: over UDP to peer */
	struct sockaddr_storage peer;
	struct dns_query query;
	struct dns_name chain[CHASE_MAX]; /* CNAMEs to put before the upstream's records */
	unsigned chain_len;
};
struct dns_server {
	uv_loop_t *loop;
	struct zone *zone;
	struct forwarder *forwarder;
	/* Index 0 IPv4, 1 IPv6. */
	uv_udp_t *udp[2];
	uv_tcp_t *tcp[2];
	struct tclient *clients;
	size_t client_count;
	struct asked *asked;
	uint64_t queries, forwarded, failed, refused, dropped;
	uint8_t in[DNS_TCP_MAX], out[DNS_TCP_MAX + 2]; /* out: two bytes for TCP's length first */
};

static void tclient_next(struct tclient *c);
static void tclient_close(struct tclient *c);

static void free_handle(uv_handle_t *h)
{
	free(h);
}

/* The answer is in s->out + 2. */
static void reply(struct dns_server *s, struct tclient *tcp, const struct sockaddr *peer, size_t len)
{
	if (len == 0)
		return;
	if (!tcp) {
		uv_buf_t b = uv_buf_init((char *)s->out + 2, (unsigned)len);
		if (uv_udp_try_send(s->udp[ip_family_index(peer->sa_family)], &b, 1, peer) < 0)
			s->dropped++; /* a full socket buffer: the client asks again */
		return;
	}
	s->out[0] = (uint8_t)(len >> 8);
	s->out[1] = (uint8_t)len;
	uv_buf_t b = uv_buf_init((char *)s->out, (unsigned)len + 2);
	/* Who does not read one answer before the next does not get it. */
	if (uv_try_write((uv_stream_t *)&tcp->handle, &b, 1) != (int)len + 2)
		tclient_close(tcp);
}

static void asked_free(struct asked *a)
{
	if (a->prev)
		a->prev->next = a->next;
	else
		a->s->asked = a->next;
	if (a->next)
		a->next->prev = a->prev;
	if (a->tcp)
		a->tcp->asked = NULL;
	free(a);
}

static size_t udp_limit(const struct asked *a)
{
	return a->tcp ? DNS_TCP_MAX : MIN((size_t)a->query.udp_size, (size_t)DNS_UDP_MAX);
}

static void put_chain(struct dns_writer *w, const struct asked *a)
{
	for (unsigned i = 0; i < a->chain_len; i++)
		dns_put_name(w, DNS_ANSWER, i ? &a->chain[i - 1] : NULL, DNS_CNAME, ZONE_TTL_S, &a->chain[i]);
}

/* CNAMEs of our own, then the addresses and CNAMEs of an answer to their last target. */
static size_t merge_chain(struct dns_server *s, const struct asked *a, const uint8_t *msg, size_t len, bool authoritative)
{
	struct dns_writer w;
	dns_begin(&w, s->out + 2, DNS_TCP_MAX, udp_limit(a), &a->query);
	put_chain(&w, a);
	size_t pos = DNS_HEADER;
	struct dns_name name;
	unsigned answers = (unsigned)msg[6] << 8 | msg[7];
	if (!dns_name_read(msg, len, &pos, &name) || len - pos < 4)
		return dns_end(&w, DNS_SERVFAIL, false);
	pos += 4;
	struct dns_record r;
	while (answers-- > 0 && dns_record_read(msg, len, &pos, &r)) {
		size_t at = r.rdata;
		if ((r.type == DNS_A && r.rdata_len == 4) || (r.type == DNS_AAAA && r.rdata_len == 16))
			dns_put(&w, DNS_ANSWER, &r.owner, r.type, r.ttl_s, msg + r.rdata, (uint16_t)r.rdata_len);
		else if (r.type == DNS_CNAME && dns_name_read(msg, len, &at, &name))
			dns_put_name(&w, DNS_ANSWER, &r.owner, DNS_CNAME, r.ttl_s, &name);
	}
	int rcode = msg[3] & 0xf;
	if (msg[2] & 0x02)
		w.truncated = true;
	return dns_end(&w, rcode, authoritative);
}

static void on_forwarded(const uint8_t *answer, size_t len, void *user)
{
	struct asked *a = user;
	struct dns_server *s = a->s;
	struct tclient *tcp = a->tcp;
	size_t n;
	if (!answer) {
		s->failed++;
		n = dns_refusal(s->out + 2, DNS_TCP_MAX, NULL, 0, &a->query, DNS_SERVFAIL);
	} else if (a->chain_len) {
		n = merge_chain(s, a, answer, len, false);
	} else if (len > udp_limit(a)) {
		struct dns_writer w;
		dns_begin(&w, s->out + 2, DNS_TCP_MAX, DNS_UDP_MIN, &a->query);
		w.truncated = true;
		n = dns_end(&w, answer[3] & 0xf, false);
	} else {
		memcpy(s->out + 2, answer, len);
		n = len;
	}
	reply(s, tcp, (struct sockaddr *)&a->peer, n);
	asked_free(a);
	if (tcp && !tcp->closing)
		tclient_next(tcp);
}

static size_t write_query(uint8_t *buf, const struct dns_name *name, uint16_t type, uint16_t id)
{
	memset(buf, 0, DNS_HEADER);
	buf[0] = (uint8_t)(id >> 8);
	buf[1] = (uint8_t)id;
	buf[2] = 1; /* RD */
	buf[5] = 1;
	memcpy(buf + DNS_HEADER, name->wire, name->len);
	uint8_t *p = buf + DNS_HEADER + name->len;
	p[0] = (uint8_t)(type >> 8);
	p[1] = (uint8_t)type;
	p[2] = 0;
	p[3] = DNS_IN;
	return (size_t)(p + 4 - buf);
}

/* Passes a question on; true when it was answered at once instead (n bytes in s->out + 2). */
static bool ask_upstream(struct dns_server *s, struct tclient *tcp, const struct sockaddr *peer, struct asked *a,
			 const uint8_t *msg, size_t len, size_t *ret_n)
{
	a->tcp = tcp;
	if (peer)
		memcpy(&a->peer, peer, peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	a->forward = forward_ask(s->forwarder, msg, len, &a->query, tcp != NULL, on_forwarded, a);
	if (!a->forward) {
		s->failed++;
		*ret_n = dns_refusal(s->out + 2, DNS_TCP_MAX, NULL, 0, &a->query, DNS_SERVFAIL);
		free(a);
		return true;
	}
	s->forwarded++;
	a->next = s->asked;
	if (s->asked)
		s->asked->prev = a;
	s->asked = a;
	if (tcp)
		tcp->asked = a;
	return false;
}

/* An ExternalName: follows it through the zone as far as it goes, then upstream. */
static bool chase(struct dns_server *s, struct tclient *tcp, const struct sockaddr *peer, const struct dns_query *q,
		  const struct dns_name *target, size_t *ret_n)
{
	struct asked *a = mem_new(struct asked);
	uint8_t msg[DNS_UDP_MIN];
	static uint8_t inner[DNS_UDP_MAX];
	a->s = s;
	a->query = *q;
	struct dns_query next = *q;
	next.name = *target;
	next.edns = false;
	for (;;) {
		struct dns_name further;
		size_t n = 0;
		if (a->chain_len == CHASE_MAX) {
			*ret_n = dns_refusal(s->out + 2, DNS_TCP_MAX, NULL, 0, q, DNS_SERVFAIL);
			free(a);
			return true;
		}
		a->chain[a->chain_len++] = next.name;
		switch (zone_answer(s->zone, &next, inner, sizeof(inner), sizeof(inner), &n, &further)) {
		case ZONE_CHASE:
			next.name = further;
			continue;
		case ZONE_DONE:
			a->tcp = tcp;
			*ret_n = merge_chain(s, a, inner, n, true);
			free(a);
			return true;
		case ZONE_FORWARD:
			break;
		}
		break;
	}
	size_t len = write_query(msg, &next.name, q->type, q->id);
	return ask_upstream(s, tcp, peer, a, msg, len, ret_n);
}

/* True when the answer (n bytes, maybe none) is ready in s->out + 2; false: it comes later. */
static bool answer(struct dns_server *s, struct tclient *tcp, const struct sockaddr *peer, const uint8_t *msg, size_t len,
		   size_t *ret_n)
{
	struct dns_query q;
	struct dns_name target;
	s->queries++;
	int r = dns_query_read(msg, len, &q);
	if (r != 0) {
		s->refused++;
		*ret_n = r < 0 ? 0 : dns_refusal(s->out + 2, DNS_TCP_MAX, msg, len, NULL, r);
		return true;
	}
	if (q.edns_version != 0) {
		*ret_n = dns_refusal(s->out + 2, DNS_TCP_MAX, msg, len, &q, DNS_BADVERS);
		return true;
	}
	size_t limit = tcp ? DNS_TCP_MAX : MIN((size_t)q.udp_size, (size_t)DNS_UDP_MAX);
	switch (zone_answer(s->zone, &q, s->out + 2, DNS_TCP_MAX, limit, ret_n, &target)) {
	case ZONE_DONE:
		return true;
	case ZONE_CHASE:
		return chase(s, tcp, peer, &q, &target, ret_n);
	case ZONE_FORWARD:
		break;
	}
	struct asked *a = mem_new(struct asked);
	a->s = s;
	a->query = q;
	return ask_upstream(s, tcp, peer, a, msg, len, ret_n);
}

static void on_udp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct dns_server *s = h->data;
	(void)suggested;
	*buf = uv_buf_init((char *)s->in, sizeof(s->in));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer, unsigned flags)
{
	struct dns_server *s = h->data;
	size_t out;
	if (n <= 0 || !peer || flags & UV_UDP_PARTIAL)
		return;
	if (answer(s, NULL, peer, (uint8_t *)buf->base, (size_t)n, &out))
		reply(s, NULL, peer, out);
}

static void tclient_closed(uv_handle_t *h)
{
	struct tclient *c = h->data;
	if (--c->handles == 0)
		free(c);
}

static void tclient_close(struct tclient *c)
{
	if (c->closing)
		return;
	c->closing = true;
	if (c->asked) {
		struct asked *a = c->asked;
		forward_cancel(a->forward);
		asked_free(a);
	}
	if (c->prev)
		c->prev->next = c->next;
	else
		c->s->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->s->client_count--;
	uv_close((uv_handle_t *)&c->handle, tclient_closed);
	uv_close((uv_handle_t *)&c->timer, tclient_closed);
}

static void on_idle(uv_timer_t *t)
{
	tclient_close(t->data);
}

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct tclient *c = h->data;
	(void)suggested;
	*buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(sizeof(c->in) - c->in_len));
}

static void on_tcp_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct tclient *c = st->data;
	(void)buf;
	if (n < 0) {
		tclient_close(c);
		return;
	}
	c->in_len += (size_t)n;
	tclient_next(c);
}

/* Serves what has arrived whole; reading goes on only when nothing is open. */
static void tclient_next(struct tclient *c)
{
	uv_timer_start(&c->timer, on_idle, DNS_TCP_IDLE_MS, 0);
	while (!c->closing && !c->asked && c->in_len >= 2) {
		size_t want = (size_t)c->in[0] << 8 | c->in[1], n;
		if (want < DNS_HEADER || want > sizeof(c->in) - 2) {
			tclient_close(c);
			return;
		}
		if (c->in_len < 2 + want)
			break;
		bool now = answer(c->s, c, NULL, c->in + 2, want, &n);
		c->in_len -= 2 + want;
		memmove(c->in, c->in + 2 + want, c->in_len);
		if (now)
			reply(c->s, c, NULL, n);
	}
	if (c->closing)
		return;
	if (c->asked || c->in_len == sizeof(c->in))
		uv_read_stop((uv_stream_t *)&c->handle);
	else
		uv_read_start((uv_stream_t *)&c->handle, on_tcp_alloc, on_tcp_read);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct dns_server *s = listener->data;
	if (status < 0)
		return;
	struct tclient *c = mem_new(struct tclient);
	c->s = s;
	c->handles = 2;
	c->handle.data = c->timer.data = c;
	uv_tcp_init(s->loop, &c->handle);
	uv_timer_init(s->loop, &c->timer);
	c->next = s->clients;
	if (s->clients)
		s->clients->prev = c;
	s->clients = c;
	s->client_count++;
	if (uv_accept(listener, (uv_stream_t *)&c->handle) < 0 || s->client_count > DNS_TCP_CLIENTS_MAX) {
		s->refused++;
		tclient_close(c);
		return;
	}
	tclient_next(c);
}

struct dns_server *dns_server_new(uv_loop_t *loop, struct zone *zone)
{
	struct dns_server *s = mem_new(struct dns_server);
	s->loop = loop;
	s->zone = zone;
	s->forwarder = forwarder_new(loop);
	return s;
}

void dns_server_free(struct dns_server *s)
{
	if (!s)
		return;
	while (s->clients)
		tclient_close(s->clients);
	while (s->asked) {
		struct asked *a = s->asked;
		forward_cancel(a->forward);
		asked_free(a);
	}
	forwarder_free(s->forwarder);
	for (int i = 0; i < 2; i++) {
		if (s->udp[i])
			uv_close((uv_handle_t *)s->udp[i], free_handle);
		if (s->tcp[i])
			uv_close((uv_handle_t *)s->tcp[i], free_handle);
	}
	free(s);
}

static void sockaddr_of(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET6) {
		struct sockaddr_in6 *s = (struct sockaddr_in6 *)ret;
		s->sin6_family = AF_INET6;
		s->sin6_port = htons(port);
		memcpy(&s->sin6_addr, a->bytes, 16);
	} else {
		struct sockaddr_in *s = (struct sockaddr_in *)ret;
		s->sin_family = AF_INET;
		s->sin_port = htons(port);
		memcpy(&s->sin_addr, a->bytes, 4);
	}
}

int dns_server_add_upstream(struct dns_server *s, const char *address, struct err *err)
{
	char host[IP_ADDR_TEXT_SIZE + 2];
	struct ip_addr a;
	uint64_t port = 53;
	const char *colon = strrchr(address, ':');
	size_t n = strlen(address);
	if (address[0] == '[') {
		const char *end = strchr(address, ']');
		if (!end || (end[1] && end[1] != ':') || (end[1] && str_to_u64(end + 2, 65535, &port) < 0))
			return err_set(err, EINVAL, "DNS upstream \"%s\" is not an address", address);
		n = (size_t)(end - address - 1);
		address++;
	} else if (colon && colon == strchr(address, ':')) {
		if (str_to_u64(colon + 1, 65535, &port) < 0 || port == 0)
			return err_set(err, EINVAL, "DNS upstream \"%s\" has no usable port", address);
		n = (size_t)(colon - address);
	}
	if (n >= sizeof(host))
		return err_set(err, EINVAL, "DNS upstream \"%s\" is not an address", address);
	memcpy(host, address, n);
	host[n] = 0;
	if (ip_parse(host, &a) < 0)
		return err_set(err, EINVAL, "DNS upstream \"%s\" is not an address", host);
	struct sockaddr_storage sa;
	sockaddr_of(&a, (uint16_t)port, &sa);
	if (!forwarder_add_upstream(s->forwarder, (struct sockaddr *)&sa))
		return err_set(err, E2BIG, "more than %d DNS upstreams", FORWARD_UPSTREAMS_MAX);
	return 0;
}

size_t dns_server_add_resolv_conf(struct dns_server *s, const char *path, const struct ip_addr skip[2])
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	size_t n = 0;
	if (file_read(path, 1 << 16, &text) < 0 || !text.data)
		return 0;
	strlist_split(&lines, text.data, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		char *p = lines.items[i] + strspn(lines.items[i], " \t");
		struct ip_addr a;
		if (!str_starts(p, "nameserver") || !strspn(p + 10, " \t"))
			continue;
		p += 10;
		p += strspn(p, " \t");
		p[strcspn(p, " \t\r#;")] = 0;
		if (ip_parse(p, &a) < 0 || ip_addr_eq(&a, &skip[ip_family_index(a.family)]))
			continue;
		struct sockaddr_storage sa;
		sockaddr_of(&a, 53, &sa);
		n += forwarder_add_upstream(s->forwarder, (struct sockaddr *)&sa);
	}
	return n;
}

int dns_server_listen(struct dns_server *s, const struct ip_addr *addr, uint16_t port, uint16_t *ret_port, struct err *err)
{
	struct sockaddr_storage sa, bound;
	char text[IP_ADDR_TEXT_SIZE];
	BUG_ON(s->tcp[ip_family_index(addr->family)]);
	int len = sizeof(bound);
	uv_tcp_t *tcp = mem_new(uv_tcp_t);
	uv_udp_t *udp = mem_new(uv_udp_t);
	uv_tcp_init(s->loop, tcp);
	uv_udp_init(s->loop, udp);
	tcp->data = udp->data = s;
	s->tcp[ip_family_index(addr->family)] = tcp;
	s->udp[ip_family_index(addr->family)] = udp;
	sockaddr_of(addr, port, &sa);
	int r = uv_tcp_bind(tcp, (struct sockaddr *)&sa, 0);
	if (r == 0)
		r = uv_listen((uv_stream_t *)tcp, 128, on_connection);
	if (r == 0)
		r = uv_tcp_getsockname(tcp, (struct sockaddr *)&bound, &len);
	if (r < 0)
		return err_set(err, -r, "DNS on %s port %u (TCP): %s", ip_format(addr, text), port, uv_strerror(r));
	uint16_t got = ntohs(((struct sockaddr_in *)&bound)->sin_port); /* the same place in both families */
	sockaddr_of(addr, got, &sa);
	r = uv_udp_bind(udp, (struct sockaddr *)&sa, 0);
	if (r == 0)
		r = uv_udp_recv_start(udp, on_udp_alloc, on_udp);
	if (r < 0)
		return err_set(err, -r, "DNS on %s port %u (UDP): %s", ip_format(addr, text), got, uv_strerror(r));
	if (ret_port)
		*ret_port = got;
	return 0;
}

void dns_server_metrics(const struct dns_server *s, struct strbuf *out)
{
	const struct {
		const char *name, *help;
		uint64_t value;
	} rows[] = {
		{ "keelson_dns_queries_total", "DNS messages received.", s->queries },
		{ "keelson_dns_forwarded_total", "Questions passed on to an upstream.", s->forwarded },
		{ "keelson_dns_failed_total", "Questions answered SERVFAIL because no upstream answered.", s->failed },
		{ "keelson_dns_refused_total", "Messages that were malformed or not supported, and TCP clients beyond the limit.",
		  s->refused },
		{ "keelson_dns_dropped_total", "Answers the socket did not take.", s->dropped },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		strbuf_addf(out, "# HELP %s %s\n# TYPE %s counter\n%s %lu\n", rows[i].name, rows[i].help, rows[i].name,
			    rows[i].name, (unsigned long)rows[i].value);
	strbuf_addf(out, "# HELP keelson_dns_open Questions waiting for an upstream.\n# TYPE keelson_dns_open gauge\n"
			 "keelson_dns_open %zu\n", forwarder_open(s->forwarder));
}
