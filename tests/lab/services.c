/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Kubernetes' end-to-end tests of Services assert, where it needs no kubelet: Services that change under their clients,
 * affinity, datagram flows whose backend goes, policies on three nodes, path MTU. usage: services BUILD_DIR [TEXT]. Root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/lab/reference.h"
#include "tests/lab/talk.h"

enum { NODES = 3, PODS = 3, AGREE_MS = 10000, ANSWER_MS = 3000, SILENCE_MS = 40, HEALTH = 32700 };
static const int families[2] = { AF_INET, AF_INET6 };

struct scene {
	struct lab *lab;
	struct talk *talk;
	struct world world;
	struct maps *maps[NODES + 1];
	int family;
	const char *title;
	uint16_t port;
	int failed;
};

static bool check(struct scene *s, bool good, const char *fmt, ...) _printf_(3, 4);
static bool check(struct scene *s, bool good, const char *fmt, ...)
{
	va_list ap;
	printf("%s - %s, IPv%d: ", good ? "ok" : "not ok", s->title, s->family == AF_INET ? 4 : 6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	s->failed += !good;
	return good;
}

/* --- what there is --- */

static struct world_service *service(struct scene *s, size_t i, uint8_t type)
{
	struct world_service *w = &s->world.services[i];
	*w = (struct world_service){ .used = true };
	snprintf(w->o.name, sizeof(w->o.name), "s%02zu", i);
	w->o.type = type;
	w->o.vip = 0x0400 + (unsigned)i;
	w->o.families[0] = w->o.families[1] = true;
	return w;
}

static void port(struct world_service *w, uint8_t proto, uint16_t number, uint16_t target, uint16_t node_port)
{
	struct object_port *p = &w->o.ports[w->o.port_count++];
	*p = (struct object_port){ .port = number, .target = target, .node_port = node_port, .proto = proto };
	snprintf(p->name, sizeof(p->name), "%c%u", object_proto_name(proto)[0] + 32, number);
}

static struct object_endpoint *endpoint(struct world_service *w, struct lab_place at)
{
	struct object_endpoint *e = &w->eps[w->count++];
	*e = (struct object_endpoint){ .ready = true, .serving = true };
	for (int f = 0; f < 2; f++)
		e->addr[f] = lab_addr(at, families[f]);
	snprintf(e->node, sizeof(e->node), "n%u", at.node);
	return e;
}

static struct world_service *both_protocols(struct scene *s, size_t i, uint8_t type)
{
	struct world_service *w = service(s, i, type);
	port(w, IPPROTO_TCP, 80, 8080, (uint16_t)(30080 + i));
	port(w, IPPROTO_UDP, 80, 8080, (uint16_t)(30080 + i));
	return w;
}

/* Writes everything and waits until every node's maps are so. */
static void apply(struct scene *s)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const char *bad = NULL, *comma = "";
	int64_t end = clock_mono_ms() + AGREE_MS;
	strbuf_adds(&b, "{\"kind\":\"List\",\"items\":[");
	for (size_t i = 0; i < WORLD_SERVICES; i++) {
		const struct world_service *w = &s->world.services[i];
		if (!w->used)
			continue;
		strbuf_adds(&b, comma);
		object_service_json(&b, &w->o);
		strbuf_addc(&b, ',');
		object_slices_json(&b, &w->o, w->eps, w->count);
		comma = ",";
	}
	strbuf_adds(&b, "]}");
	lab_write(s->lab, "services.json", b.data);
	for (unsigned k = 1; k <= NODES; k++)
		while ((bad = reference_compare(&s->world, k, s->maps[k])) && clock_mono_ms() < end)
			talk_run(s->talk, 1);
	/* An answered request: the turn that wrote the maps has ended, and with it all else it does. */
	for (unsigned k = 1; k <= NODES; k++)
		lab_proxy_get(s->lab, k, "/readyz", NULL);
	if (bad)
		check(s, false, "the maps follow: %s", bad);
}

static struct ip_addr vip(struct scene *s, size_t i)
{
	return lab_service_addr(s->world.services[i].o.vip, s->family);
}

static struct ip_addr node(struct scene *s, unsigned k)
{
	return lab_addr(lab_node(k), s->family);
}

/* --- asking --- */

