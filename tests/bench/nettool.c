/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small server and client for the packet tests and benchmarks: who answers, from where, and how fast. IPv4 only.
 *   nettool serve NAME PORT             TCP and UDP; a message that begins with 'w' is answered "NAME CLIENT:PORT",
 *                                       TCP that begins with 's' is swallowed, everything else is echoed
 *   nettool who tcp|tcp6|udp|udpc ADDR PORT [COUNT]   one answer a line: "NAME CLIENT:PORT PEER:PORT" or the errno's name
 *   nettool hold tcp|udp|udpc ADDR PORT          the same on one socket, once for each line on standard input
 *   nettool rate tcp|udp|crr|stream ADDR PORT SECONDS
 *                                       a second: transactions, connections with one transaction, or bytes
 *   nettool duel KIND ADDR PORT ADDR PORT TURNS  both by turns: medians of the rates and of their ratio
 *   nettool change FROM TO ADDR PORT             renames a file and prints the milliseconds until ADDR:PORT answers
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

static void die(const char *what)
{
	fprintf(stderr, "nettool: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "nettool: %s is not an address\n", host);
		exit(2);
	}
	return a;
}

static const char *text(const struct sockaddr_in *a)
{
	static char out[4][32];
	static unsigned n;
	char ip[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
	char *o = out[n++ % 4];
	snprintf(o, sizeof(out[0]), "%s:%u", ip, ntohs(a->sin_port));
	return o;
}

static void serve_udp(int fd, const char *name)
{
	static char buf[65536];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
	if (n <= 0)
		return;
	if (buf[0] == 'w')
		n = snprintf(buf, sizeof(buf), "%s %s\n", name, text(&from));
	sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static void serve_tcp(int ep, int fd, const char *name, bool *swallow)
{
	static char buf[262144];
	ssize_t n = read(fd, buf, sizeof(buf));
	if (n <= 0) {
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
		return;
	}
	if (buf[0] == 's')
		swallow[fd] = true;
	if (swallow[fd])
		return;
	if (buf[0] == 'w') {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		getpeername(fd, (struct sockaddr *)&from, &len);
		n = snprintf(buf, sizeof(buf), "%s %s\n", name, text(&from));
	}
	if (write(fd, buf, (size_t)n) < 0)
		close(fd);
}

static void serve(const char *name, const char *port)
{
	struct sockaddr_in a = address("0.0.0.0", port);
	static bool swallow[65536];
	int one = 1, ep = epoll_create1(0);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(tcp, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(tcp, 1024) < 0 ||
	    bind(udp, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("listening");
	struct epoll_event ev = { .events = EPOLLIN };
	ev.data.fd = tcp;
	epoll_ctl(ep, EPOLL_CTL_ADD, tcp, &ev);
	ev.data.fd = udp;
	epoll_ctl(ep, EPOLL_CTL_ADD, udp, &ev);
	for (;;) {
		struct epoll_event got[64];
		int n = epoll_wait(ep, got, 64, -1);
		for (int i = 0; i < n; i++) {
			int fd = got[i].data.fd;
			if (fd == udp) {
				serve_udp(udp, name);
			} else if (fd == tcp) {
				int c = accept(tcp, NULL, NULL);
				if (c < 0 || c >= (int)ARRAY_SIZE(swallow))
					continue;
				swallow[c] = false;
				setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
				ev.data.fd = c;
				epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev);
			} else {
				serve_tcp(ep, fd, name, swallow);
			}
		}
	}
}

/* An IPv6 socket towards the v4-mapped address, as dual-stack programs make it. */
static int open_mapped(const struct sockaddr_in *a)
{
	struct sockaddr_in6 m = { .sin6_family = AF_INET6, .sin6_port = a->sin_port };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	m.sin6_addr.s6_addr[10] = m.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&m.sin6_addr.s6_addr[12], &a->sin_addr, 4);
	struct timeval t = { .tv_sec = 1, .tv_usec = 500000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (connect(fd, (const struct sockaddr *)&m, sizeof(m)) == 0)
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

static int open_socket(const char *mode, const struct sockaddr_in *a)
{
	if (strcmp(mode, "tcp6") == 0)
		return open_mapped(a);
	bool tcp = strcmp(mode, "tcp") == 0;
	int one = 1, fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	struct timeval t = { .tv_sec = 1, .tv_usec = 500000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (strcmp(mode, "udp") != 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/* One question on a socket; prints the answer. */
static int ask(int fd, const char *mode, const struct sockaddr_in *a)
{
	char buf[256];
	struct sockaddr_in peer = { 0 };
	struct sockaddr_in6 peer6 = { 0 };
	socklen_t len = sizeof(peer), len6 = sizeof(peer6);
	bool udp = strcmp(mode, "udp") == 0;
	ssize_t n = udp ? sendto(fd, "w", 1, 0, (const struct sockaddr *)a, sizeof(*a)) : send(fd, "w", 1, MSG_NOSIGNAL);
	if (n > 0)
		n = recvfrom(fd, buf, sizeof(buf) - 1, 0, udp ? (struct sockaddr *)&peer : NULL, udp ? &len : NULL);
	if (n <= 0) {
		printf("%s\n", n == 0 ? "EOF" : strerrorname_np(errno));
		return 1;
	}
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	if (strcmp(mode, "tcp6") == 0) {
		getpeername(fd, (struct sockaddr *)&peer6, &len6);
		memcpy(&peer.sin_addr, &peer6.sin6_addr.s6_addr[12], 4);
		peer.sin_port = peer6.sin6_port;
	} else if (!udp) {
		getpeername(fd, (struct sockaddr *)&peer, &len);
	}
	printf("%s %s\n", buf, text(&peer));
	return 0;
}

static int who(const char *mode, const struct sockaddr_in *a, int count)
{
	int bad = 0;
	for (int i = 0; i < count; i++) {
		int fd = open_socket(mode, a);
		if (fd < 0) {
			printf("%s\n", strerrorname_np(errno));
			bad = 1;
			continue;
		}
		bad |= ask(fd, mode, a);
		close(fd);
	}
	return bad;
}

static int hold(const char *mode, const struct sockaddr_in *a)
{
	char line[64];
	int fd = open_socket(mode, a);
	if (fd < 0)
		die("connecting");
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		ask(fd, mode, a);
	return 0;
}

/* One kind of work towards one address; units are transactions, or bytes for "stream". */
struct work {
	const char *kind; /* tcp, udp, crr, stream */
	struct sockaddr_in to;
	int fd;
};

static void work_begin(struct work *w)
{
	w->fd = -1;
	if (strcmp(w->kind, "crr") == 0)
		return;
	w->fd = open_socket(strcmp(w->kind, "stream") == 0 ? "tcp" : w->kind, &w->to);
	if (w->fd < 0)
		die("connecting");
}

static uint64_t work_some(struct work *w)
{
	static char buf[131072];
	struct linger l = { .l_onoff = 1 }; /* ends with a reset: ports do not run out */
	bool udp = strcmp(w->kind, "udp") == 0;
	char c = 'e';
	if (strcmp(w->kind, "stream") == 0) {
		uint64_t sum = 0;
		buf[0] = 's';
		for (int i = 0; i < 16; i++) {
			ssize_t n = write(w->fd, buf, sizeof(buf));
			if (n < 0)
				die("writing");
			sum += (uint64_t)n;
		}
		return sum;
	}
	if (strcmp(w->kind, "crr") == 0) {
		int fd = open_socket("tcp", &w->to);
		if (fd < 0 || send(fd, &c, 1, 0) != 1 || recv(fd, &c, 1, 0) != 1)
			die("connection");
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		close(fd);
		return 1;
	}
	for (int i = 0; i < 16; i++) {
		ssize_t s = udp ? sendto(w->fd, &c, 1, 0, (struct sockaddr *)&w->to, sizeof(w->to)) : send(w->fd, &c, 1, 0);
		if (s != 1 || recv(w->fd, &c, 1, 0) != 1)
			die("transaction");
	}
	return 16;
}

static double work_rate(struct work *w, double seconds)
{
	uint64_t n = 0;
	double begin = now(), end = begin;
	while (end - begin < seconds) {
		n += work_some(w);
		end = now();
	}
	return (double)n / (end - begin);
}

static int double_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* The same work towards two addresses in short turns, so that both meet the same machine: where the scheduler puts client and
 * server, and what else runs, changes more slowly than that. */
#define TURN_SECONDS 0.005
static void duel(struct work *one, struct work *two, int turns)
{
	double *a = calloc((size_t)turns, sizeof(double)), *b = calloc((size_t)turns, sizeof(double));
	double *ratio = calloc((size_t)turns, sizeof(double));
	work_begin(one);
	work_begin(two);
	for (int i = 0; i < turns; i++) {
		/* Who goes first changes too. */
		if (i % 2)
			b[i] = work_rate(two, TURN_SECONDS);
		a[i] = work_rate(one, TURN_SECONDS);
		if (!(i % 2))
			b[i] = work_rate(two, TURN_SECONDS);
		ratio[i] = a[i] / b[i];
	}
	qsort(a, (size_t)turns, sizeof(*a), double_cmp);
	qsort(b, (size_t)turns, sizeof(*b), double_cmp);
	qsort(ratio, (size_t)turns, sizeof(*ratio), double_cmp);
	printf("%.1f %.1f %.3f\n", a[turns / 2], b[turns / 2], ratio[turns / 2]);
}

static void change(const char *from, const char *to, const struct sockaddr_in *a)
{
	double begin = now();
	if (rename(from, to) < 0)
		die("rename");
	for (;;) {
		/* An address that is not there yet swallows the SYN: short patience, many tries. */
		struct timeval t = { .tv_usec = 1000 };
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
		if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0)
			break;
		close(fd);
		if (now() - begin > 10)
			die("no answer within 10 s");
	}
	printf("%.3f\n", (now() - begin) * 1e3);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "serve") == 0 && argc == 4) {
		serve(argv[2], argv[3]);
	} else if (strcmp(verb, "who") == 0 && argc >= 5) {
		struct sockaddr_in a = address(argv[3], argv[4]);
		return who(argv[2], &a, argc > 5 ? atoi(argv[5]) : 1);
	} else if (strcmp(verb, "hold") == 0 && argc == 5) {
		struct sockaddr_in a = address(argv[3], argv[4]);
		return hold(argv[2], &a);
	} else if (strcmp(verb, "rate") == 0 && argc == 6) {
		struct work w = { .kind = argv[2], .to = address(argv[3], argv[4]) };
		work_begin(&w);
		printf("%.1f\n", work_rate(&w, atof(argv[5])));
	} else if (strcmp(verb, "duel") == 0 && argc == 8) {
		struct work one = { .kind = argv[2], .to = address(argv[3], argv[4]) };
		struct work two = { .kind = argv[2], .to = address(argv[5], argv[6]) };
		duel(&one, &two, atoi(argv[7]));
	} else if (strcmp(verb, "change") == 0 && argc == 6) {
		struct sockaddr_in a = address(argv[4], argv[5]);
		change(argv[2], argv[3], &a);
	} else {
		fputs("usage: nettool serve|who|hold|rate|duel|change ...\n", stderr);
		return 2;
	}
	return 0;
}
