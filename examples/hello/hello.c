/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The demo web server: answers every request on port 8080 with its pod's name, its node, the greeting from the
 * environment and the client address it sees. `hello get http://HOST[:PORT]/` is the client, so that one image serves
 * both ends. Static, one process, epoll.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CLIENTS = 1024, HEAD_MAX_BYTES = 4096 };

struct client {
	size_t len;
	char peer[INET6_ADDRSTRLEN + 8];
	char head[HEAD_MAX_BYTES];
};
static struct client *clients[MAX_CLIENTS];

static void end(int sig)
{
	(void)sig;
	_exit(0);
}

static const char *env(const char *name, const char *fallback)
{
	const char *v = getenv(name);

	return v && *v ? v : fallback;
}

static void drop(int fd)
{
	free(clients[fd]);
	clients[fd] = NULL;
	close(fd);
}

static void take_clients(int epfd, int listener)
{
	for (;;) {
		struct sockaddr_in6 a;
		socklen_t n = sizeof(a);
		int one = 1, fd = accept4(listener, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };
		char ip[INET6_ADDRSTRLEN];

		if (fd < 0)
			return;
		if (fd >= MAX_CLIENTS || !(clients[fd] = calloc(1, sizeof(struct client)))) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		inet_ntop(AF_INET6, &a.sin6_addr, ip, sizeof(ip));
		snprintf(clients[fd]->peer, sizeof(clients[fd]->peer), "%s", IN6_IS_ADDR_V4MAPPED(&a.sin6_addr) ? ip + 7 : ip);
		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
	}
}

/* Answers each whole request head in the buffer. False: the connection is over. */
static int answer(int fd, struct client *c)
{
	char *end_of_head;

	while ((end_of_head = memmem(c->head, c->len, "\r\n\r\n", 4))) {
		size_t used = (size_t)(end_of_head + 4 - c->head);
		char body[1024], out[1400];

		*end_of_head = '\0';
		int close_after = strcasestr(c->head, "connection: close") != NULL;
		int n = snprintf(body, sizeof(body), "%s from pod %s on node %s to %s\n", env("GREETING", "hello"),
				 env("POD_NAME", env("HOSTNAME", "unknown")), env("NODE_NAME", "unknown"), c->peer);

		n = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s", n,
			     close_after ? "Connection: close\r\n" : "", body);
		if (send(fd, out, (size_t)n, MSG_NOSIGNAL) != n || close_after)
			return 0;
		memmove(c->head, c->head + used, c->len - used);
		c->len -= used;
	}
	return c->len < HEAD_MAX_BYTES;
}

static void serve_client(int fd)
{
	struct client *c = clients[fd];
	ssize_t n = recv(fd, c->head + c->len, HEAD_MAX_BYTES - c->len, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(fd);
		return;
	}
	c->len += (size_t)n;
	if (!answer(fd, c))
		drop(fd);
}

static int serve(int port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any };
	int one = 1, zero = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), epfd = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd }, got[64];

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0) {
		perror("hello: cannot listen");
		return 1;
	}
	epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
	printf("hello: serving on port %d\n", port);
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epfd, got, 64, -1);

		for (int i = 0; i < n; i++) {
			if (got[i].data.fd == fd)
				take_clients(epfd, fd);
			else
				serve_client(got[i].data.fd);
		}
	}
}

/* Prints the body of http://HOST[:PORT]/...; exit code 1 when there is no answer within a few seconds. */
static int get(const char *url)
{
	char host[256] = "", port[8] = "80", buf[65536];
	const char *path = strncmp(url, "http://", 7) == 0 ? strchr(url + 7, '/') : NULL;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	struct timeval timeout = { .tv_sec = 3 };
	size_t len = 0;
	ssize_t n;

	if (sscanf(url, "http://%255[^:/]:%7[0-9]", host, port) < 1) {
		fprintf(stderr, "hello: give a URL such as http://hello/\n");
		return 2;
	}
	int r = getaddrinfo(host, port, &hints, &list);

	if (r != 0) {
		fprintf(stderr, "hello: %s: %s\n", host, gai_strerror(r));
		return 1;
	}
	int fd = socket(list->ai_family, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, list->ai_addr, list->ai_addrlen) < 0) {
		fprintf(stderr, "hello: connect %s: %s\n", host, strerror(errno));
		return 1;
	}
	r = snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path ? path : "/", host);
	if (send(fd, buf, (size_t)r, MSG_NOSIGNAL) < 0)
		return 1;
	while (len < sizeof(buf) - 1 && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	char *body = strstr(buf, "\r\n\r\n");

	if (strncmp(buf, "HTTP/1.1 200", 12) != 0 || !body) {
		fprintf(stderr, "hello: no good answer from %s: %.60s\n", host, buf);
		return 1;
	}
	fputs(body + 4, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	if (argc == 3 && strcmp(argv[1], "get") == 0)
		return get(argv[2]);
	return serve(atoi(env("PORT", "8080")));
}
