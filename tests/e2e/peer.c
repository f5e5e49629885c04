/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both ends of the traffic in services.sh, static so that it is a pod's image and a command on the machine as well.
 *
 *   peer [-k] serve NAME PROTO:PORT...
 *	answers every request with "NAME PORT CLIENT", as long as the request; NAME - is the host name. GET /ready is
 *	answered with 503 after a SIGTERM. With -k a SIGTERM does no more than that.
 *   peer [-n TIMES] [-w MS] [-s BYTES] [-c] [-p] ask PROTO/HOST:PORT...
 *	prints a line for each target: who answered, sorted, each once; or refused, silent, short, E<errno>. TIMES
 *	requests from as many sockets, at once or, with -w, one after the other with a pause. -c adds the client's
 *	address as the server sees it, -p the server's port.
 *   peer keep HOST:PORT LOCALPORT
 *	asks by datagrams of one socket for ever and prints "NAME PORT" or what became of it, whenever it changes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS_MAX = 4096, MESSAGE_MAX = 16384, TARGETS_MAX = 64, NAMES_MAX = 64, ANSWER_MS = 2500, KEEP_MS = 200 };

struct conn {
	size_t len;
	unsigned short port;
	bool datagrams, listener;
	char client[INET6_ADDRSTRLEN], buf[MESSAGE_MAX];
};
struct target {
	bool udp;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	size_t names;
	char name[NAMES_MAX][96];
};
struct try {
	struct target *target;
	bool sent;
	size_t len;
	char buf[MESSAGE_MAX];
};
static struct {
	int times, pause_ms;
	size_t bytes;
	bool client, port, keep_on_term;
} opt = { .times = 1 };
static volatile sig_atomic_t terminating;
static char name[128];

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void address_text(const struct sockaddr_in6 *a, char out[static INET6_ADDRSTRLEN])
{
	inet_ntop(AF_INET6, &a->sin6_addr, out, INET6_ADDRSTRLEN);
	if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr))
		memmove(out, out + 7, strlen(out + 7) + 1);
}

/* The body of an answer, filled up to the request's size. */
static size_t answer_text(char *out, size_t request, unsigned short port, const char *client)
{
	size_t n = (size_t)snprintf(out, 256, "%s %u %s\n", name, port, client);

	if (n < request)
		memset(out + n, '.', request - n);
	return n < request ? request : n;
}

static void on_term(int sig)
{
	(void)sig;
	terminating = 1;
	if (!opt.keep_on_term)
		_exit(0);
}