static struct talk_answer once(struct scene *s, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port, int ms)
{
	struct talk_answer a = { 0 };
	/* Each its own port: a datagram flow of an earlier scene would keep its backend. */
	s->port = s->port < 33000 || s->port > 60000 ? 33000 : (uint16_t)(s->port + 1);
	struct talk_client *c = talk_open(s->talk, from, kind, &to, to_port, s->port, ms, &a.error);
	if (c)
		talk_ask(s->talk, c, 64, ms, &a);
	talk_close(s->talk, c);
	return a;
}

/* The names of those who answered n times, sorted, with blanks; an error's name ends it. */
static const char *who(struct scene *s, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port, int n)
{
	static char out[256];
	char names[NODES * PODS][16] = { { 0 } };
	size_t count = 0;
	out[0] = 0;
	for (int i = 0; i < n; i++) {
		struct talk_answer a = once(s, from, kind, to, to_port, ANSWER_MS);
		size_t k = 0;
		if (a.error) {
			snprintf(out, sizeof(out), "%s", strerrorname_np(a.error));
			return out;
		}
		while (k < count && strcmp(names[k], a.name) < 0)
			k++;
		if (k < count && str_eq(names[k], a.name))
			continue;
		memmove(names[k + 1], names[k], (count - k) * sizeof(names[0]));
		snprintf(names[k], sizeof(names[k]), "%s", a.name);
		count++;
	}
	for (size_t k = 0; k < count; k++)
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", k ? " " : "", names[k]);
	return out;
}

static void reaches(struct scene *s, const char *what, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port,
		    const char *want)
{
	int n = strchr(want, ' ') ? 44 : 3;
	const char *got = who(s, from, kind, to, to_port, n);
	check(s, str_eq(got, want), "%s: %s%s%s", what, want, str_eq(got, want) ? "" : ", got ", str_eq(got, want) ? "" : got);
}

static void refused(struct scene *s, const char *what, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port)
{
	char text[160];
	struct talk_answer a = once(s, from, kind, to, to_port, ANSWER_MS);
	check(s, a.error == ECONNREFUSED, "%s: refused%s%s", what, a.error == ECONNREFUSED ? "" : ", got ",
	      a.error == ECONNREFUSED ? "" : talk_text(&a, text));
}

static void silent(struct scene *s, const char *what, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port)
{
	char text[160];
	struct talk_answer a = once(s, from, kind, to, to_port, SILENCE_MS);
	bool good = a.error && a.error != ECONNREFUSED;
	check(s, good, "%s: silence%s%s", what, good ? "" : ", got ", good ? "" : talk_text(&a, text));
}

static struct talk_client *held(struct scene *s, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port)
{
	int error;
	struct talk_client *c = talk_open(s->talk, from, kind, &to, to_port, ++s->port, ANSWER_MS, &error);
	if (!c)
		check(s, false, "a socket: %s", strerror(error));
	return c;
}

/* One question on a socket that stays: the name, or the errno's. */
static const char *held_asks(struct scene *s, struct talk_client *c)
{
	static char out[4][32];
	static unsigned at;
	struct talk_answer a = { .error = EBADF };
	char *o = out[at++ % 4];
	if (c)
		talk_ask(s->talk, c, 64, ANSWER_MS, &a);
	snprintf(o, sizeof(out[0]), "%s", a.error ? strerrorname_np(a.error) : a.name);
	return o;
}

/* Answered by this one, perhaps after a little: who was gone when the question came may cost a datagram, no more. */
static void held_reaches(struct scene *s, const char *what, struct talk_client *c, const char *want)
{
	const char *got = held_asks(s, c);
	check(s, str_eq(got, want), "%s: %s%s%s", what, want, str_eq(got, want) ? "" : ", got ", str_eq(got, want) ? "" : got);
}

/* --- scenes --- */

