/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A question is 'q', its number in 14 digits, a blank and padding; the answer repeats the number, then says
 * "NAME CLIENT PORT LOCAL PORT", padded to the question's size. Over TCP both carry their whole length in front.
 */
#include "tests/lab/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { SERVERS_MAX = 128, MESSAGE_MAX = 65000, HEAD = 8, QUESTION_MIN = 16, ANSWER_MIN = 160 };

enum end_kind { END_LISTEN, END_DATAGRAMS, END_CONNECTION, END_CLIENT };
/* What epoll points at. */
struct end {
	uint8_t kind;
	int fd, server;
	struct end *next; /* accepted connections of a server */
	char *in;         /* TCP: what has come of the next message */
	size_t in_len;
};
struct server {
	bool used;
	char name[16];
	uint16_t port;
	struct end ends[4]; /* TCP and UDP of each family */
	struct end *connections;
};
struct talk_client {
	struct end end; /* first: the loop finds the client by it */
	enum talk_kind kind;
	struct ip_addr to;
	uint16_t to_port;
	struct talk_count count;
	struct talk_answer last;
	uint64_t last_number;
	unsigned changes;
};
struct talk {
	struct lab *lab;
	int ep;
	struct server servers[SERVERS_MAX];
};

union sock {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t sock_set(union sock *s, int family, const struct ip_addr *a, uint16_t port)
{
	memset(s, 0, sizeof(*s));
	if (family == AF_INET) {
		s->v4.sin_family = AF_INET;
		s->v4.sin_port = htons(port);
		if (a)
			memcpy(&s->v4.sin_addr, a->bytes, 4);
		return sizeof(s->v4);
	}
	s->v6.sin6_family = AF_INET6;
	s->v6.sin6_port = htons(port);
	if (a)
		memcpy(&s->v6.sin6_addr, a->bytes, 16);
	return sizeof(s->v6);
}

static void sock_get(const union sock *s, struct ip_addr *ret, uint16_t *ret_port)
{
	bool v6 = s->any.sa_family == AF_INET6;
	*ret = (struct ip_addr){ .family = v6 ? AF_INET6 : AF_INET };
	memcpy(ret->bytes, v6 ? (const void *)&s->v6.sin6_addr : (const void *)&s->v4.sin_addr, v6 ? 16 : 4);
	*ret_port = ntohs(v6 ? s->v6.sin6_port : s->v4.sin_port);
}

struct talk *talk_new(struct lab *l)
{
	struct talk *t = mem_new(struct talk);
	t->lab = l;
	t->ep = epoll_create1(EPOLL_CLOEXEC);
	BUG_ON(t->ep < 0);
	return t;
}

static void watch(struct talk *t, struct end *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = e };
	BUG_ON(epoll_ctl(t->ep, EPOLL_CTL_ADD, e->fd, &ev) < 0);
}

/* Taken out of the loop by name: the helper that made the socket may hold it for a moment longer. */
static void end_close(struct talk *t, struct end *e)
{
	if (e->fd >= 0) {
		epoll_ctl(t->ep, EPOLL_CTL_DEL, e->fd, NULL);
		close(e->fd);
	}
	e->fd = -1;
	free(e->in);
	e->in = NULL;
}

struct talk *talk_free(struct talk *t)
{
	if (!t)
		return NULL;
	for (int i = 0; i < SERVERS_MAX; i++)
		talk_unserve(t, i);
	close(t->ep);
	free(t);
	return NULL;
}

/* --- servers --- */

