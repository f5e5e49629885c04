/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HTTP server: listening sockets, the list of connections, deadlines and orderly shutdown. Before the loop waits,
 * every connection that has something to do is serviced, so that one pass of the loop writes once a connection however
 * many answers and watch events it made. Sockets are polled (uv_poll) and read and written directly: an idle connection
 * holds no buffers.
 */
#include "io/http_server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"

/* Below so many connections one peer may have all of them. */
enum { SMALL_SERVER = 64 };
enum { ACCEPT_BATCH = 64, LISTEN_BACKLOG = 1024, SERVICE_ROUNDS = 4 };

static void free_when_closed(struct http_server *s)
{
	if (s->open_handles > 0)
		return;
	nghttp2_session_callbacks_del(s->h2_callbacks);
	nghttp2_option_del(s->h2_options);
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	hs_memory_done(s);
	map_free(s->peers);
	if (s->done)
		s->done(s->done_user);
	free(s);
}

static void handle_closed(uv_handle_t *h)
{
	struct http_server *s = h->data;

	s->open_handles--;
	free_when_closed(s);
}

const char *hs_date(struct http_server *s)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	int64_t now = clock_wall_s();
	time_t t = (time_t)now;
	struct tm tm;

	if (now == s->date_s)
		return s->date;
	gmtime_r(&t, &tm);
	snprintf(s->date, sizeof(s->date), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
		 months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
	s->date_s = now;
	return s->date;
}

static uint64_t deadline_ms(const struct http_server *s, enum hs_deadline_kind kind)
{
	switch (kind) {
	case HS_HEAD:
		return s->options.head_timeout_ms;
	case HS_BODY:
	case HS_WRITE:
		return s->options.body_timeout_ms;
	case HS_IDLE:
		return s->options.idle_timeout_ms;
	default:
		return HS_LINGER_MS;
	}
}

static void on_timer(uv_timer_t *timer);

static void timer_arm(struct http_server *s)
{
	uint64_t next = UINT64_MAX, now = uv_now(s->loop);

	for (int k = HS_NONE + 1; k < HS_DEADLINE_MAX; k++)
		if (s->lists[k].next != &s->lists[k])
			next = MIN(next, s->lists[k].next->at_ms);
	if (next == UINT64_MAX)
		uv_timer_stop(&s->timer);
	else
		uv_timer_start(&s->timer, on_timer, next > now ? next - now : 0, 0);
}

void hs_deadline_set(struct http_server *s, struct hs_deadline *d, enum hs_deadline_kind kind)
{
	struct hs_deadline *list = &s->lists[kind];

	if (d->kind != HS_NONE) {
		d->prev->next = d->next;
		d->next->prev = d->prev;
	}
	d->kind = kind;
	if (kind == HS_NONE)
		return;
	d->at_ms = uv_now(s->loop) + deadline_ms(s, kind);
	d->prev = list->prev;
	d->next = list;
	list->prev->next = d;
	list->prev = d;
	/* A running timer that is early finds nothing to do and is set anew: cheaper than setting it each time. */
	if (!uv_is_active((uv_handle_t *)&s->timer) || uv_timer_get_due_in(&s->timer) > deadline_ms(s, kind))
		timer_arm(s);
}

void hs_deadline_keep(struct http_server *s, struct hs_deadline *d, enum hs_deadline_kind kind)
{
	if (d->kind != kind)
		hs_deadline_set(s, d, kind);
}

static void on_timer(uv_timer_t *timer)
{
	struct http_server *s = timer->data;
	uint64_t now = uv_now(s->loop);

	for (int k = HS_NONE + 1; k < HS_DEADLINE_MAX; k++) {
		while (s->lists[k].next != &s->lists[k] && s->lists[k].next->at_ms <= now) {
			struct hs_deadline *d = s->lists[k].next;

			hs_deadline_set(s, d, HS_NONE);
			if (!d->of_request) {
				hs_conn_expired(CONTAINER_OF(d, struct http_conn, deadline), k);
			} else if (k == HS_BODY) {
				hs_h2_refuse(CONTAINER_OF(d, struct http_request, deadline), 408,
					     "the request body did not arrive in time");
			} else if (k == HS_LINGER) {
				hs_h2_lingered(CONTAINER_OF(d, struct http_request, deadline));
			} else {
				hs_h2_abort(CONTAINER_OF(d, struct http_request, deadline));
			}
		}
	}
	timer_arm(s);
}