static void scene_life(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_CLUSTER_IP);
	apply(s);
	refused(s, "no endpoints", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80);
	endpoint(a, lab_pod(1, 2));
	apply(s);
	reaches(s, "the first endpoint", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, "p1/2");
	endpoint(a, lab_pod(2, 2));
	apply(s);
	reaches(s, "a second one", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, "p1/2 p2/2");
	a->eps[0].gone = true;
	apply(s);
	reaches(s, "the first has gone", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, "p2/2");
	port(a, IPPROTO_TCP, 81, 8081, 0);
	apply(s);
	reaches(s, "a port added", lab_pod(3, 1), TALK_TCP, vip(s, 1), 81, "p2/2");
	reaches(s, "the other port stays", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, "p2/2");
	a->o.port_count--;
	apply(s);
	refused(s, "the port taken away", lab_pod(3, 1), TALK_TCP, vip(s, 1), 81);
	struct world_service *b = both_protocols(s, 2, OBJECT_CLUSTER_IP);
	endpoint(b, lab_pod(2, 2));
	apply(s);
	s->world.services[1].used = false;
	apply(s);
	silent(s, "one of two Services of the same endpoint is gone", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80);
	reaches(s, "the other goes on", lab_pod(3, 1), TALK_TCP, vip(s, 2), 80, "p2/2");
	a = both_protocols(s, 1, OBJECT_CLUSTER_IP);
	a->o.vip = 0x0480;
	endpoint(a, lab_pod(1, 2));
	apply(s);
	reaches(s, "made again with another address", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, "p1/2");
	snprintf(a->o.proxy_name, sizeof(a->o.proxy_name), "other");
	apply(s);
	silent(s, "labelled for another proxy", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80);
	a->o.proxy_name[0] = 0;
	apply(s);
	reaches(s, "the label taken away", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, "p1/2");
}

static void scene_protocols(struct scene *s)
{
	struct world_service *a = service(s, 1, OBJECT_CLUSTER_IP);
	port(a, IPPROTO_TCP, 80, 8080, 30081);
	endpoint(a, lab_pod(2, 2));
	apply(s);
	refused(s, "TCP only, datagrams", lab_pod(1, 1), TALK_UDP, vip(s, 1), 80);
	a->o.type = OBJECT_NODE_PORT;
	port(a, IPPROTO_UDP, 80, 8080, 30081);
	apply(s);
	reaches(s, "UDP too on the same node port", lab_client(1), TALK_UDP_CONNECTED, node(s, 1), 30081, "p2/2");
	reaches(s, "and TCP", lab_client(1), TALK_TCP, node(s, 1), 30081, "p2/2");
	a->o.port_count = 1;
	apply(s);
	refused(s, "UDP taken away", lab_pod(1, 1), TALK_UDP, vip(s, 1), 80);
	reaches(s, "TCP goes on", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, "p2/2");
	a->o.port_count = 0;
	port(a, IPPROTO_UDP, 80, 8080, 30081);
	apply(s);
	refused(s, "TCP taken away for UDP", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80);
	reaches(s, "UDP is back", lab_pod(1, 1), TALK_UDP, vip(s, 1), 80, "p2/2");
}

static bool sticks(struct scene *s, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port)
{
	return !strchr(who(s, from, kind, to, to_port, 30), ' ');
}

static void scene_affinity(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	for (unsigned k = 1; k <= 3; k++)
		endpoint(a, lab_pod(k, 2));
	a->o.affinity_s = 10800;
	apply(s);
	check(s, sticks(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80), "a pod keeps its endpoint at the ClusterIP");
	check(s, sticks(s, lab_pod(1, 1), TALK_UDP, vip(s, 1), 80), "with datagrams too");
	check(s, sticks(s, lab_node(2), TALK_TCP, vip(s, 1), 80), "the node keeps its endpoint");
	check(s, sticks(s, lab_client(1), TALK_TCP, node(s, 1), 30081), "a client outside keeps its endpoint at the node port");
	check(s, sticks(s, lab_client(1), TALK_UDP_CONNECTED, node(s, 1), 30081), "with datagrams too");
	a->o.affinity_s = 0;
	apply(s);
	reaches(s, "affinity switched off, ClusterIP", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, "p1/2 p2/2 p3/2");
	reaches(s, "affinity switched off, node port", lab_client(1), TALK_TCP, node(s, 1), 30081, "p1/2 p2/2 p3/2");
	a->o.affinity_s = 10800;
	apply(s);
	check(s, sticks(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80), "switched on again, ClusterIP");
	check(s, sticks(s, lab_client(1), TALK_TCP, node(s, 1), 30081), "switched on again, node port");
	struct talk_answer had = once(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, ANSWER_MS);
	for (size_t i = 0; i < a->count; i++) {
		char name[16];
		snprintf(name, sizeof(name), "p%c/2", a->eps[i].node[1]);
		a->eps[i].gone = str_eq(name, had.name);
	}
	apply(s);
	struct talk_answer now = once(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, ANSWER_MS);
	check(s, !now.error && !str_eq(now.name, had.name), "whose endpoint has gone gets another");
	check(s, sticks(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80), "and keeps that");
}

