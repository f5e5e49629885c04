/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load for an HTTPS server, over HTTP/2: one thread, an epoll of TLS connections, no work beyond frames and records, so that the server
 * is what is measured. Each client has one request under way at a time.
 *   apiload requests [OPTIONS] HOST:PORT
 *       --count N (1) or --seconds S, --clients N (1) connections with --streams N (1) clients on each; --method M (GET) --path P
 *       --body FILE --type T --accept T. Every "@@@@@@@" in path and body becomes the request's number, from --first N (0) on, all
 *       below first + count in an order that is not theirs.
 *       Prints "RATE P50_US P99_US MACHINE_US SERVER_US BYTES": answers a second, their latency, busy time of all processors and
 *       of --pid PID for each, body bytes of one.
 *   apiload list [OPTIONS] HOST:PORT
 *       --path P --accept T --limit N (0: whole) --runs N (5). Prints "MS BYTES PAGES": the median time from the first request
 *       to the last byte of the last page.
 *   apiload watch [OPTIONS] HOST:PORT
 *       --clients N connections with --streams N watches of --path P on each; --write-path P --body FILE --type T is the write (PUT)
 *       that each watcher sees. When all watch it prints "ready", and waits for a line on standard input: "end", or "go", upon which
 *       it makes --runs N writes one after the other, and --count N writes of --writers N connections at once. Prints
 *       "ACK_MS AFTER_MS EVENTS_PER_SECOND MACHINE_US": medians from sending a write to its answer and from there to the last watcher's
 *       event (below zero: it came before the answer), and of the many writes how many events arrived a second and what one cost
 *       all processors.
 * Common: --cert F --key F of the client, --header "name: value". Any answer but success ends it with 1.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define NUMBER "@@@@@@@"
enum { NUMBER_DIGITS = 7, OUT_BYTES = 64 << 10, MAX_HEADERS = 16, MAX_EVENTS = 64, HEAD_BYTES = 4096, PATIENCE_MS = 60000 };

struct options {
	const char *cert, *key, *method, *path, *body, *type, *accept, *write_path;
	const char *headers[MAX_HEADERS];
	size_t header_count;
	long count, first, clients, streams, runs, limit, writers, pid;
	double seconds;
	const char *host;
	char *port;
};
static struct options opt = { .method = "GET", .count = 1, .clients = 1, .streams = 1, .runs = 5, .writers = 16, .accept = "application/json",
	.type = "application/json" };

/* Text with places for a number. */
struct template {
	char *text;
	size_t len, places[8], count;
};

struct conn {
	int fd;
	SSL *ssl;
	nghttp2_session *h2;
	uint8_t *out; /* not yet taken by TLS */
	size_t out_len, out_at;
	bool wants_write;
};

/* One client: a request under way, or the next one. */
struct client {
	struct conn *conn;
	struct template path, body;
	size_t body_at;
	const char *method;
	int status;
	bool watching, again;    /* its answer goes on; it asks again when answered */
	double begin_ms;
	size_t bytes;
	char head[HEAD_BYTES];   /* of the answer's body */
	void (*done)(struct client *c);
};

static int poll_fd;
static SSL_CTX *tls;
static struct {
	long started, answered;
	size_t bytes;
	double end_ms;
	uint32_t *latency_us;
	size_t latency_cap;
} run;
static struct {
	long events; /* seen by watchers */
	long heads;  /* watchers whose answer has begun */
	double last_ms, ack_ms;
} seen;

