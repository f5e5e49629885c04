/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The API's client in the benchmarks: makes many Services, and measures how long an acknowledged change takes to reach
 * the kernel. Runs in the node's network namespace and cgroup, so that its own connections meet the socket hooks.
 *   apitool services KUBECONFIG NAMESPACE COUNT ADDR1 ADDR2
 *       creates COUNT Services without selector, each with an EndpointSlice of two endpoints (port 8080), 64 requests in
 *       flight. Prints "WRITES_PER_SECOND MS": the rate of acknowledged writes, and the milliseconds from the last
 *       acknowledgement until the last Service answers a connection.
 *   apitool change KUBECONFIG PATH ON OFF ADDR PORT TURNS
 *       merge-patches PATH with ON and with OFF by turns; after ON connections to ADDR:PORT must succeed, after OFF be
 *       refused. Prints "ON ACK_MS SEEN_MS AFTER_MS" and "OFF ...": medians from sending the write to its
 *       acknowledgement, from sending it to the first connection that sees it, and of the difference of the two.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/client.h"

enum { IN_FLIGHT = 64, TURNS_MAX = 10000, PATIENCE_MS = 20000 };

static uv_loop_t loop;
static struct kube_client *client;

static _noreturn_ void die(const char *what, const char *why)
{
	fprintf(stderr, "apitool: %s: %s\n", what, why);
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		die(host, "not an IPv4 address");
	return a;
}

/* One connection; ends with a reset, so that ports do not run out. An address that nobody owns swallows the SYN: short
 * patience. */
static bool connects(const struct sockaddr_in *a)
{
	struct timeval patience = { .tv_usec = 5000 };
	struct linger reset = { .l_onoff = 1 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	bool ok = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0;
	close(fd);
	return ok;
}

/* services: request i makes Service i / 2 when i is even, its slice when it is odd. */
static struct {
	const char *ns, *address1, *address2;
	int count, sent, done;
	double begin;
	char last_ip[INET_ADDRSTRLEN];
} many;

static void many_send(void);

static void many_done(const struct kube_result *r, void *user)
{
	(void)user;
	if (!kube_ok(r))
		die("creating", r->message);
	const char *kind = json_str_or(r->object, "kind", ""), *name = json_str_or(r->object, "metadata.name", "");
	if (strcmp(kind, "Service") == 0 && atoi(name + 1) == many.count - 1)
		snprintf(many.last_ip, sizeof(many.last_ip), "%s", json_str_or(r->object, "spec.clusterIP", ""));
	many.done++;
	many_send();
}

static json_t *many_object(int i, bool slice)
{
	char name[32], slice_name[40];
	snprintf(name, sizeof(name), "s%d", i);
	snprintf(slice_name, sizeof(slice_name), "s%d-1", i);
	if (!slice)
		return json_pack("{s:s,s:s,s:{s:s},s:{s:[{s:i,s:i}]}}", "apiVersion", "v1", "kind", "Service", "metadata",
				 "name", name, "spec", "ports", "port", 80, "targetPort", 8080);
	return json_pack("{s:s,s:s,s:s,s:{s:s,s:{s:s}},s:[{s:s,s:i,s:s}],s:[{s:[s]},{s:[s]}]}", "apiVersion",
			 "discovery.k8s.io/v1", "kind", "EndpointSlice", "addressType", "IPv4", "metadata", "name", slice_name,
			 "labels", "kubernetes.io/service-name", name, "ports", "name", "", "port", 8080, "protocol", "TCP",
			 "endpoints", "addresses", many.address1, "addresses", many.address2);
}

static void many_send(void)
{
	while (many.sent < 2 * many.count && many.sent - many.done < IN_FLIGHT) {
		bool slice = many.sent % 2;
		json_t *body = many_object(many.sent / 2, slice);
		char *path = kube_path(slice ? "discovery.k8s.io/v1" : "v1", slice ? "endpointslices" : "services", many.ns,
				       NULL, NULL);
		kube_do(client, "POST", path, NULL, body, many_done, NULL);
		json_decref(body);
		free(path);
		many.sent++;
	}
	if (many.done == 2 * many.count)
		uv_stop(&loop);
}

static void services(void)
{
	many.begin = now_ms();
	many_send();
	uv_run(&loop, UV_RUN_DEFAULT);
	double acknowledged = now_ms();
	struct sockaddr_in a = address(many.last_ip, "80");
	while (!connects(&a)) {
		if (now_ms() - acknowledged > PATIENCE_MS)
			die(many.last_ip, "the last Service does not answer");
		usleep(100);
	}
	printf("%.0f %.1f\n", 2e3 * many.count / (acknowledged - many.begin), now_ms() - acknowledged);
}

/* change: a thread of its own connects all the time, as what it waits for may come before the acknowledgement does. */
static struct {
	const char *path;
	json_t *bodies[2]; /* off, on */
	struct sockaddr_in to;
	int turns, turn;   /* turn: counts both directions */
	bool on;
	double sent, acknowledged, seen; /* 0: not yet */
	double *ack[2], *see[2], *after[2];
	uv_async_t woken;
	uv_timer_t pause;
} change;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER;
static bool probing;
static _Atomic double probe_seen;

static void *probe(void *arg)
{
	(void)arg;
	prctl(PR_SET_TIMERSLACK, 1);
	for (;;) {
		pthread_mutex_lock(&lock);
		while (!probing)
			pthread_cond_wait(&asked, &lock);
		bool wanted = change.on;
		pthread_mutex_unlock(&lock);
		double begin = now_ms();
		while (connects(&change.to) != wanted) {
			if (now_ms() - begin > PATIENCE_MS)
				die(change.path, wanted ? "the endpoint never answered" : "the endpoint never went away");
			usleep(30);
		}
		pthread_mutex_lock(&lock);
		probing = false;
		pthread_mutex_unlock(&lock);
		probe_seen = now_ms();
		uv_async_send(&change.woken);
	}
	return NULL;
}

static void change_step(void)
{
	if (change.acknowledged == 0 || change.seen == 0)
		return;
	int i = change.turn / 2;
	change.ack[change.on][i] = change.acknowledged - change.sent;
	change.see[change.on][i] = change.seen - change.sent;
	change.after[change.on][i] = change.seen - change.acknowledged;
	if (++change.turn == 2 * change.turns)
		uv_stop(&loop);
	else
		uv_timer_again(&change.pause);
}

static void change_acknowledged(const struct kube_result *r, void *user)
{
	(void)user;
	if (!kube_ok(r))
		die(change.path, r->message);
	change.acknowledged = now_ms();
	change_step();
}

static void change_seen(uv_async_t *a)
{
	(void)a;
	change.seen = probe_seen;
	change_step();
}

/* A pause before each write lets what the last one started come to rest. */
static void change_write(uv_timer_t *t)
{
	uv_timer_stop(t);
	pthread_mutex_lock(&lock);
	change.on = change.turn % 2 == 0;
	probing = true;
	pthread_cond_signal(&asked);
	pthread_mutex_unlock(&lock);
	change.acknowledged = change.seen = 0;
	change.sent = now_ms();
	kube_do(client, "PATCH", change.path, KUBE_MERGE_PATCH, change.bodies[change.on], change_acknowledged, NULL);
}

static int double_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, (size_t)change.turns, sizeof(*v), double_cmp);
	return v[change.turns / 2];
}