/* Idle for longer than the timeout, again and again, until somebody else answers: three endpoints, so soon. */
static void scene_affinity_timeout(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	for (unsigned k = 1; k <= 3; k++)
		endpoint(a, lab_pod(k, 2));
	a->o.affinity_s = 1;
	apply(s);
	char inside[16], outside[16];
	bool moved[2] = { false, false };
	snprintf(inside, sizeof(inside), "%s", once(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, ANSWER_MS).name);
	snprintf(outside, sizeof(outside), "%s", once(s, lab_client(1), TALK_TCP, node(s, 1), 30081, ANSWER_MS).name);
	for (int i = 0; i < 15 && !(moved[0] && moved[1]); i++) {
		talk_run(s->talk, 1100);
		moved[0] |= !str_eq(once(s, lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, ANSWER_MS).name, inside);
		moved[1] |= !str_eq(once(s, lab_client(1), TALK_TCP, node(s, 1), 30081, ANSWER_MS).name, outside);
	}
	check(s, moved[0], "ends at the ClusterIP");
	check(s, moved[1], "ends at the node port");
}

/* Datagram flows of one socket each, from everywhere, when their backend goes away. */
static void scene_udp_moves(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	endpoint(a, lab_pod(1, 2));
	apply(s);
	struct talk_client *c[4] = {
		held(s, lab_client(1), TALK_UDP, node(s, 1), 30081), held(s, lab_pod(1, 1), TALK_UDP, vip(s, 1), 80),
		held(s, lab_node(1), TALK_UDP, vip(s, 1), 80), held(s, lab_client(2), TALK_UDP, node(s, 2), 30081),
	};
	static const char *const names[] = { "from outside", "of a pod", "of the node", "from outside by another node" };
	struct talk_client *tcp = held(s, lab_client(1), TALK_TCP, node(s, 1), 30081);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		held_reaches(s, names[i], c[i], "p1/2");
	held_reaches(s, "a connection beside them", tcp, "p1/2");
	a->eps[0].gone = true;
	endpoint(a, lab_pod(2, 2));
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		held_reaches(s, names[i], c[i], "p2/2");
	held_reaches(s, "the connection is left alone", tcp, "p1/2");
	a->o.ports[1].target = 8081;
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		struct talk_answer n = { 0 };
		if (c[i])
			talk_ask(s->talk, c[i], 64, ANSWER_MS, &n);
		check(s, !n.error && n.local_port == 8081, "%s: the target port changes under the flow", names[i]);
	}
	a->eps[1].gone = true;
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		if (c[i]) {
			struct talk_answer n;
			talk_ask(s->talk, c[i], 64, SILENCE_MS, &n);
			check(s, n.error != 0, "%s: nobody is left", names[i]);
		}
	a->eps[0].gone = false;
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		held_reaches(s, names[i], c[i], "p1/2");
	/* What does not take the backend away does not move the flow. */
	endpoint(a, lab_pod(3, 2));
	a->o.etp_local = true;
	a->eps[0].ready = false;
	a->eps[0].terminating = true;
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		held_reaches(s, "policy and state change, the backend serves", c[i], "p1/2");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		talk_close(s->talk, c[i]);
	talk_close(s->talk, tcp);
}

/* The first endpoint comes while clients try already. */
static void scene_udp_first(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	struct object_endpoint *e = endpoint(a, lab_pod(1, 2));
	e->ready = e->serving = false;
	apply(s);
	struct talk_client *out = held(s, lab_client(1), TALK_UDP, node(s, 1), 30081), *in = held(s, lab_pod(2, 1), TALK_UDP, vip(s, 1), 80);
	struct talk_answer n;
	for (int i = 0; i < 3; i++) {
		talk_ask(s->talk, out, 64, SILENCE_MS, &n);
		check(s, n.error != 0, "from outside, not ready yet");
		talk_ask(s->talk, in, 64, SILENCE_MS, &n);
		check(s, n.error != 0, "from a pod, not ready yet");
	}
	e->ready = e->serving = true;
	apply(s);
	held_reaches(s, "from outside, the same flow", out, "p1/2");
	held_reaches(s, "from a pod, the same flow", in, "p1/2");
	talk_close(s->talk, out);
	talk_close(s->talk, in);
	/* internalTrafficPolicy Local: nothing here for a while, then another endpoint of this node. */
	a->o.itp_local = true;
	apply(s);
	in = held(s, lab_pod(1, 1), TALK_UDP, vip(s, 1), 80);
	held_reaches(s, "internal policy Local", in, "p1/2");
	e->gone = true;
	endpoint(a, lab_pod(2, 2));
	apply(s);
	talk_ask(s->talk, in, 64, SILENCE_MS, &n);
	check(s, n.error != 0, "internal policy Local, only others have one");
	endpoint(a, lab_pod(1, 3));
	apply(s);
	held_reaches(s, "internal policy Local, a new one here", in, "p1/3");
	talk_close(s->talk, in);
}