static void on_idle(uv_idle_t *idle _unused_)
{
}

/* Works off the dirty connections, new ones included, for a few rounds; what is left then (a fast reader of a long answer)
 * waits for the next pass of the loop, which the idle handle keeps from sleeping. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct http_server *s = prepare->data;

	hs_memory_look(s);
	for (int round = 0; s->dirty_head && round < SERVICE_ROUNDS; round++) {
		struct http_conn *c = s->dirty_head;

		s->dirty_head = s->dirty_tail = NULL;
		while (c) {
			struct http_conn *next = c->dirty_next;

			c->dirty = false;
			c->dirty_next = NULL;
			hs_conn_service(c);
			c = next;
		}
	}
	if (s->dirty_head)
		uv_idle_start(&s->idle, on_idle);
	else
		uv_idle_stop(&s->idle);
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options,
				    http_handler_fn handler, void *user)
{
	struct http_server *s = mem_new(struct http_server);
	struct http_server_options *o = &s->options;
	struct sigaction pipe;
	struct rlimit fds;

	/* OpenSSL writes with write(): a peer that went away must not kill the program. */
	if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	if (options)
		memcpy(o, options, MIN(options->size, sizeof(*o)));
	o->max_head_bytes = o->max_head_bytes ? MIN(o->max_head_bytes, (size_t)16 << 20) : 65536;
	o->max_body_bytes = o->max_body_bytes ? MIN(o->max_body_bytes, (size_t)1 << 30) : 3u << 20;
	o->max_connections = o->max_connections ? o->max_connections : 10000;
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && fds.rlim_cur != RLIM_INFINITY)
		o->max_connections = (unsigned)MIN((rlim_t)o->max_connections, MAX(fds.rlim_cur / 4 * 3, (rlim_t)16));
	o->max_connections_of_peer = o->max_connections_of_peer ? o->max_connections_of_peer :
				     MAX(o->max_connections / 4, MIN(o->max_connections, (unsigned)SMALL_SERVER));
	o->max_streams = o->max_streams ? o->max_streams : 250;
	o->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : 30000;
	o->body_timeout_ms = o->body_timeout_ms ? o->body_timeout_ms : 60000;
	o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : 180000;
	s->loop = loop;
	s->handler = handler;
	s->user = user;
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->peers = map_new(NULL);
	hs_memory_init(s);
	for (int k = 0; k < HS_DEADLINE_MAX; k++)
		s->lists[k].prev = s->lists[k].next = &s->lists[k];
	BUG_ON(hs_h2_server_init(s) != 0);
	BUG_ON(uv_prepare_init(loop, &s->prepare) != 0);
	BUG_ON(uv_timer_init(loop, &s->timer) != 0);
	BUG_ON(uv_timer_init(loop, &s->grace) != 0);
	BUG_ON(uv_idle_init(loop, &s->idle) != 0);
	s->prepare.data = s->timer.data = s->grace.data = s->idle.data = s;
	s->open_handles = 4;
	uv_prepare_start(&s->prepare, on_prepare);
	/* The connections keep the loop alive, these do not. */
	uv_unref((uv_handle_t *)&s->prepare);
	uv_unref((uv_handle_t *)&s->timer);
	return s;
}

static void peer_text(const struct sockaddr_storage *sa, char out[static HS_PEER_TEXT_SIZE])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	char ip[INET6_ADDRSTRLEN];

	if (sa->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
		snprintf(out, HS_PEER_TEXT_SIZE, "%s:%u", ip, ntohs(v4->sin_port));
	} else if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, sizeof(ip));
		snprintf(out, HS_PEER_TEXT_SIZE, "%s:%u", ip, ntohs(v6->sin6_port));
	} else if (sa->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
		snprintf(out, HS_PEER_TEXT_SIZE, "[%s]:%u", ip, ntohs(v6->sin6_port));
	} else {
		snprintf(out, HS_PEER_TEXT_SIZE, "unix");
	}
}