static int server_end(struct talk *t, struct server *s, struct end *e, struct lab_place at, int family, int type)
{
	union sock a;
	int one = 1;
	e->kind = type == SOCK_STREAM ? END_LISTEN : END_DATAGRAMS;
	e->server = (int)(s - t->servers);
	e->fd = lab_socket(t->lab, at, family, type);
	setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6) {
		setsockopt(e->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(e->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	} else {
		setsockopt(e->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	}
	socklen_t len = sock_set(&a, family, NULL, s->port);
	if (bind(e->fd, &a.any, len) < 0 || (type == SOCK_STREAM && listen(e->fd, 256) < 0)) {
		fprintf(stderr, "lab: serving port %u: %s\n", s->port, strerror(errno));
		return -errno;
	}
	watch(t, e);
	return 0;
}

int talk_serve(struct talk *t, struct lab_place at, uint16_t port, const char *name)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int i = 0;
	while (i < SERVERS_MAX && t->servers[i].used)
		i++;
	BUG_ON(i == SERVERS_MAX);
	struct server *s = &t->servers[i];
	*s = (struct server){ .used = true, .port = port };
	snprintf(s->name, sizeof(s->name), "%s", name);
	for (int k = 0; k < 4; k++)
		s->ends[k].fd = -1;
	for (int k = 0; k < 2; k++)
		if (server_end(t, s, &s->ends[2 * k], at, families[k], SOCK_STREAM) < 0 ||
		    server_end(t, s, &s->ends[2 * k + 1], at, families[k], SOCK_DGRAM) < 0)
			return -1;
	return i;
}

void talk_unserve(struct talk *t, int server)
{
	struct server *s = &t->servers[server];
	if (!s->used)
		return;
	for (int k = 0; k < 4; k++)
		end_close(t, &s->ends[k]);
	for (struct end *e = s->connections, *next; e; e = next) {
		next = e->next;
		end_close(t, e);
		free(e);
	}
	*s = (struct server){ 0 };
}

static size_t answer_write(char *out, const struct server *s, const char *question, size_t len, const struct ip_addr *client,
			   uint16_t client_port, const struct ip_addr *local)
{
	char c[IP_ADDR_TEXT_SIZE], l[IP_ADDR_TEXT_SIZE];
	int n = snprintf(out, ANSWER_MIN, "%.15s %s %s %u %s %u ", question, s->name, ip_format(client, c), client_port,
			 ip_format(local, l), s->port);
	size_t size = MAX((size_t)n, len);
	memset(out + n, '.', size - (size_t)n);
	return size;
}

static void serve_datagram(struct end *e, const struct server *s)
{
	static char in[MESSAGE_MAX], out[MESSAGE_MAX + ANSWER_MIN];
	union sock from;
	char control[256];
	struct iovec iov = { in, sizeof(in) };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(e->fd, &m, 0);
	if (n < QUESTION_MIN)
		return;
	struct ip_addr client, local = { 0 };
	uint16_t port;
	sock_get(&from, &client, &port);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			local.family = AF_INET;
			memcpy(local.bytes, &((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			local.family = AF_INET6;
			memcpy(local.bytes, &((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr, 16);
		}
	}
	iov = (struct iovec){ out, answer_write(out, s, in, (size_t)n, &client, port, &local) };
	/* The same control data makes the answer leave from the address that was asked. */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == IPPROTO_IP)
			((struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex = 0;
		else
			((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex = 0;
	sendmsg(e->fd, &m, MSG_NOSIGNAL);
}

static void accept_one(struct talk *t, struct end *e, struct server *s)
{
	int one = 1, fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	struct end *c = mem_new(struct end);
	*c = (struct end){ .kind = END_CONNECTION, .fd = fd, .server = e->server, .next = s->connections };
	s->connections = c;
	watch(t, c);
}

static void connection_drop(struct talk *t, struct server *s, struct end *e)
{
	for (struct end **p = &s->connections; *p; p = &(*p)->next)
		if (*p == e) {
			*p = e->next;
			break;
		}
	end_close(t, e);
	free(e);
}

/* Reads more; returns a whole message's length when one stands at e->in + HEAD, 0 when not yet, negative at the end. */
static ssize_t stream_read(struct end *e)
{
	size_t want = HEAD;
	if (!e->in)
		e->in = mem_alloc(HEAD + MESSAGE_MAX + ANSWER_MIN);
	if (e->in_len >= HEAD)
		want = HEAD + strtoul(e->in, NULL, 10);
	BUG_ON(want > HEAD + MESSAGE_MAX + ANSWER_MIN);
	if (e->in_len < want) {
		ssize_t n = recv(e->fd, e->in + e->in_len, want - e->in_len, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : n < 0 ? -errno : -EPIPE;
		e->in_len += (size_t)n;
		return e->in_len == HEAD ? stream_read(e) : e->in_len < want ? 0 : (ssize_t)(want - HEAD);
	}
	return (ssize_t)(want - HEAD);
}

/* Answers are small against the socket's buffer, and a client asks again only when it has its answer or sends little. */
static int stream_write(int fd, const char *text, size_t len)
{
	char head[HEAD + 1];
	snprintf(head, sizeof(head), "%07zu ", len);
	struct iovec iov[2] = { { head, HEAD }, { (char *)text, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
	return n < 0 ? -errno : (size_t)n == HEAD + len ? 0 : -EAGAIN;
}

static void serve_stream(struct talk *t, struct end *e, struct server *s)
{
	static char out[MESSAGE_MAX + ANSWER_MIN];
	union sock from, to;
	socklen_t len = sizeof(from), to_len = sizeof(to);
	ssize_t n = stream_read(e);
	if (n < 0) {
		connection_drop(t, s, e);
		return;
	}
	if (n < QUESTION_MIN)
		return;
	struct ip_addr client, local;
	uint16_t port, local_port;
	if (getpeername(e->fd, &from.any, &len) < 0 || getsockname(e->fd, &to.any, &to_len) < 0) {
		connection_drop(t, s, e);
		return;
	}
	sock_get(&from, &client, &port);
	sock_get(&to, &local, &local_port);
	size_t size = answer_write(out, s, e->in + HEAD, (size_t)n, &client, port, &local);
	e->in_len = 0;
	if (stream_write(e->fd, out, size) < 0)
		connection_drop(t, s, e);
}

/* --- clients --- */

static void answer_read(struct talk_client *c, char *text, size_t len, const union sock *from)
{
	char name[16], client[IP_ADDR_TEXT_SIZE + 1], local[IP_ADDR_TEXT_SIZE + 1];
	unsigned client_port, local_port;
	unsigned long long number;
	text[MIN(len, (size_t)ANSWER_MIN - 1)] = 0;
	if (sscanf(text, "q%llu %15s %46s %u %46s %u", &number, name, client, &client_port, local, &local_port) != 6)
		return;
	struct talk_answer a = { .bytes = len, .client_port = (uint16_t)client_port, .local_port = (uint16_t)local_port };
	ip_parse(client, &a.client);
	ip_parse(local, &a.local);
	sock_get(from, &a.from, &a.from_port);
	if (!str_eq(name, c->last.name))
		c->changes++;
	snprintf(a.name, sizeof(a.name), "%s", name);
	c->last = a;
	c->last_number = number;
	c->count.answered++;
}

static void client_error(struct talk_client *c, int error)
{
	c->count.errors++;
	c->count.last_error = error;
}

static void client_read(struct talk *t, struct talk_client *c)
{
	static char buf[MESSAGE_MAX + ANSWER_MIN + 1];
	union sock from = { 0 };
	socklen_t len = sizeof(from);
	if (c->kind == TALK_TCP) {
		ssize_t n = stream_read(&c->end);
		if (n < 0) {
			client_error(c, (int)-n);
			epoll_ctl(t->ep, EPOLL_CTL_DEL, c->end.fd, NULL);
			return;
		}
		if (n == 0)
			return;
		getpeername(c->end.fd, &from.any, &len);
		c->end.in_len = 0;
		answer_read(c, c->end.in + HEAD, (size_t)n, &from);
		return;
	}
	ssize_t n = recvfrom(c->end.fd, buf, sizeof(buf) - 1, 0, &from.any, &len);
	if (n < 0) {
		if (errno != EAGAIN)
			client_error(c, errno);
		return;
	}
	if (c->kind == TALK_UDP_CONNECTED) {
		len = sizeof(from);
		getpeername(c->end.fd, &from.any, &len);
	}
	answer_read(c, buf, (size_t)n, &from);
}

static void turn(struct talk *t, int ms)
{
	struct epoll_event got[64];
	int n = epoll_wait(t->ep, got, ARRAY_SIZE(got), ms);
	for (int i = 0; i < n; i++) {
		struct end *e = got[i].data.ptr;
		switch (e->kind) {
		case END_LISTEN:
			accept_one(t, e, &t->servers[e->server]);
			break;
		case END_DATAGRAMS:
			serve_datagram(e, &t->servers[e->server]);
			break;
		case END_CONNECTION:
			serve_stream(t, e, &t->servers[e->server]);
			break;
		default:
			client_read(t, (struct talk_client *)e);
		}
	}
}

void talk_run(struct talk *t, int ms)
{
	int64_t end = clock_mono_ms() + ms;
	do
		turn(t, (int)MAX(end - clock_mono_ms(), (int64_t)0));
	while (clock_mono_ms() < end);
}

/* Sockets that connect are watched for being writable by themselves, so that servers go on meanwhile. */
static int connect_wait(struct talk *t, int fd, int timeout_ms)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), error = ETIMEDOUT;
	struct epoll_event ev = { .events = EPOLLOUT }, inner = { .events = EPOLLIN }, got[2];
	int64_t end = clock_mono_ms() + timeout_ms;
	socklen_t len = sizeof(error);
	ev.data.fd = 1;
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	inner.data.fd = 2;
	epoll_ctl(ep, EPOLL_CTL_ADD, t->ep, &inner);
	for (bool done = false; !done;) {
		int64_t left = end - clock_mono_ms();
		int n = left < 0 ? 0 : epoll_wait(ep, got, 2, (int)left + 1);
		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			if (got[i].data.fd == 2)
				turn(t, 0);
			else
				done = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0;
		}
	}
	close(ep);
	return error;
}

struct talk_client *talk_open(struct talk *t, struct lab_place from, enum talk_kind kind, const struct ip_addr *to,
			      uint16_t to_port, uint16_t local_port, int timeout_ms, int *ret_error)
{
	struct talk_client *c = mem_new(struct talk_client);
	union sock a;
	int one = 1, error = 0;
	c->end = (struct end){ .kind = END_CLIENT, .fd = lab_socket(t->lab, from, to->family, kind == TALK_TCP ? SOCK_STREAM : SOCK_DGRAM) };
	c->kind = kind;
	c->to = *to;
	c->to_port = to_port;
	socklen_t len = sock_set(&a, to->family, NULL, local_port);
	setsockopt(c->end.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (kind == TALK_TCP)
		setsockopt(c->end.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (local_port && bind(c->end.fd, &a.any, len) < 0)
		error = errno;
	len = sock_set(&a, to->family, to, to_port);
	if (!error && kind != TALK_UDP && connect(c->end.fd, &a.any, len) < 0)
		error = errno == EINPROGRESS ? connect_wait(t, c->end.fd, timeout_ms) : errno;
	if (ret_error)
		*ret_error = error;
	if (error) {
		end_close(t, &c->end);
		free(c);
		return NULL;
	}
	watch(t, &c->end);
	return c;
}

void talk_close(struct talk *t, struct talk_client *c)
{
	/* Ends with a reset: ports do not run out, and no half of it lingers. */
	struct linger l = { .l_onoff = 1 };
	if (!c)
		return;
	if (c->kind == TALK_TCP)
		setsockopt(c->end.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	end_close(t, &c->end);
	free(c);
}

static void send_question(struct talk_client *c, size_t bytes)
{
	static char out[MESSAGE_MAX];
	union sock a;
	int r = 0;
	BUG_ON(bytes < QUESTION_MIN || bytes > sizeof(out));
	memset(out, '.', bytes);
	c->count.sent++;
	snprintf(out, sizeof(out), "q%014llu", (unsigned long long)c->count.sent);
	out[15] = ' ';
	socklen_t len = sock_set(&a, c->to.family, &c->to, c->to_port);
	if (c->kind == TALK_TCP)
		r = stream_write(c->end.fd, out, bytes);
	else if (sendto(c->end.fd, out, bytes, MSG_NOSIGNAL, c->kind == TALK_UDP ? &a.any : NULL, c->kind == TALK_UDP ? len : 0) < 0)
		r = -errno;
	if (r < 0)
		client_error(c, -r);
}

void talk_send(struct talk *t, struct talk_client *c)
{
	(void)t;
	send_question(c, 64);
}

void talk_settle(struct talk *t, struct talk_client *c, int timeout_ms)
{
	int64_t end = clock_mono_ms() + timeout_ms;
	while (c->count.answered < c->count.sent && clock_mono_ms() < end)
		turn(t, (int)MAX(end - clock_mono_ms(), (int64_t)0));
}

void talk_ask(struct talk *t, struct talk_client *c, size_t bytes, int timeout_ms, struct talk_answer *ret)
{
	int64_t end = clock_mono_ms() + timeout_ms;
	uint64_t errors = c->count.errors;
	send_question(c, bytes);
	while (c->last_number != c->count.sent && c->count.errors == errors) {
		int64_t left = end - clock_mono_ms();
		if (left < 0)
			break;
		turn(t, (int)left + 1);
	}
	*ret = (struct talk_answer){ .error = ETIMEDOUT };
	if (c->last_number == c->count.sent)
		*ret = c->last;
	else if (c->count.errors != errors)
		ret->error = c->count.last_error;
}

void talk_once(struct talk *t, struct lab_place from, enum talk_kind kind, const struct ip_addr *to, uint16_t to_port,
	       int timeout_ms, struct talk_answer *ret)
{
	*ret = (struct talk_answer){ 0 };
	struct talk_client *c = talk_open(t, from, kind, to, to_port, 0, timeout_ms, &ret->error);
	if (!c)
		return;
	talk_ask(t, c, 64, timeout_ms, ret);
	talk_close(t, c);
}

struct talk_count talk_counted(const struct talk_client *c)
{
	return c->count;
}

const char *talk_name(const struct talk_client *c)
{
	return c->last.name;
}

unsigned talk_changes(const struct talk_client *c)
{
	return c->changes;
}

int talk_fd(const struct talk_client *c)
{
	return c->end.fd;
}

const char *talk_text(const struct talk_answer *a, char out[static 160])
{
	char client[IP_ADDR_TEXT_SIZE], from[IP_ADDR_TEXT_SIZE];
	if (a->error)
		snprintf(out, 160, "%s", strerrorname_np(a->error) ? strerrorname_np(a->error) : "?");
	else
		snprintf(out, 160, "%s saw %s:%u, answered as %s:%u", a->name, ip_format(&a->client, client), a->client_port,
			 ip_format(&a->from, from), a->from_port);
	return out;
}