/* A connected datagram socket of a pod hears that its backend is gone, and connects again. */
static void scene_udp_connected(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_CLUSTER_IP);
	endpoint(a, lab_pod(2, 2));
	apply(s);
	struct talk_client *c = held(s, lab_pod(1, 1), TALK_UDP_CONNECTED, vip(s, 1), 80);
	held_reaches(s, "a connected datagram socket", c, "p2/2");
	a->eps[0].gone = true;
	endpoint(a, lab_pod(3, 2));
	apply(s);
	const char *got = held_asks(s, c);
	for (int64_t end = clock_mono_ms() + ANSWER_MS; str_eq(got, "p2/2") && clock_mono_ms() < end; got = held_asks(s, c))
		talk_run(s->talk, 5);
	check(s, !str_starts(got, "p") && !str_eq(got, "ETIMEDOUT"), "whose backend went is told: %s", got);
	talk_close(s->talk, c);
	reaches(s, "and connects again", lab_pod(1, 1), TALK_UDP_CONNECTED, vip(s, 1), 80, "p3/2");
}

static void scene_internal_local(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_CLUSTER_IP), *h = service(s, 2, OBJECT_CLUSTER_IP);
	a->o.itp_local = h->o.itp_local = true;
	endpoint(a, lab_pod(1, 2));
	port(h, IPPROTO_TCP, 80, 8080, 0);
	endpoint(h, lab_node(1));
	apply(s);
	reaches(s, "pod to pod on its node", lab_pod(1, 1), TALK_TCP, vip(s, 1), 80, "p1/2");
	silent(s, "pod to pod of another node", lab_pod(2, 1), TALK_TCP, vip(s, 1), 80);
	reaches(s, "node to its pod", lab_node(1), TALK_TCP, vip(s, 1), 80, "p1/2");
	silent(s, "another node", lab_node(2), TALK_TCP, vip(s, 1), 80);
	reaches(s, "pod to a backend in the node's network", lab_pod(1, 1), TALK_TCP, vip(s, 2), 80, "n1");
	silent(s, "from another node to it", lab_pod(2, 1), TALK_TCP, vip(s, 2), 80);
	reaches(s, "the node itself to it", lab_node(1), TALK_TCP, vip(s, 2), 80, "n1");
}

static int health(struct scene *s, unsigned k)
{
	struct ip_addr to = node(s, k);
	return lab_http_get(s->lab, lab_client(1), &to, HEALTH, "/healthz", NULL);
}

static void health_is(struct scene *s, const char *what, int n1, int n2, int n3)
{
	const int want[] = { 0, n1, n2, n3 };
	for (unsigned k = 1; k <= NODES; k++) {
		int got = health(s, k);
		for (int64_t end = clock_mono_ms() + ANSWER_MS; got != want[k] && clock_mono_ms() < end; got = health(s, k))
			talk_run(s->talk, 5);
		check(s, got == want[k], "%s: health of node %u is %d%s", what, k, want[k], got == want[k] ? "" : strerror(got < 0 ? -got : got));
	}
}

static void external_local(struct scene *s, const char *what)
{
	struct talk_answer a = once(s, lab_client(1), TALK_TCP, node(s, 2), 30081, ANSWER_MS);
	struct ip_addr client = lab_addr(lab_client(1), s->family);
	health_is(s, what, 503, 200, 503);
	check(s, !a.error && ip_addr_eq(&a.client, &client), "%s: the endpoint's node answers and it sees the client", what);
	silent(s, "the third node says nothing", lab_client(1), TALK_TCP, node(s, 3), 30081);
	reaches(s, "a node reaches it by its own node port", lab_node(1), TALK_TCP, node(s, 1), 30081, "p2/2");
	reaches(s, "and its pods", lab_pod(1, 1), TALK_TCP, node(s, 1), 30081, "p2/2");
}