static _noreturn_ void die(const char *what, const char *why)
{
	fprintf(stderr, "apiload: %s: %s\n", what, why);
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Busy microseconds of all processors. */
static double machine_us(void)
{
	unsigned long long v[8] = { 0 };
	FILE *f = fopen("/proc/stat", "re");
	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]) != 7)
		die("/proc/stat", "not readable");
	fclose(f);
	return (double)(v[0] + v[1] + v[2] + v[5] + v[6]) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static double server_us(void)
{
	char path[64];
	unsigned long long user = 0, system = 0;
	if (!opt.pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%ld/stat", opt.pid);
	FILE *f = fopen(path, "re");
	if (!f || fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		die(path, "not readable");
	fclose(f);
	return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static int double_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v, long n)
{
	qsort(v, (size_t)n, sizeof(*v), double_cmp);
	return n ? v[n / 2] : 0;
}

/* ---- templates */

static struct template template_new(const char *text, size_t len)
{
	struct template t = { mem_alloc(len + 1), len, { 0 }, 0 }; /* it may hold NULs */
	memcpy(t.text, text, len);
	t.text[len] = '\0';
	for (char *p = t.text; (p = memmem(p, len - (size_t)(p - t.text), NUMBER, NUMBER_DIGITS)); p += NUMBER_DIGITS) {
		if (t.count == ARRAY_SIZE(t.places))
			die(NUMBER, "more than 8 places");
		t.places[t.count++] = (size_t)(p - t.text);
	}
	return t;
}

static void template_fill(struct template *t, long number)
{
	char digits[NUMBER_DIGITS];
	for (int i = NUMBER_DIGITS; i--; number /= 10)
		digits[i] = (char)('0' + number % 10);
	for (size_t i = 0; i < t->count; i++)
		memcpy(t->text + t->places[i], digits, NUMBER_DIGITS);
}

/* Every number below count once, not in their order: names in a cluster come in no order. */
static long shuffled(long i)
{
	static const long primes[] = { 1000003, 999983, 999979 };
	for (size_t k = 0; k < ARRAY_SIZE(primes); k++)
		if (opt.count % primes[k])
			return opt.first + (long)((unsigned long long)(i % opt.count) * (unsigned long long)primes[k] % (unsigned long long)opt.count);
	return opt.first + i;
}

/* ---- connections */

static void watch_writing(struct conn *c, bool wants)
{
	struct epoll_event e = { .events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c };
	if (c->wants_write != wants && epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e) < 0)
		die("epoll_ctl", strerror(errno));
	c->wants_write = wants;
}

static void flush(struct conn *c)
{
	for (;;) {
		if (c->out_at == c->out_len) {
			c->out_at = c->out_len = 0;
			while (c->out_len < OUT_BYTES / 2) {
				const uint8_t *data;
				ssize_t n = nghttp2_session_mem_send(c->h2, &data);
				if (n < 0)
					die("HTTP/2", nghttp2_strerror((int)n));
				if (!n)
					break;
				BUG_ON((size_t)n > OUT_BYTES - c->out_len);
				memcpy(c->out + c->out_len, data, (size_t)n);
				c->out_len += (size_t)n;
			}
			if (!c->out_len) {
				watch_writing(c, false);
				return;
			}
		}
		int n = SSL_write(c->ssl, c->out + c->out_at, (int)(c->out_len - c->out_at));
		if (n > 0) {
			c->out_at += (size_t)n;
		} else if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE) {
			watch_writing(c, true);
			return;
		} else {
			die("write", ERR_error_string(ERR_get_error(), NULL));
		}
	}
}

static void conn_read(struct conn *c)
{
	static uint8_t buf[64 << 10];
	for (;;) {
		int n = SSL_read(c->ssl, buf, sizeof(buf));
		if (n <= 0) {
			if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ)
				break;
			die("read", SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN ? "the server has closed the connection"
										     : ERR_error_string(ERR_get_error(), NULL));
		}
		ssize_t used = nghttp2_session_mem_recv(c->h2, buf, (size_t)n);
		if (used < 0)
			die("HTTP/2", nghttp2_strerror((int)used));
	}
	flush(c);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
	(void)flags;
	(void)user;
	if (c && name_len == 7 && memcmp(name, ":status", 7) == 0)
		c->status = atoi((const char *)value);
	if (c && name_len == 11 && memcmp(name, "grpc-status", 11) == 0 && (value_len != 1 || *value != '0'))
		die("gRPC", "the server refused");
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
	(void)user;
	if (c && c->watching && f->hd.type == NGHTTP2_HEADERS) {
		if (c->status != 200)
			die(c->path.text, "the watch was refused");
		seen.heads++;
	}
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(s, id);
	(void)flags;
	(void)user;
	if (!c)
		return 0;
	if (c->watching)
		seen.last_ms = now_ms();
	if (c->watching)
		for (const uint8_t *p = data; (p = memchr(p, '\n', len - (size_t)(p - data))); p++)
			seen.events++;
	if (c->bytes < HEAD_BYTES - 1)
		memcpy(c->head + c->bytes, data, MIN(len, HEAD_BYTES - 1 - c->bytes));
	c->bytes += len;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	struct client *c = nghttp2_session_get_stream_user_data(s, id);
	(void)user;
	if (!c)
		return 0;
	c->head[MIN(c->bytes, (size_t)HEAD_BYTES - 1)] = '\0';
	if (code || c->status < 200 || c->status > 299) {
		fprintf(stderr, "apiload: %s %s: %d (stream error %u) %.600s\n", c->method, c->path.text, c->status, code, c->head);
		exit(1);
	}
	c->done(c);
	return 0;
}