/* Who connects: an IPv4 address, or the /64 of an IPv6 one, which is what one client has; "" for sockets of other families. */
static void peer_key(const struct sockaddr_storage *sa, char out[static INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	struct in6_addr a = ((const struct sockaddr_in6 *)sa)->sin6_addr;

	*out = '\0';
	if (sa->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, out, INET6_ADDRSTRLEN);
	} else if (sa->ss_family == AF_INET6) {
		if (!IN6_IS_ADDR_V4MAPPED(&a))
			memset(&a.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &a, out, INET6_ADDRSTRLEN);
	}
}

/* NULL: it has as many connections as one may have. */
static struct hs_peer *peer_enter(struct http_server *s, const struct sockaddr_storage *sa)
{
	char key[INET6_ADDRSTRLEN];
	struct hs_peer *p;

	peer_key(sa, key);
	p = map_get(s->peers, key);
	if (!p) {
		p = mem_new(struct hs_peer);
		memcpy(p->key, key, sizeof(p->key));
		map_set(s->peers, key, p);
	}
	if (*key && p->connections >= s->options.max_connections_of_peer)
		return NULL;
	p->connections++;
	return p;
}

void hs_peer_left(struct http_server *s, struct hs_peer *p)
{
	if (--p->connections)
		return;
	map_del(s->peers, p->key);
	free(p);
}

/* Makes room by closing the connection that has been idle for longest, else the one that has been sending its head for
 * longest: those who only hold connections lose them first. */
bool hs_evict(struct http_server *s)
{
	struct hs_deadline *d = s->lists[HS_IDLE].next;
	struct http_conn *c;

	if (d == &s->lists[HS_IDLE])
		d = s->lists[HS_HEAD].next;
	if (d == &s->lists[HS_HEAD])
		return false;
	hs_deadline_set(s, d, HS_NONE);
	c = CONTAINER_OF(d, struct http_conn, deadline);
	hs_conn_fail(c);
	/* Its place is free at once. */
	if (c->from)
		hs_peer_left(s, TAKE(c->from));
	return true;
}

/* Out of descriptors: takes the connection with the spare one and drops it, else the loop would spin on it. */
static void drop_one(struct http_server *s, int listen_fd)
{
	int fd;

	hs_evict(s);
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(uv_poll_t *poll, int status _unused_, int events _unused_)
{
	struct hs_listener *l = poll->data;
	struct http_server *s = l->server;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof(sa);
		char peer[HS_PEER_TEXT_SIZE];
		struct hs_peer *from;
		int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				drop_one(s, l->fd);
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		from = NULL;
		if (s->conn_count < s->options.max_connections || hs_evict(s))
			from = peer_enter(s, &sa);
		if (!from) {
			close(fd);
			continue;
		}
		if (sa.ss_family == AF_INET || sa.ss_family == AF_INET6) {
			/* A peer that vanished is noticed within two minutes even on a silent watch. */
			static const int on = 1, idle_s = 60, interval_s = 15, probes = 4;

			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
			setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
			setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
			setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
		}
		peer_text(&sa, peer);
		hs_conn_accept(s, fd, l->tls, peer, from);
	}
}

int http_server_listen_fd(struct http_server *s, int fd, SSL_CTX *tls, struct err *err)
{
	struct hs_listener *l;
	int r = fd_set_nonblock(fd, true);

	if (r < 0) {
		close(fd);
		return err_set(err, -r, "make the listening socket non-blocking: %s", strerror(-r));
	}
	l = mem_new(struct hs_listener);
	r = uv_poll_init(s->loop, &l->poll, fd);
	if (r < 0) {
		free(l);
		close(fd);
		return err_set(err, -r, "watch the listening socket: %s", uv_strerror(r));
	}
	*l = (struct hs_listener){ .next = s->listeners, .server = s, .poll = l->poll, .fd = fd, .tls = tls };
	l->poll.data = l;
	if (tls)
		SSL_CTX_up_ref(tls);
	s->listeners = l;
	s->open_handles++;
	uv_poll_start(&l->poll, UV_READABLE, on_listener);
	return 0;
}