/* externalTrafficPolicy there and back again, on three nodes. */
static void scene_external_policy(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_LOAD_BALANCER);
	a->o.balancers[0] = 1;
	a->o.health_port = HEALTH;
	a->o.etp_local = true;
	endpoint(a, lab_pod(2, 2));
	apply(s);
	external_local(s, "Local");
	a->o.etp_local = false;
	a->o.health_port = 0;
	apply(s);
	health_is(s, "Cluster", -ECONNREFUSED, -ECONNREFUSED, -ECONNREFUSED);
	for (unsigned k = 1; k <= NODES; k++)
		reaches(s, "Cluster: every node", lab_client(1), TALK_TCP, node(s, k), 30081, "p2/2");
	a->o.etp_local = true;
	a->o.health_port = HEALTH;
	apply(s);
	external_local(s, "Local again");
	a->eps[0].ready = false;
	a->eps[0].terminating = true;
	apply(s);
	health_is(s, "terminating", 503, 503, 503);
	reaches(s, "terminating: the node port still serves", lab_client(1), TALK_TCP, node(s, 2), 30081, "p2/2");
	silent(s, "terminating: not by another node", lab_client(1), TALK_TCP, node(s, 1), 30081);
	reaches(s, "terminating: but for its own pods", lab_pod(1, 1), TALK_TCP, node(s, 1), 30081, "p2/2");
}

/* A Service of type LoadBalancer through its life. */
static void scene_balancer(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_CLUSTER_IP);
	struct ip_addr lb = lab_balancer_addr(7, s->family);
	endpoint(a, lab_pod(1, 2));
	apply(s);
	silent(s, "a ClusterIP has no node port", lab_client(1), TALK_UDP, node(s, 1), 30081);
	a->o.type = OBJECT_LOAD_BALANCER;
	a->o.balancers[0] = 7;
	apply(s);
	reaches(s, "balancer's address", lab_client(2), TALK_TCP, lb, 80, "p1/2");
	reaches(s, "balancer's address, datagrams", lab_client(2), TALK_UDP_CONNECTED, lb, 80, "p1/2");
	a->o.ports[0].node_port = a->o.ports[1].node_port = 30099;
	apply(s);
	refused(s, "the old node port", lab_client(2), TALK_TCP, node(s, 2), 30081);
	reaches(s, "the new node port", lab_client(2), TALK_TCP, node(s, 2), 30099, "p1/2");
	a->o.ports[0].port = a->o.ports[1].port = 8000;
	apply(s);
	reaches(s, "another port at the balancer's address", lab_client(2), TALK_TCP, lb, 8000, "p1/2");
	a->eps[0].gone = true;
	apply(s);
	refused(s, "scaled to none, connections", lab_client(2), TALK_TCP, lb, 8000);
	refused(s, "scaled to none, datagrams", lab_client(2), TALK_UDP_CONNECTED, lb, 8000);
	a->eps[0].gone = false;
	snprintf(a->o.ranges, sizeof(a->o.ranges), "192.168.50.202/32,fd00:50::c:2/128");
	apply(s);
	reaches(s, "source ranges: let in", lab_client(2), TALK_TCP, lb, 8000, "p1/2");
	silent(s, "source ranges: kept out", lab_client(1), TALK_TCP, lb, 8000);
	snprintf(a->o.ranges, sizeof(a->o.ranges), "192.168.50.201/32,fd00:50::c:1/128");
	apply(s);
	reaches(s, "source ranges changed: let in", lab_client(1), TALK_TCP, lb, 8000, "p1/2");
	silent(s, "source ranges changed: kept out", lab_client(2), TALK_TCP, lb, 8000);
	a->o.ranges[0] = 0;
	apply(s);
	reaches(s, "no ranges any more", lab_client(2), TALK_TCP, lb, 8000, "p1/2");
	a->o.type = OBJECT_CLUSTER_IP;
	a->o.balancers[0] = 0;
	apply(s);
	silent(s, "a ClusterIP again, balancer's address", lab_client(2), TALK_TCP, lb, 8000);
	reaches(s, "a ClusterIP again", lab_pod(3, 1), TALK_TCP, vip(s, 1), 8000, "p1/2");
}