static int client_cert(SSL_CTX *ctx)
{
	return SSL_CTX_use_certificate_chain_file(ctx, opt.cert) == 1 && SSL_CTX_use_PrivateKey_file(ctx, opt.key, SSL_FILETYPE_PEM) == 1;
}

static void init(void)
{
	static const unsigned char h2[] = "\2h2";
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_alpn_protos(tls, h2, sizeof(h2) - 1);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (opt.cert && !client_cert(tls))
		die(opt.cert, "not a certificate with its key");
}

static int dial(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *a;
	int rc = getaddrinfo(opt.host, opt.port, &hints, &a), one = 1;
	if (rc)
		die(opt.host, gai_strerror(rc));
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0)
		die("connect", strerror(errno));
	freeaddrinfo(a);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static struct conn *conn_new(void)
{
	struct conn *c = mem_new(struct conn);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	nghttp2_session_callbacks *cb;
	nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24 }, { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 } };
	c->fd = dial();
	c->out = mem_alloc(OUT_BYTES);
	c->ssl = SSL_new(tls);
	SSL_set_fd(c->ssl, c->fd);
	if (SSL_connect(c->ssl) != 1)
		die("TLS handshake", ERR_error_string(ERR_get_error(), NULL));
	fd_set_nonblock(c->fd, true);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_client_new(&c->h2, cb, c);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
	nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, 1 << 26);
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
		die("epoll_ctl", strerror(errno));
	flush(c);
	return c;
}

static void conn_free(struct conn *c)
{
	nghttp2_session_del(c->h2);
	SSL_free(c->ssl);
	close(c->fd);
	free(c->out);
	free(c);
}

/* One turn of what is ready. False: nothing was within the time. */
static bool turn(int timeout_ms)
{
	struct epoll_event e[MAX_EVENTS];
	int n = epoll_wait(poll_fd, e, MAX_EVENTS, timeout_ms);
	if (n < 0 && errno != EINTR)
		die("epoll_wait", strerror(errno));
	for (int i = 0; i < n; i++) {
		struct conn *c = e[i].data.ptr;
		if (e[i].events & EPOLLOUT)
			flush(c);
		if (e[i].events & ~EPOLLOUT)
			conn_read(c);
	}
	return n > 0;
}

static void turn_or_die(void)
{
	if (!turn(PATIENCE_MS))
		die("the server", "no answer for a minute");
}

/* ---- requests */

static ssize_t give_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct client *c = source->ptr;
	size_t n = MIN(len, c->body.len - c->body_at);
	(void)s;
	(void)id;
	(void)user;
	memcpy(buf, c->body.text + c->body_at, n);
	c->body_at += n;
	if (c->body_at == c->body.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv nv(const char *name, size_t name_len, const char *value, size_t value_len)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, name_len, value_len,
		NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE };
}
#define NV(name, value) nv(name, sizeof(name) - 1, value, strlen(value))

/* Sends the client's request; it goes out with the connection's next flush. */
static void ask(struct client *c)
{
	nghttp2_data_provider body = { .source.ptr = c, .read_callback = give_body };
	nghttp2_nv h[MAX_HEADERS + 8];
	size_t n = 0;
	c->begin_ms = now_ms();
	c->bytes = c->body_at = 0;
	c->status = 0;
	h[n++] = NV(":method", c->method);
	h[n++] = NV(":scheme", "https");
	h[n++] = NV(":authority", opt.host);
	h[n++] = nv(":path", 5, c->path.text, c->path.len);
	h[n++] = NV("user-agent", "kubectl/v1.36.0 (linux/amd64)");
	h[n++] = NV("accept", opt.accept);
	if (c->body.len)
		h[n++] = NV("content-type", opt.type);
	for (size_t i = 0; i < opt.header_count; i++) {
		size_t name = strcspn(opt.headers[i], ":");
		const char *value = opt.headers[i] + name + strspn(opt.headers[i] + name, ": ");
		h[n++] = nv(opt.headers[i], name, value, strlen(value));
	}
	int32_t id = nghttp2_submit_request(c->conn->h2, NULL, h, n, c->body.len ? &body : NULL, c);
	if (id < 0)
		die("HTTP/2", nghttp2_strerror(id));
}

static void ask_next(struct client *c)
{
	if (run.started >= opt.count && !opt.seconds)
		return;
	if (opt.seconds && now_ms() >= run.end_ms)
		return;
	long number = shuffled(run.started++);
	template_fill(&c->path, number);
	template_fill(&c->body, number);
	ask(c);
}