static void listen_on(struct pollfd *p, struct conn *c, const char *what)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
	int one = 1, zero = 0, room = 1 << 20;

	c->datagrams = strncmp(what, "udp:", 4) == 0;
	c->listener = true;
	c->port = (unsigned short)atoi(what + 4);
	a.sin6_port = htons(c->port);
	p->events = POLLIN;
	p->fd = socket(AF_INET6, (c->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(p->fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (c->datagrams) {
		setsockopt(p->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
		setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	}
	if (bind(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || (!c->datagrams && listen(p->fd, 512) < 0))
		die(what);
}

/* Answers come from the address that was asked: a node has several, and its routes would choose another. */
static void serve_datagrams(int fd, unsigned short port)
{
	char in[MESSAGE_MAX], out[MESSAGE_MAX], client[INET6_ADDRSTRLEN];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
	struct sockaddr_in6 a;
	struct iovec iov = { in, sizeof(in) };
	struct msghdr m = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	while ((n = recvmsg(fd, &m, 0)) >= 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		if (c && c->cmsg_type == IPV6_PKTINFO)
			((struct in6_pktinfo *)(void *)CMSG_DATA(c))->ipi6_ifindex = 0;
		address_text(&a, client);
		iov = (struct iovec){ out, answer_text(out, (size_t)n, port, client) };
		sendmsg(fd, &m, 0);
		iov = (struct iovec){ in, sizeof(in) };
		m.msg_namelen = sizeof(a);
		m.msg_controllen = sizeof(control);
	}
}

/* False: the connection is over. */
static bool serve_connection(int fd, struct conn *c)
{
	ssize_t n = recv(fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
	char out[MESSAGE_MAX + 128];

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	c->len += (size_t)n;
	if (!memmem(c->buf, c->len, "\r\n\r\n", 4))
		return c->len < sizeof(c->buf);
	bool unready = terminating && memmem(c->buf, c->len, "GET /ready", 10);
	int head = snprintf(out, 128, "HTTP/1.0 %s\r\nConnection: close\r\n\r\n", unready ? "503 Ending" : "200 OK");

	send(fd, out, (size_t)head + answer_text(out + head, c->len, c->port, c->client), MSG_NOSIGNAL);
	return false;
}

static void take(int listener, struct pollfd *p, struct conn **conns, nfds_t *count, unsigned short port)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);
	int fd = accept4(listener, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (*count == SOCKETS_MAX || !(conns[*count] = calloc(1, sizeof(struct conn)))) {
		close(fd);
		return;
	}
	conns[*count]->port = port;
	address_text(&a, conns[*count]->client);
	p[(*count)++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

_Noreturn static void serve(int argc, char **argv)
{
	static struct pollfd p[SOCKETS_MAX];
	static struct conn *conns[SOCKETS_MAX];
	nfds_t count = 0;

	snprintf(name, sizeof(name), "%s", argv[0]);
	if (strcmp(name, "-") == 0)
		gethostname(name, sizeof(name));
	signal(SIGTERM, on_term);
	for (int i = 1; i < argc; i++, count++) {
		if (!(conns[count] = calloc(1, sizeof(struct conn))))
			die("memory");
		listen_on(&p[count], conns[count], argv[i]);
	}
	for (;;) {
		if (poll(p, count, -1) < 0)
			continue;
		for (nfds_t i = count; i-- > 0;) {
			if (!p[i].revents)
				continue;
			if (conns[i]->listener && conns[i]->datagrams)
				serve_datagrams(p[i].fd, conns[i]->port);
			else if (conns[i]->listener)
				take(p[i].fd, p, conns, &count, conns[i]->port);
			else if (!serve_connection(p[i].fd, conns[i])) {
				close(p[i].fd);
				free(conns[i]);
				p[i] = p[--count];
				conns[i] = conns[count];
			}
		}
	}
}

/* HOST:PORT; what a name means is asked of the resolver. */
static bool resolve(struct target *t, const char *text)
{
	const char *colon = strrchr(text, ':');
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *list;
	char host[256];

	if (!colon)
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (getaddrinfo(host, colon + 1, &hints, &list) != 0)
		return false;
	memcpy(&t->addr, list->ai_addr, list->ai_addrlen);
	t->addr_len = list->ai_addrlen;
	freeaddrinfo(list);
	return true;
}

static void note(struct target *t, const char *what)
{
	for (size_t i = 0; i < t->names; i++) {
		if (strcmp(t->name[i], what) == 0)
			return;
	}
	if (t->names < NAMES_MAX)
		snprintf(t->name[t->names++], sizeof(t->name[0]), "%s", what);
}

static void note_error(struct target *t, int error)
{
	char text[16];

	snprintf(text, sizeof(text), "E%d", error);
	note(t, error == ECONNREFUSED ? "refused" : error == ETIMEDOUT || error == EAGAIN ? "silent" : text);
}

static void note_answer(struct try *t)
{
	char who[64], client[INET6_ADDRSTRLEN], text[96];
	unsigned port;
	char *body = t->target->udp ? t->buf : strstr(t->buf, "\r\n\r\n");

	if (!body || sscanf(body, " %63s %u %45s", who, &port, client) != 3) {
		note(t->target, t->len ? "garbage" : "reset");
		return;
	}
	if (t->len < opt.bytes) {
		note(t->target, "short");
		return;
	}
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", who);

	if (opt.port)
		n += (size_t)snprintf(text + n, sizeof(text) - n, ":%u", port);
	if (opt.client)
		snprintf(text + n, sizeof(text) - n, "@%s", client);
	note(t->target, text);
}

static void begin(struct try *t, struct pollfd *p)
{
	struct target *to = t->target;

	p->fd = socket(to->addr.ss_family, (to->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	p->events = POLLOUT;
	if (p->fd < 0)
		die("socket");
	if (connect(p->fd, (struct sockaddr *)&to->addr, to->addr_len) < 0 && errno != EINPROGRESS) {
		note_error(to, errno);
		close(p->fd);
		p->fd = -1;
	}
}

/* What a socket has to say; true when that was all. */
static bool go_on(struct try *t, struct pollfd *p)
{
	char out[MESSAGE_MAX];
	size_t n = (size_t)snprintf(out, sizeof(out), "GET / HTTP/1.0\r\nX: ");

	if (!t->sent) {
		for (; n + 4 < opt.bytes && n + 4 < sizeof(out); n++)
			out[n] = 'x';
		memcpy(out + n, "\r\n\r\n", 4);
		p->events = POLLIN;
		t->sent = true;
		if (send(p->fd, out, n + 4, MSG_NOSIGNAL) >= 0)
			return false;
		note_error(t->target, errno);
		return true;
	}
	ssize_t got = recv(p->fd, t->buf + t->len, sizeof(t->buf) - 1 - t->len, 0);

	if (got < 0 && errno == EAGAIN)
		return false;
	if (got < 0) {
		note_error(t->target, errno);
		return true;
	}
	t->len += (size_t)got;
	if (got > 0 && !t->target->udp)
		return false;
	note_answer(t);
	return true;
}

static void ask_at_once(struct target *targets, size_t count, int times)
{
	size_t n = count * (size_t)times, left = n;
	struct try *tries = calloc(n, sizeof(*tries));
	struct pollfd *p = calloc(n, sizeof(*p));
	int64_t end = now_ms() + ANSWER_MS;

	if (!tries || !p)
		die("memory");
	for (size_t i = 0; i < n; i++) {
		tries[i].target = &targets[i % count];
		p[i].fd = -1;
		if (tries[i].target->addr_len)
			begin(&tries[i], &p[i]);
		left -= p[i].fd < 0;
	}
	while (left && now_ms() < end && poll(p, n, (int)(end - now_ms())) >= 0) {
		for (size_t i = 0; i < n; i++) {
			if (p[i].fd < 0 || !p[i].revents || !go_on(&tries[i], &p[i]))
				continue;
			close(p[i].fd);
			p[i].fd = -1;
			left--;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i].fd < 0)
			continue;
		note(tries[i].target, "silent");
		close(p[i].fd);
	}
	free(tries);
	free(p);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int ask(int argc, char **argv)
{
	static struct target targets[TARGETS_MAX];
	struct rlimit files = { SOCKETS_MAX, SOCKETS_MAX };

	setrlimit(RLIMIT_NOFILE, &files);
	if (argc > TARGETS_MAX)
		return fprintf(stderr, "peer: too many targets\n"), 2;
	for (int i = 0; i < argc; i++) {
		targets[i].udp = strncmp(argv[i], "udp/", 4) == 0;
		if (!resolve(&targets[i], argv[i] + 4))
			note(&targets[i], "unresolved");
	}
	for (int i = 0; i < (opt.pause_ms ? opt.times : 1); i++) {
		if (i)
			usleep((useconds_t)opt.pause_ms * 1000);
		ask_at_once(targets, (size_t)argc, opt.pause_ms ? 1 : opt.times);
	}
	for (int i = 0; i < argc; i++) {
		qsort(targets[i].name, targets[i].names, sizeof(targets[i].name[0]), by_text);
		for (size_t k = 0; k < targets[i].names; k++)
			printf("%s%s", k ? " " : "", targets[i].name[k]);
		printf("\n");
	}
	return 0;
}

_Noreturn static void keep(const char *to, int local_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)local_port) };
	struct timeval wait = { .tv_usec = KEEP_MS * 1000 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char last[128] = "", buf[MESSAGE_MAX], is[128];
	struct target t = { .udp = true };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || !resolve(&t, to))
		die(to);
	for (;;) {
		unsigned port = 0;

		snprintf(is, sizeof(is), "nobody");
		if (sendto(fd, "?", 1, 0, (struct sockaddr *)&t.addr, t.addr_len) == 1) {
			ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

			buf[n > 0 ? n : 0] = '\0';
			if (sscanf(buf, "%63s %u", is, &port) == 2)
				snprintf(is + strlen(is), 16, " %u", port);
			else
				snprintf(is, sizeof(is), "nobody");
		}
		if (strcmp(is, last) != 0)
			printf("%s\n", is);
		fflush(stdout);
		memcpy(last, is, sizeof(last));
		usleep(KEEP_MS * 1000);
	}
}

int main(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "+n:w:s:cpk")) > 0) {
		switch (o) {
		case 'n': opt.times = atoi(optarg); break;
		case 'w': opt.pause_ms = atoi(optarg); break;
		case 's': opt.bytes = (size_t)atoi(optarg); break;
		case 'c': opt.client = true; break;
		case 'p': opt.port = true; break;
		case 'k': opt.keep_on_term = true; break;
		default: return 2;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc >= 3 && strcmp(argv[0], "serve") == 0)
		serve(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[0], "ask") == 0)
		return ask(argc - 1, argv + 1);
	if (argc == 3 && strcmp(argv[0], "keep") == 0)
		keep(argv[1], atoi(argv[2]));
	fprintf(stderr, "usage: peer [-k] serve NAME PROTO:PORT... | [-n TIMES] [-w MS] [-s BYTES] [-c] [-p] ask PROTO/HOST:PORT... | "
			"keep HOST:PORT LOCALPORT\n");
	return 2;
}