static void scene_unready(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	struct object_endpoint *e = endpoint(a, lab_pod(1, 2));
	e->ready = e->serving = false;
	e->terminating = true;
	a->o.publish_not_ready = true;
	apply(s);
	reaches(s, "published though not ready and terminating", lab_pod(2, 1), TALK_TCP, vip(s, 1), 80, "p1/2");
	reaches(s, "by a node port", lab_client(1), TALK_TCP, node(s, 1), 30081, "p1/2");
	a->o.publish_not_ready = false;
	apply(s);
	refused(s, "not published any more", lab_pod(2, 1), TALK_TCP, vip(s, 1), 80);
	refused(s, "by a node port", lab_client(1), TALK_TCP, node(s, 2), 30081);
}

static void large(struct scene *s, const char *what, struct lab_place from, enum talk_kind kind, struct ip_addr to, uint16_t to_port, size_t bytes)
{
	struct talk_answer a = { .error = EBADF };
	char text[160];
	struct talk_client *c = held(s, from, kind, to, to_port);
	if (c)
		talk_ask(s->talk, c, bytes, ANSWER_MS, &a);
	talk_close(s->talk, c);
	check(s, !a.error && a.bytes == bytes, "%s, %zu bytes there and back%s%s", what, bytes, a.error ? ": " : "", a.error ? talk_text(&a, text) : "");
}

static void scene_large(struct scene *s)
{
	static const size_t sizes[] = { 2000, 8000, 40000 };
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT), *b = both_protocols(s, 2, OBJECT_NODE_PORT);
	endpoint(a, lab_pod(1, 2));
	endpoint(b, lab_pod(2, 2));
	apply(s);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		large(s, "datagrams of a pod", lab_pod(3, 1), TALK_UDP, vip(s, 1), 80, sizes[i]);
		large(s, "datagrams from outside to the node's pod", lab_client(1), TALK_UDP, node(s, 1), 30081, sizes[i]);
		large(s, "datagrams from outside to another node's pod", lab_client(1), TALK_UDP, node(s, 1), 30082, sizes[i]);
	}
	large(s, "a connection of a pod", lab_pod(3, 1), TALK_TCP, vip(s, 1), 80, 8000);
	large(s, "a connection from outside", lab_client(1), TALK_TCP, node(s, 1), 30082, 8000);
}

/* The pods' links carry less than the client's: it must be told, by an ICMP error about what it knows. */
static void scene_path_mtu(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_NODE_PORT);
	endpoint(a, lab_pod(1, 2));
	apply(s);
	lab_ip(s->lab, lab_node(1), "link set kl0 mtu 1300\n");
	struct talk_client *c = held(s, lab_client(1), TALK_UDP_CONNECTED, node(s, 1), 30081);
	bool v6 = s->family == AF_INET6;
	int probe = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO, mtu = 0;
	socklen_t len = sizeof(mtu);
	setsockopt(talk_fd(c), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe, sizeof(probe));
	struct talk_answer n;
	talk_ask(s->talk, c, 1400, SILENCE_MS, &n);
	getsockopt(talk_fd(c), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &len);
	check(s, mtu == 1300, "a client outside learns the MTU behind a node port: %d", mtu);
	large(s, "smaller datagrams pass", lab_client(1), TALK_UDP, node(s, 1), 30081, 1200);
	talk_close(s->talk, c);
	lab_ip(s->lab, lab_node(1), "link set kl0 mtu 1500\n");
}