static void answered(struct client *c)
{
	MEM_GROW(run.latency_us, run.latency_cap, (size_t)run.answered + 1);
	run.latency_us[run.answered++] = (uint32_t)((now_ms() - c->begin_ms) * 1e3);
	run.bytes += c->bytes;
	ask_next(c);
}

static struct template body_of_option(void)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (!opt.body)
		return (struct template){ 0 };
	if (file_read(opt.body, 16 << 20, &b) < 0)
		die(opt.body, "cannot be read");
	return template_new(b.data, b.len);
}

static struct client *client_new(struct conn *conn, const char *method, const char *path, bool with_body, void (*done)(struct client *c))
{
	struct client *c = mem_new(struct client);
	c->conn = conn;
	c->method = method;
	c->path = template_new(path, strlen(path));
	if (with_body)
		c->body = body_of_option();
	c->done = done;
	return c;
}

static void requests(void)
{
	struct client **clients = mem_new_n(struct client *, (size_t)(opt.clients * opt.streams));
	struct conn **conns = mem_new_n(struct conn *, (size_t)opt.clients);
	for (long i = 0; i < opt.clients; i++) {
		conns[i] = conn_new();
		for (long j = 0; j < opt.streams; j++)
			clients[i * opt.streams + j] = client_new(conns[i], opt.method, opt.path, true, answered);
	}
	while (turn(50))
		;
	double begin = now_ms(), machine = machine_us(), server = server_us();
	run.end_ms = begin + opt.seconds * 1e3;
	for (long i = 0; i < opt.clients * opt.streams; i++)
		ask_next(clients[i]);
	for (long i = 0; i < opt.clients; i++)
		flush(conns[i]);
	while (run.answered < run.started)
		turn_or_die();
	double ms = now_ms() - begin, n = (double)run.answered;
	machine = machine_us() - machine;
	server = server_us() - server;
	qsort(run.latency_us, (size_t)run.answered, sizeof(*run.latency_us), u32_cmp);
	printf("%.0f %u %u %.1f %.1f %zu\n", n / ms * 1e3, run.latency_us[run.answered / 2], run.latency_us[run.answered * 99 / 100],
	       machine / n, server / n, run.bytes / (size_t)run.answered);
	for (long i = 0; i < opt.clients; i++)
		conn_free(conns[i]);
}

/* ---- lists */

static struct {
	long pages;
	size_t bytes;
	bool done;
} list;

/* The token begins with the base64 of {"v":"; it stands near the start in JSON and protobuf. */
static void on_page(struct client *c)
{
	list.pages++;
	list.bytes += c->bytes;
	const char *token = memmem(c->head, MIN(c->bytes, (size_t)HEAD_BYTES - 1), "eyJ2Ijoi", 8);
	if (!token) {
		list.done = true;
		return;
	}
	size_t len = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
	char *path = str_printf("%s%climit=%ld&continue=%.*s", opt.path, strchr(opt.path, '?') ? '&' : '?', opt.limit, (int)len, token);
	free(c->path.text);
	c->path = template_new(path, strlen(path));
	free(path);
	ask(c);
}

static void lists(void)
{
	struct conn *conn = conn_new();
	double *ms = mem_new_n(double, (size_t)opt.runs);
	for (long i = -1; i < opt.runs; i++) { /* the first is not counted */
		char *path = opt.limit ? str_printf("%s%climit=%ld", opt.path, strchr(opt.path, '?') ? '&' : '?', opt.limit) : mem_strdup(opt.path);
		struct client *c = client_new(conn, "GET", path, false, on_page);
		memset(&list, 0, sizeof(list));
		double begin = now_ms();
		ask(c);
		flush(conn);
		while (!list.done)
			turn_or_die();
		if (i >= 0)
			ms[i] = now_ms() - begin;
		free(path);
	}
	printf("%.3f %zu %ld\n", median(ms, opt.runs), list.bytes, list.pages);
	conn_free(conn);
}

/* ---- watches */

static void watch_ended(struct client *c)
{
	die(c->path.text, "the watch has ended");
}

static void written(struct client *c)
{
	run.answered++;
	seen.ack_ms = now_ms();
	if (c->again)
		ask_next(c);
}

static void write_once(struct client *c)
{
	opt.first += 1; /* each write is another one */
	template_fill(&c->body, opt.first);
	ask(c);
	flush(c->conn);
}