/* "1.2.3.4:80", "[::1]:80" -> addrinfo of numbers only: no name is ever looked up. */
static int parse_address(const char *address, struct addrinfo **ret, struct err *err)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(address, ':');
	_cleanup_free_ char *host = NULL;
	int r;

	if (!colon || colon == address)
		return err_set(err, EINVAL, "address \"%s\" is not of the form IP:PORT", address);
	if (address[0] == '[' && colon[-1] == ']')
		host = mem_strndup(address + 1, (size_t)(colon - address) - 2);
	else
		host = mem_strndup(address, (size_t)(colon - address));
	r = getaddrinfo(host, colon + 1, &hints, ret);
	if (r != 0)
		return err_set(err, EINVAL, "address \"%s\" is not of the form IP:PORT", address);
	return 0;
}

int http_server_listen(struct http_server *s, const char *address, SSL_CTX *tls, int *ret_port, struct err *err)
{
	struct addrinfo *ai = NULL;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd, one = 1, r = parse_address(address, &ai, err);

	if (r < 0)
		return r;
	/* [::] is all addresses of both families. */
	int v6_only = ai->ai_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)(void *)ai->ai_addr)->sin6_addr);

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (ai->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) < 0) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		r = err_set(err, errno, "listen on %s: %s", address, strerror(errno));
		if (fd >= 0)
			close(fd);
		freeaddrinfo(ai);
		return r;
	}
	freeaddrinfo(ai);
	r = http_server_listen_fd(s, fd, tls, err);
	if (r < 0)
		return r;
	if (ret_port)
		*ret_port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port :
							      ((struct sockaddr_in *)&sa)->sin_port);
	return 0;
}

size_t http_server_connections(const struct http_server *s)
{
	return s->conn_count;
}

static void close_own_handles(struct http_server *s)
{
	uv_close((uv_handle_t *)&s->prepare, handle_closed);
	uv_close((uv_handle_t *)&s->timer, handle_closed);
	uv_close((uv_handle_t *)&s->grace, handle_closed);
	uv_close((uv_handle_t *)&s->idle, handle_closed);
}

void hs_conn_gone(struct http_conn *c)
{
	struct http_server *s = c->server;

	free(c);
	s->open_handles--;
	if (s->shutting_down && s->conn_count == 0 && !uv_is_closing((uv_handle_t *)&s->prepare))
		close_own_handles(s);
	free_when_closed(s);
}

static void force_close(uv_timer_t *timer)
{
	struct http_server *s = timer->data;

	for (struct http_conn *c = s->conns; c; c = c->next)
		hs_conn_fail(c);
	if (s->conn_count == 0 && !uv_is_closing((uv_handle_t *)&s->prepare))
		close_own_handles(s);
}

static void listener_closed(uv_handle_t *h)
{
	struct hs_listener *l = h->data;
	struct http_server *s = l->server;

	SSL_CTX_free(l->tls);
	free(l);
	s->open_handles--;
	free_when_closed(s);
}

static void listener_close(struct hs_listener *l)
{
	uv_close((uv_handle_t *)&l->poll, listener_closed);
	close(l->fd);
}

uint16_t hs_local_port(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return 0;
	return sa.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&sa)->sin6_port) :
	       sa.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&sa)->sin_port) : 0;
}

void http_server_unlisten(struct http_server *s, uint16_t port)
{
	for (struct hs_listener **at = &s->listeners; *at;) {
		struct hs_listener *l = *at;

		if (hs_local_port(l->fd) != port) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		listener_close(l);
	}
}

void http_server_shutdown(struct http_server *s, unsigned grace_ms, void (*done)(void *user), void *user)
{
	if (s->shutting_down)
		return;
	s->shutting_down = true;
	s->done = done;
	s->done_user = user;
	while (s->listeners) {
		struct hs_listener *l = s->listeners;

		s->listeners = l->next;
		listener_close(l);
	}
	for (struct http_conn *c = s->conns; c; c = c->next)
		hs_conn_stop(c);
	uv_timer_start(&s->grace, force_close, s->conn_count ? grace_ms : 0, 0);
}

void http_server_cut(struct http_server *s)
{
	uv_timer_start(&s->grace, force_close, 0, 0);
}