/* The same flow reaches the same backend by whatever node, and few flows move when a backend goes. */
static void scene_maglev(struct scene *s)
{
	struct world_service *a = both_protocols(s, 1, OBJECT_LOAD_BALANCER);
	struct ip_addr lb = lab_balancer_addr(9, s->family);
	enum { FLOWS = 60 };
	char first[FLOWS][16];
	int same = 0, moved = 0, lost = 0;
	a->o.balancers[0] = 9;
	snprintf(a->o.balancing, sizeof(a->o.balancing), "maglev");
	for (unsigned k = 1; k <= NODES; k++)
		for (unsigned i = 1; i <= PODS; i++)
			endpoint(a, lab_pod(k, i));
	apply(s);
	for (int turn = 0; turn < 3; turn++) {
		lab_ip(s->lab, lab_client(1), turn == 1 ? "route replace default via 192.168.50.2\nroute replace default via fd00:50::2\n" :
							  "route replace default via 192.168.50.1\nroute replace default via fd00:50::1\n");
		if (turn == 2) {
			a->eps[0].gone = true;
			apply(s);
		}
		for (int i = 0; i < FLOWS; i++) {
			struct talk_answer n = { 0 };
			struct talk_client *c = talk_open(s->talk, lab_client(1), TALK_TCP, &lb, 80, (uint16_t)(20000 + i), ANSWER_MS, &n.error);
			if (c)
				talk_ask(s->talk, c, 64, ANSWER_MS, &n);
			talk_close(s->talk, c);
			if (turn == 0)
				snprintf(first[i], sizeof(first[i]), "%s", n.name);
			else if (turn == 1)
				same += str_eq(first[i], n.name);
			else if (str_eq(first[i], "p1/1"))
				lost += n.error != 0 || str_eq(n.name, "p1/1");
			else
				moved += !str_eq(first[i], n.name);
		}
	}
	check(s, same == FLOWS, "by another node the same backend: %d of %d flows", same, FLOWS);
	check(s, lost == 0, "flows of a backend that went get another");
	check(s, moved <= FLOWS / 6, "of the others few move: %d of %d", moved, FLOWS);
}

static const struct {
	const char *title;
	void (*run)(struct scene *s);
} scenes[] = {
	{ "a Service's life", scene_life },
	{ "one port, two protocols", scene_protocols },
	{ "session affinity", scene_affinity },
	{ "session affinity's timeout", scene_affinity_timeout },
	{ "datagram flows", scene_udp_moves },
	{ "the first endpoint", scene_udp_first },
	{ "connected datagram sockets", scene_udp_connected },
	{ "internalTrafficPolicy Local", scene_internal_local },
	{ "externalTrafficPolicy", scene_external_policy },
	{ "a balancer's address", scene_balancer },
	{ "not ready", scene_unready },
	{ "large messages", scene_large },
	{ "path MTU", scene_path_mtu },
	{ "Maglev", scene_maglev },
};

static int setup(struct scene *s, const char *build, struct err *err)
{
	_cleanup_free_ char *proxy = str_printf("%s/bin/keelson-proxy", build);
	struct lab_options o = { .name = "services", .proxy = proxy, .nodes = NODES, .pods = PODS };
	char name[16];
	s->lab = lab_new(&o, err);
	if (!s->lab)
		return -EIO;
	s->talk = talk_new(s->lab);
	lab_write_nodes(s->lab);
	for (unsigned k = 1; k <= NODES; k++) {
		snprintf(name, sizeof(name), "n%u", k);
		talk_serve(s->talk, lab_node(k), 8080, name);
		for (unsigned i = 1; i <= PODS; i++) {
			snprintf(name, sizeof(name), "p%u/%u", k, i);
			if (talk_serve(s->talk, lab_pod(k, i), 8080, name) < 0 || talk_serve(s->talk, lab_pod(k, i), 8081, name) < 0)
				return err_set(err, EIO, "serving");
		}
		lab_proxy_spawn(s->lab, k, NULL);
	}
	for (unsigned k = 1; k <= NODES; k++) {
		if (!lab_proxy_ready(s->lab, k))
			return err_set(err, EIO, "the proxy of node %u does not become ready", k);
		s->maps[k] = maps_open(s->lab, k, err);
		if (!s->maps[k])
			return -EIO;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct scene s;
	_cleanup_err_ struct err err = { 0 };
	if (argc < 2)
		return fprintf(stderr, "usage: services BUILD_DIR [TEXT]\n"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	s.title = "the lab";
	if (setup(&s, argv[1], &err) < 0)
		check(&s, false, "%s", err_msg(&err));
	for (size_t i = 0; i < ARRAY_SIZE(scenes) && s.maps[NODES]; i++)
		for (int f = 0; f < 2; f++) {
			if (argc > 2 && !strstr(scenes[i].title, argv[2]))
				continue;
			s.title = scenes[i].title;
			s.family = families[f];
			memset(&s.world, 0, sizeof(s.world));
			apply(&s);
			scenes[i].run(&s);
		}
	if (s.failed && s.lab)
		for (unsigned k = 1; k <= NODES; k++)
			lab_show_log(s.lab, k);
	for (unsigned k = 1; k <= NODES; k++)
		maps_free(s.maps[k]);
	talk_free(s.talk);
	lab_free(s.lab);
	return s.failed != 0;
}