static void watches(void)
{
	long total = opt.clients * opt.streams;
	double *ack = mem_new_n(double, (size_t)opt.runs), *after = mem_new_n(double, (size_t)opt.runs);
	char line[16];
	for (long i = 0; i < opt.clients; i++) {
		struct conn *conn = conn_new();
		for (long j = 0; j < opt.streams; j++) {
			struct client *c = client_new(conn, "GET", opt.path, false, watch_ended);
			c->watching = true;
			ask(c);
		}
		flush(conn);
		turn(0);
	}
	while (seen.heads < total)
		turn_or_die();
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin) || strncmp(line, "go", 2) != 0)
		return;
	while (turn(200))
		; /* what was there when the watches began */
	struct client *writer = client_new(conn_new(), "PUT", opt.write_path, true, written);
	for (long i = -1; i < opt.runs; i++) {
		long want = seen.events + total;
		run.answered = 0;
		write_once(writer);
		while (!run.answered || seen.events < want)
			turn_or_die();
		if (i < 0)
			continue; /* the first is not counted */
		ack[i] = seen.ack_ms - writer->begin_ms;
		after[i] = seen.last_ms - seen.ack_ms;
	}
	long want = seen.events + total * opt.count;
	double begin = now_ms(), machine = machine_us();
	opt.first++;
	run.answered = run.started = 0;
	for (long i = 0; i < opt.writers; i++) {
		struct client *c = client_new(conn_new(), "PUT", opt.write_path, true, written);
		c->again = true;
		ask_next(c);
		flush(c->conn);
	}
	while (seen.events < want)
		turn_or_die();
	double took = now_ms() - begin, events = (double)(total * opt.count);
	printf("%.3f %.3f %.0f %.2f\n", median(ack, opt.runs), median(after, opt.runs), events / took * 1e3, (machine_us() - machine) / events);
}

static const struct option longs[] = {
	{ "cert", 1, NULL, 'c' }, { "key", 1, NULL, 'k' }, { "method", 1, NULL, 'm' }, { "path", 1, NULL, 'p' }, { "body", 1, NULL, 'b' },
	{ "type", 1, NULL, 't' }, { "accept", 1, NULL, 'a' }, { "header", 1, NULL, 'h' }, { "write-path", 1, NULL, 'w' },
	{ "count", 1, NULL, 'n' }, { "first", 1, NULL, 'f' }, { "clients", 1, NULL, 'C' }, { "streams", 1, NULL, 'S' }, { "runs", 1, NULL, 'r' },
	{ "limit", 1, NULL, 'l' }, { "writers", 1, NULL, 'W' }, { "pid", 1, NULL, 'P' }, { "seconds", 1, NULL, 's' }, { 0 },
};

static bool take_text(int c)
{
	const struct {
		int c;
		const char **slot;
	} texts[] = { { 'c', &opt.cert }, { 'k', &opt.key }, { 'm', &opt.method }, { 'p', &opt.path }, { 'b', &opt.body }, { 't', &opt.type },
		{ 'a', &opt.accept }, { 'w', &opt.write_path } };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].c == c) {
			*texts[i].slot = optarg;
			return true;
		}
	return false;
}

static bool take_number(int c)
{
	const struct {
		int c;
		long *slot;
	} numbers[] = { { 'n', &opt.count }, { 'f', &opt.first }, { 'C', &opt.clients }, { 'S', &opt.streams }, { 'r', &opt.runs },
		{ 'l', &opt.limit }, { 'W', &opt.writers }, { 'P', &opt.pid } };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].c == c) {
			*numbers[i].slot = atol(optarg);
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	int c;
	if (argc < 2)
		return 2;
	while ((c = getopt_long(argc - 1, argv + 1, "", longs, NULL)) != -1) {
		if (take_text(c) || take_number(c))
			continue;
		if (c == 's')
			opt.seconds = atof(optarg);
		else if (c == 'h' && opt.header_count < MAX_HEADERS)
			opt.headers[opt.header_count++] = optarg;
		else
			return 2;
	}
	if (optind + 1 >= argc || !(opt.port = strrchr(argv[optind + 1], ':')) || !opt.path)
		return 2;
	*opt.port++ = '\0';
	opt.host = argv[optind + 1];
	init();
	if (str_eq(argv[1], "requests"))
		requests();
	else if (str_eq(argv[1], "list"))
		lists();
	else if (str_eq(argv[1], "watch") && opt.write_path)
		watches();
	else
		return 2;
	return 0;
}