static void changes(void)
{
	pthread_t thread;
	for (int i = 0; i < 2; i++) {
		change.ack[i] = calloc((size_t)change.turns, sizeof(double));
		change.see[i] = calloc((size_t)change.turns, sizeof(double));
		change.after[i] = calloc((size_t)change.turns, sizeof(double));
	}
	uv_async_init(&loop, &change.woken, change_seen);
	uv_timer_init(&loop, &change.pause);
	uv_timer_start(&change.pause, change_write, 200, 50);
	if (pthread_create(&thread, NULL, probe, NULL) != 0)
		die("starting a thread", strerror(errno));
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 1; i >= 0; i--)
		printf("%s %.3f %.3f %.3f\n", i ? "ON" : "OFF", median(change.ack[i]), median(change.see[i]),
		       median(change.after[i]));
}

static json_t *body(const char *text)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *v = json_parse(text, strlen(text), NULL, &err);
	if (!v)
		die(text, err_msg(&err));
	return v;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err err = { 0 };
	struct kubeconfig config = { 0 };
	const char *verb = argc > 1 ? argv[1] : "";
	bool is_change = strcmp(verb, "change") == 0 && argc == 9;
	if (!is_change && !(strcmp(verb, "services") == 0 && argc == 7)) {
		fputs("usage: apitool services KUBECONFIG NAMESPACE COUNT ADDR1 ADDR2\n"
		      "       apitool change KUBECONFIG PATH ON OFF ADDR PORT TURNS\n",
		      stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&loop);
	if (kubeconfig_load(argv[2], &config, &err) < 0 ||
	    !(client = kube_client_new(&loop, &config, "keelson-bench", &err)))
		die(argv[2], err_msg(&err));
	int n = atoi(is_change ? argv[8] : argv[4]);
	if (n < 1 || (is_change && n > TURNS_MAX))
		die(is_change ? argv[8] : argv[4], "not a number that can be used");
	if (is_change) {
		change.path = argv[3];
		change.bodies[1] = body(argv[4]);
		change.bodies[0] = body(argv[5]);
		change.to = address(argv[6], argv[7]);
		change.turns = n;
		changes();
	} else {
		many.ns = argv[3];
		many.count = n;
		many.address1 = argv[5];
		many.address2 = argv[6];
		services();
	}
	fflush(stdout);
	_exit(0); /* the probing thread does not end by itself */
}
