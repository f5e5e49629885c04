/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A random history of a cluster: Services, endpoints, nodes and policies change, proxies are killed, stay away and come back, some
 * with maps of other sizes. After each step every living proxy's maps are compared with the reference, and real clients
 * inside and outside check whom they reach. Steady flows run all the time and every packet of theirs is counted.
 * usage: history BUILD_DIR. KEELSON_HISTORY_SEED and KEELSON_HISTORY_STEPS from the environment. Root.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/lab/reference.h"
#include "tests/lab/talk.h"

enum { NODES = 3, PODS = 3, STEADY = 0, FLOWS_MAX = 32, AGREE_MS = 10000, ANSWER_MS = 3000, SILENCE_MS = 20, DEFAULT_STEPS = 300, WINDOW = 8 };
static const int families[2] = { AF_INET, AF_INET6 };
static const uint8_t protos[3] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

struct flow {
	struct talk_client *c;
	char what[96], server[16];
};
struct history {
	struct lab *lab;
	struct talk *talk;
	struct world world;
	struct maps *maps[NODES + 1];
	int down_for[NODES + 1]; /* steps until its proxy comes back; 0: it runs */
	struct flow flows[FLOWS_MAX];
	size_t flow_count;
	uint64_t random;
	unsigned steps, step;
	uint16_t client_port;
	uint64_t compared, asked, restarts;
	char did[160];
	bool failed;
};

/* splitmix64: the same history for the same seed, everywhere. */
static uint64_t next_random(struct history *h)
{
	uint64_t z = h->random += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(struct history *h, unsigned n)
{
	return (unsigned)(next_random(h) % n);
}

static bool chance(struct history *h, unsigned percent)
{
	return below(h, 100) < percent;
}

static void fail(struct history *h, const char *fmt, ...) _printf_(2, 3);
static void fail(struct history *h, const char *fmt, ...)
{
	va_list ap;
	if (h->failed)
		return;
	h->failed = true;
	printf("not ok - step %u: %s\n#   ", h->step, h->did);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void did(struct history *h, const char *fmt, ...) _printf_(2, 3);
static void did(struct history *h, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(h->did, sizeof(h->did), fmt, ap);
	va_end(ap);
}

/* --- objects --- */

static void write_service(struct history *h, size_t i)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const struct world_service *s = &h->world.services[i];
	_cleanup_free_ char *file = str_printf("s%02zu.json", i);
	if (!s->used) {
		lab_write(h->lab, file, NULL);
		return;
	}
	strbuf_adds(&b, "{\"kind\":\"List\",\"items\":[");
	object_service_json(&b, &s->o);
	strbuf_addc(&b, ',');
	object_slices_json(&b, &s->o, s->eps, s->count);
	strbuf_adds(&b, "]}");
	lab_write(h->lab, file, b.data);
}

static void set_ports(struct history *h, struct object_service *o)
{
	size_t n = 1 + below(h, 3);
	o->port_count = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t proto = protos[below(h, 8) % 3];
		struct object_port *p = &o->ports[o->port_count++];
		*p = (struct object_port){ .port = (uint16_t)(80 + below(h, 3)), .target = (uint16_t)(8080 + below(h, 2)), .proto = proto };
		/* Now and then two Services want one node port: the first by name has it. */
		p->node_port = (uint16_t)(30000 + below(h, 60));
		snprintf(p->name, sizeof(p->name), "%c%u-%zu", object_proto_name(proto)[0] + 32, p->port, i);
		for (size_t k = 0; k < i; k++)
			if (o->ports[k].proto == proto && o->ports[k].port == p->port) {
				o->port_count--;
				break;
			}
	}
}

static void set_addresses(struct history *h, struct object_service *o)
{
	memset(o->balancers, 0, sizeof(o->balancers));
	memset(o->externals, 0, sizeof(o->externals));
	for (unsigned i = 0, n = below(h, 3); i < n && o->type == OBJECT_LOAD_BALANCER; i++)
		o->balancers[i] = 1 + below(h, 12);
	for (unsigned i = 0, n = below(h, 2); i < n; i++)
		o->externals[i] = 1 + below(h, 12);
	if (o->balancers[1] == o->balancers[0])
		o->balancers[1] = 0;
}

static void set_ranges(struct history *h, struct object_service *o)
{
	static const char *const ranges[] = {
		"192.168.50.201/32", "192.168.50.0/24", "10.244.0.0/16", "10.244.1.0/24", "fd00:50::c:0/112", "fd00:50::/64", "fd00:10:244::/48",
	};
	o->ranges[0] = 0;
	for (unsigned i = 0, n = below(h, 4); i < n; i++) {
		size_t at = strlen(o->ranges);
		snprintf(o->ranges + at, sizeof(o->ranges) - at, "%s%s", i ? "," : "", ranges[below(h, ARRAY_SIZE(ranges))]);
	}
}

static void set_balancing(struct history *h, struct object_service *o)
{
	static const char *const names[] = { "", "random", "maglev", "least-connections" };
	snprintf(o->balancing, sizeof(o->balancing), "%s", names[below(h, ARRAY_SIZE(names))]);
	o->weights[0] = 0;
	snprintf(o->forwarding, sizeof(o->forwarding), "%s", chance(h, 30) ? "dsr" : "");
	if (chance(h, 30))
		snprintf(o->weights, sizeof(o->weights), "10.244.1.11=%u, 10.244.2.12=%u", below(h, 5), 1 + below(h, 4));
	else if (chance(h, 20))
		snprintf(o->weights, sizeof(o->weights), "n1=%u, n3=%u", below(h, 4), 1 + below(h, 3));
}

static void set_endpoint(struct history *h, struct object_endpoint *e, unsigned pod)
{
	struct lab_place at = lab_pod(1 + pod / PODS, 1 + pod % PODS);
	*e = (struct object_endpoint){ .ready = true, .serving = true };
	for (int f = 0; f < 2; f++)
		e->addr[f] = lab_addr(at, families[f]);
	snprintf(e->node, sizeof(e->node), "n%u", at.node);
	if (chance(h, 10))
		e->target[0] = (uint16_t)(8080 + below(h, 2));
}

static void set_state(struct history *h, struct object_endpoint *e)
{
	unsigned kind = below(h, 5);
	e->ready = kind < 2;
	e->serving = kind < 3;
	e->terminating = kind == 2 || kind == 3;
	e->gone = chance(h, 15);
}

static struct world_service *any_service(struct history *h, size_t *ret)
{
	for (int i = 0; i < 50; i++) {
		*ret = 1 + below(h, WORLD_SERVICES - 1);
		if (h->world.services[*ret].used)
			return &h->world.services[*ret];
	}
	return NULL;
}

/* --- steps --- */

static size_t step_create(struct history *h)
{
	size_t i = 1 + below(h, WORLD_SERVICES - 1);
	struct world_service *s = &h->world.services[i];
	if (s->used) {
		did(h, "Service %s is deleted", s->o.name);
		s->used = false;
		return i;
	}
	*s = (struct world_service){ .used = true };
	snprintf(s->o.name, sizeof(s->o.name), "s%02zu", i);
	s->o.vip = 0x0200 + (unsigned)i;
	s->o.type = (uint8_t)below(h, 3);
	unsigned mix = below(h, 4);
	s->o.families[0] = mix != 1;
	s->o.families[1] = mix != 0;
	set_ports(h, &s->o);
	set_addresses(h, &s->o);
	s->o.etp_local = chance(h, 30);
	s->o.itp_local = chance(h, 25);
	s->o.affinity_s = chance(h, 20) ? 60 : 0;
	if (chance(h, 25))
		set_ranges(h, &s->o);
	if (chance(h, 40))
		set_balancing(h, &s->o);
	for (unsigned pod = 0; pod < NODES * PODS; pod++)
		if (chance(h, 45))
			set_endpoint(h, &s->eps[s->count++], pod);
	did(h, "Service %s is made, type %u, %zu ports, %zu endpoints", s->o.name, s->o.type, s->o.port_count, s->count);
	return i;
}

static size_t step_endpoints(struct history *h)
{
	size_t i;
	struct world_service *s = any_service(h, &i);
	if (!s)
		return step_create(h);
	unsigned kind = below(h, 4);
	if (kind == 0 && s->count < NODES * PODS) {
		unsigned pod = below(h, NODES * PODS);
		struct ip_addr a = lab_addr(lab_pod(1 + pod / PODS, 1 + pod % PODS), AF_INET);
		for (size_t k = 0; k < s->count; k++)
			if (ip_addr_eq(&s->eps[k].addr[0], &a)) {
				set_state(h, &s->eps[k]);
				did(h, "%s: an endpoint changes its state", s->o.name);
				return i;
			}
		set_endpoint(h, &s->eps[s->count++], pod);
		did(h, "%s: an endpoint comes", s->o.name);
	} else if (kind == 1 && s->count) {
		size_t k = below(h, (unsigned)s->count);
		s->eps[k] = s->eps[--s->count];
		did(h, "%s: an endpoint goes", s->o.name);
	} else if (kind == 2) {
		for (size_t k = 0; k < s->count; k++)
			if (chance(h, 50))
				set_state(h, &s->eps[k]);
		did(h, "%s: endpoints change their state", s->o.name);
	} else {
		for (size_t k = 0; k < s->count; k++)
			s->eps[k].gone = chance(h, 30);
		did(h, "%s: endpoints come and go", s->o.name);
	}
	return i;
}

static size_t step_change(struct history *h)
{
	size_t i;
	struct world_service *s = any_service(h, &i);
	if (!s)
		return step_create(h);
	struct object_service *o = &s->o;
	switch (below(h, 9)) {
	case 0:
		o->etp_local = !o->etp_local;
		did(h, "%s: externalTrafficPolicy %s", o->name, o->etp_local ? "Local" : "Cluster");
		break;
	case 1:
		o->itp_local = !o->itp_local;
		did(h, "%s: internalTrafficPolicy %s", o->name, o->itp_local ? "Local" : "Cluster");
		break;
	case 2:
		o->affinity_s = o->affinity_s ? 0 : 30 + below(h, 100);
		did(h, "%s: affinity of %u s", o->name, o->affinity_s);
		break;
	case 3:
		set_ranges(h, o);
		did(h, "%s: source ranges %s", o->name, o->ranges);
		break;
	case 4:
		set_balancing(h, o);
		did(h, "%s: balancing \"%s\", weights \"%s\"", o->name, o->balancing, o->weights);
		break;
	case 5:
		set_ports(h, o);
		for (size_t k = 0; k < s->count; k++)
			memset(s->eps[k].target, 0, sizeof(s->eps[k].target));
		did(h, "%s: other ports, %zu", o->name, o->port_count);
		break;
	case 6:
		o->type = (uint8_t)below(h, 3);
		set_addresses(h, o);
		did(h, "%s: type %u and other addresses", o->name, o->type);
		break;
	case 7:
		o->ports[0].target = (uint16_t)(16161 - o->ports[0].target);
		did(h, "%s: target port %u", o->name, o->ports[0].target);
		break;
	default:
		if (chance(h, 50))
			snprintf(o->proxy_name, sizeof(o->proxy_name), "%s", *o->proxy_name ? "" : "somebody");
		else
			o->publish_not_ready = !o->publish_not_ready;
		did(h, "%s: proxy name \"%s\", publishNotReadyAddresses %d", o->name, o->proxy_name, o->publish_not_ready);
	}
	return i;
}

/* The steady Service changes too, but not the endpoints that flows have: the last pods of the nodes. */
static size_t step_steady(struct history *h)
{
	struct world_service *s = &h->world.services[STEADY];
	size_t k = NODES + below(h, NODES);
	switch (below(h, 4)) {
	case 0:
		s->o.etp_local = !s->o.etp_local;
		did(h, "steady: externalTrafficPolicy %s", s->o.etp_local ? "Local" : "Cluster");
		break;
	case 1:
		set_balancing(h, &s->o);
		s->o.weights[0] = s->o.forwarding[0] = 0;
		did(h, "steady: balancing %s", s->o.balancing);
		break;
	default:
		s->eps[k].gone = !s->eps[k].gone;
		did(h, "steady: another endpoint %s", s->eps[k].gone ? "goes" : "comes");
	}
	return STEADY;
}

/* A node dies or comes back: all its endpoints but the steady ones. */
static void step_node(struct history *h)
{
	unsigned node = 1 + below(h, NODES);
	char name[16];
	bool gone = chance(h, 60);
	snprintf(name, sizeof(name), "n%u", node);
	for (size_t i = 1; i < WORLD_SERVICES; i++) {
		struct world_service *s = &h->world.services[i];
		for (size_t k = 0; s->used && k < s->count; k++)
			if (str_eq(s->eps[k].node, name))
				s->eps[k].gone = gone;
		if (s->used)
			write_service(h, i);
	}
	did(h, "all endpoints of node %u %s", node, gone ? "go" : "come back");
}

/* --- steady flows --- */

/* No more than a window: what a busy machine leaves unread in a socket's buffer is not to overflow it. */
static void flows_send(struct history *h)
{
	for (size_t i = 0; i < h->flow_count; i++) {
		struct talk_count n = talk_counted(h->flows[i].c);
		if (n.sent - n.answered < WINDOW)
			talk_send(h->talk, h->flows[i].c);
	}
}

static void flows_check(struct history *h)
{
	for (size_t i = 0; i < h->flow_count && !h->failed; i++) {
		struct flow *f = &h->flows[i];
		talk_settle(h->talk, f->c, ANSWER_MS);
		struct talk_count n = talk_counted(f->c);
		if (n.answered != n.sent || n.errors)
			fail(h, "steady flow %s: %llu of %llu packets answered, %llu errors (%s)", f->what, (unsigned long long)n.answered,
			     (unsigned long long)n.sent, (unsigned long long)n.errors, n.errors ? strerror(n.last_error) : "none");
		else if (talk_changes(f->c) > 1)
			fail(h, "steady flow %s: %s, now %s answers", f->what, f->server, talk_name(f->c));
		snprintf(f->server, sizeof(f->server), "%s", talk_name(f->c));
	}
}

static void flow_open(struct history *h, struct lab_place from, enum talk_kind kind, const struct ip_addr *to, uint16_t port)
{
	static const char *const kinds[] = { "TCP", "UDP", "connected UDP" };
	char text[IP_ADDR_TEXT_SIZE], ns[64];
	int error;
	BUG_ON(h->flow_count == FLOWS_MAX);
	struct flow *f = &h->flows[h->flow_count];
	snprintf(f->what, sizeof(f->what), "%s from %s to %s:%u", kinds[kind], lab_ns_name(h->lab, from, ns) + strlen(lab_id(h->lab)) + 1,
		 ip_format(to, text), port);
	f->c = talk_open(h->talk, from, kind, to, port, 0, ANSWER_MS, &error);
	if (f->c)
		h->flow_count++;
	else
		fail(h, "steady flow %s: %s", f->what, strerror(error));
}

static void flows_open(struct history *h)
{
	struct ip_addr vip[2] = { lab_service_addr(h->world.services[STEADY].o.vip, AF_INET),
				  lab_service_addr(h->world.services[STEADY].o.vip, AF_INET6) };
	for (unsigned k = 1; k <= NODES; k++) {
		struct ip_addr own = lab_addr(lab_node(k), AF_INET), next6 = lab_addr(lab_node(k % NODES + 1), AF_INET6);
		struct ip_addr balancer = lab_balancer_addr(200, AF_INET), balancer6 = lab_balancer_addr(200, AF_INET6);
		flow_open(h, lab_client(k), TALK_TCP, &own, 31000);
		flow_open(h, lab_client(k), TALK_UDP, &own, 31000);
		flow_open(h, lab_client(k), TALK_TCP, &next6, 31000);
		flow_open(h, lab_client(k), TALK_UDP_CONNECTED, &next6, 31000);
		flow_open(h, lab_client(k), TALK_UDP, &balancer, 80);
		flow_open(h, lab_client(k), TALK_TCP, &balancer6, 80);
		flow_open(h, lab_pod(k, 1), TALK_TCP, &vip[k % 2], 80);
		flow_open(h, lab_pod(k, 1), TALK_UDP, &vip[0], 80);
		flow_open(h, lab_node(k), TALK_UDP_CONNECTED, &vip[1], 80);
	}
}

/* --- proxies --- */

static void reopen_maps(struct history *h, unsigned node)
{
	_cleanup_err_ struct err err = { 0 };
	h->maps[node] = maps_free(h->maps[node]);
	h->maps[node] = maps_open(h->lab, node, &err);
	if (!h->maps[node])
		fail(h, "%s", err_msg(&err));
}

/* While it comes up, takes over and changes the programs, packets go on; another process waits for it. */
static void proxy_back(struct history *h, unsigned node, const char *const *more)
{
	int status = -1;
	lab_proxy_spawn(h->lab, node, more);
	fflush(NULL);
	pid_t waiter = fork();
	if (waiter == 0)
		_exit(lab_proxy_ready(h->lab, node) ? 0 : 1);
	while (waitpid(waiter, &status, WNOHANG) == 0) {
		if (waitpid(lab_proxy_pid(h->lab, node), NULL, WNOHANG) > 0) {
			kill(waiter, SIGKILL);
			continue;
		}
		flows_send(h);
		talk_run(h->talk, 1);
	}
	if (status != 0)
		fail(h, "the proxy of node %u does not come back", node);
	h->down_for[node] = 0;
	h->restarts++;
	if (!h->failed)
		reopen_maps(h, node);
}

static void step_proxy(struct history *h)
{
	unsigned node = 1 + below(h, NODES);
	if (h->down_for[node] || chance(h, 50))
		return;
	lab_proxy_kill(h->lab, node, chance(h, 70) ? SIGKILL : SIGTERM);
	h->down_for[node] = 1 + (int)below(h, 6);
	did(h, "the proxy of node %u is killed for %d steps", node, h->down_for[node]);
}

static void proxies_tick(struct history *h)
{
	static const char *const sizes[][7] = {
		{ NULL },
		{ "--max-services", "4096", "--max-endpoints", "32768", "--max-flows", "8192", NULL },
		{ "--max-services", "16384", "--max-flows", "65536", NULL },
	};
	for (unsigned k = 1; k <= NODES && !h->failed; k++)
		if (h->down_for[k] && --h->down_for[k] == 0) {
			size_t at = below(h, ARRAY_SIZE(sizes));
			did(h, "the proxy of node %u comes back with sizes %zu", k, at);
			proxy_back(h, k, sizes[at]);
		}
}

/* Maps hold what they should, soon. */
static void await_maps(struct history *h)
{
	int64_t end = clock_mono_ms() + AGREE_MS;
	for (unsigned k = 1; k <= NODES && !h->failed; k++) {
		if (h->down_for[k])
			continue;
		for (const char *bad; (bad = reference_compare(&h->world, k, h->maps[k]));) {
			if (clock_mono_ms() > end) {
				fail(h, "maps of node %u: %s", k, bad);
				break;
			}
			talk_run(h->talk, 1);
		}
		h->compared++;
	}
}

/* --- asking --- */

static const struct target *target_of(const struct targets *t, const struct talk_answer *a)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->v[i].weight && t->v[i].port == a->local_port && ip_addr_eq(&t->v[i].addr, &a->local))
			return &t->v[i];
	return NULL;
}

/* through: the node whose programs decided; 0: the client's own socket, whose address every backend sees, as with DSR. */
static void judge(struct history *h, const char *what, const struct targets *t, const struct talk_answer *a, const struct ip_addr *client,
		  unsigned through)
{
	char text[160];
	unsigned weights = 0;
	for (size_t i = 0; i < t->count; i++)
		weights += t->v[i].weight;
	h->asked++;
	if (!weights) {
		if (a->error == 0 || (t->count == 0 && (a->error == ECONNREFUSED) == t->drop))
			fail(h, "%s: should be %s, got %s", what, t->drop ? "dropped" : "refused", talk_text(a, text));
		return;
	}
	const struct target *x = a->error ? NULL : target_of(t, a);
	if (!x) {
		fail(h, "%s: %s, which is none of the %zu endpoints", what, talk_text(a, text), t->count);
		return;
	}
	struct ip_addr tunnel = through ? lab_tunnel_addr(through, client->family) : *client;
	char node[16];
	snprintf(node, sizeof(node), "n%u", through);
	bool local = !through || str_eq(x->ep->node, node);
	if (!ip_addr_eq(&a->client, local ? client : &tunnel))
		fail(h, "%s: %s, the wrong source", what, talk_text(a, text));
}

static void ask(struct history *h, const char *what, struct lab_place from, uint8_t proto, const struct ip_addr *to, uint16_t port,
		const struct targets *t, bool dsr, unsigned through)
{
	struct ip_addr client = lab_addr(from, to->family);
	bool silence = t->drop && t->count == 0;
	/* Each its own port, and none that steady flows may have had: a flow from an earlier step rightly goes on as it was decided. */
	h->client_port = h->client_port < 5000 || h->client_port > 32000 ? 5000 : (uint16_t)(h->client_port + 1);
	enum talk_kind kind = proto == IPPROTO_TCP ? TALK_TCP : through || chance(h, 50) ? TALK_UDP_CONNECTED : TALK_UDP;
	struct talk_answer a = { 0 };
	struct talk_client *c = talk_open(h->talk, from, kind, to, port, h->client_port, silence ? SILENCE_MS : ANSWER_MS, &a.error);
	if (c)
		talk_ask(h->talk, c, 64, silence ? SILENCE_MS : ANSWER_MS, &a);
	talk_close(h->talk, c);
	judge(h, what, t, &a, &client, dsr ? 0 : through);
}

/* One frontend from one place: sockets inside, packets from outside by way of any node. */
static void probe(struct history *h, const struct front *f)
{
	const struct object_service *o = &f->service->o;
	const struct object_port *p = &o->ports[f->port];
	unsigned k = 1 + below(h, NODES);
	bool outside = chance(h, 50), cluster = f->kind == FRONT_CLUSTER;
	struct lab_place from = outside ? lab_client(k) : lab_pod(k, 1 + below(h, PODS));
	struct ip_addr client = lab_addr(from, f->family), to = lab_addr(lab_node(k), f->family);
	struct targets t;
	char what[200], text[IP_ADDR_TEXT_SIZE], ns[64];
	if (h->down_for[k] || p->proto == IPPROTO_SCTP || f->kind == FRONT_OWNED)
		return;
	if (f->kind != FRONT_NODE_PORT) {
		to.family = (uint8_t)f->family;
		if (f->family == AF_INET)
			memcpy(to.bytes, &f->key.addr[3], 4);
		else
			memcpy(to.bytes, f->key.addr, 16);
	}
	if (f->kind == FRONT_BALANCER && !reference_in_ranges(o, &client, k))
		return; /* silence, and the tables have it */
	/* With direct return the backend's node must know its endpoint: one whose proxy is away may not. */
	for (unsigned n = 1; n <= NODES; n++)
		if (h->down_for[n] && *o->forwarding)
			return;
	/* A pod outside narrow ranges of pods is decided for by its packets: the tables have that too. */
	if (f->kind == FRONT_BALANCER && !outside && *o->ranges)
		return;
	reference_targets(f->service, f->port, f->family == AF_INET6, k, cluster ? o->itp_local : outside && o->etp_local, &t);
	snprintf(what, sizeof(what), "%s from %s to %s:%u/%s of %s", outside ? "packets" : "socket",
		 lab_ns_name(h->lab, from, ns) + strlen(lab_id(h->lab)) + 1, ip_format(&to, text),
		 f->kind == FRONT_NODE_PORT ? p->node_port : p->port, object_proto_name(p->proto), o->name);
	ask(h, what, from, p->proto, &to, f->kind == FRONT_NODE_PORT ? p->node_port : p->port, &t, str_eq(o->forwarding, "dsr"),
	    outside ? k : 0);
}

static void probe_some(struct history *h, size_t touched)
{
	size_t n;
	_cleanup_free_ struct front *v = reference_fronts(&h->world, &n);
	for (size_t i = 0; i < n && !h->failed; i++)
		if (v[i].service == &h->world.services[touched] || chance(h, 5))
			probe(h, &v[i]);
}

/* --- the whole --- */

static void make_steady(struct history *h)
{
	struct world_service *s = &h->world.services[STEADY];
	*s = (struct world_service){ .used = true, .o = { .name = "a-steady", .type = OBJECT_LOAD_BALANCER, .vip = 0x0300,
							  .families = { true, true }, .port_count = 2, .balancers = { 200 } } };
	s->o.ports[0] = (struct object_port){ .name = "t", .port = 80, .target = 8080, .node_port = 31000, .proto = IPPROTO_TCP };
	s->o.ports[1] = (struct object_port){ .name = "u", .port = 80, .target = 8080, .node_port = 31000, .proto = IPPROTO_UDP };
	for (unsigned k = 0; k < NODES; k++) {
		set_endpoint(h, &s->eps[k], k * PODS + 2);
		set_endpoint(h, &s->eps[NODES + k], k * PODS + 1);
		s->eps[NODES + k].gone = true;
		memset(s->eps[k].target, 0, sizeof(s->eps[k].target));
		memset(s->eps[NODES + k].target, 0, sizeof(s->eps[k].target));
	}
	s->count = 2 * NODES;
	write_service(h, STEADY);
}

static int setup(struct history *h, const char *build, struct err *err)
{
	_cleanup_free_ char *proxy = str_printf("%s/bin/keelson-proxy", build);
	struct lab_options o = { .name = "history", .proxy = proxy, .nodes = NODES, .pods = PODS, .tunnel = h->random % 2, .xdp = h->random / 2 % 2 };
	h->lab = lab_new(&o, err);
	if (!h->lab)
		return -EIO;
	h->talk = talk_new(h->lab);
	lab_write_nodes(h->lab);
	make_steady(h);
	for (unsigned k = 1; k <= NODES; k++)
		for (unsigned i = 1; i <= PODS; i++) {
			char name[16];
			snprintf(name, sizeof(name), "p%u/%u", k, i);
			if (talk_serve(h->talk, lab_pod(k, i), 8080, name) < 0 || talk_serve(h->talk, lab_pod(k, i), 8081, name) < 0)
				return err_set(err, EIO, "serving");
		}
	for (unsigned k = 1; k <= NODES; k++)
		lab_proxy_spawn(h->lab, k, NULL);
	for (unsigned k = 1; k <= NODES; k++)
		if (!lab_proxy_ready(h->lab, k))
			return err_set(err, EIO, "the proxy of node %u does not become ready", k);
	for (unsigned k = 1; k <= NODES && !h->failed; k++)
		reopen_maps(h, k);
	return 0;
}

static void one_step(struct history *h)
{
	size_t touched = STEADY;
	unsigned kind = below(h, 100);
	h->did[0] = 0;
	if (kind < 22)
		touched = step_create(h);
	else if (kind < 58)
		touched = step_endpoints(h);
	else if (kind < 84)
		touched = step_change(h);
	else if (kind < 92)
		touched = step_steady(h);
	else if (kind < 97)
		step_node(h);
	else
		step_proxy(h);
	write_service(h, touched);
	flows_send(h);
	proxies_tick(h);
	await_maps(h);
	flows_send(h);
	if (!h->failed)
		probe_some(h, touched);
	flows_check(h);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	uint64_t n;
	const char *s = getenv(name);
	return s && str_to_u64(s, UINT64_MAX, &n) == 0 ? n : otherwise;
}

int main(int argc, char **argv)
{
	static struct history h;
	_cleanup_err_ struct err err = { 0 };
	uint64_t seed = number_of("KEELSON_HISTORY_SEED", (uint64_t)time(NULL) * 1000003 ^ (uint64_t)getpid());
	h.steps = (unsigned)number_of("KEELSON_HISTORY_STEPS", DEFAULT_STEPS);
	h.random = seed;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2)
		return fprintf(stderr, "usage: history BUILD_DIR\n"), 2;
	printf("# KEELSON_HISTORY_SEED=%llu KEELSON_HISTORY_STEPS=%u\n", (unsigned long long)seed, h.steps);
	did(&h, "the lab is made");
	if (setup(&h, argv[1], &err) < 0)
		fail(&h, "%s", err_msg(&err));
	if (!h.failed)
		await_maps(&h);
	if (!h.failed)
		flows_open(&h);
	for (h.step = 1; h.step <= h.steps && !h.failed; h.step++)
		one_step(&h);
	uint64_t sent = 0;
	for (size_t i = 0; i < h.flow_count; i++)
		sent += talk_counted(h.flows[i].c).sent;
	if (!h.failed) {
		printf("ok - %u steps: the maps of every node were as they should be, %llu comparisons\n", h.steps, (unsigned long long)h.compared);
		printf("ok - clients inside and outside reached whom they should, %llu connections and datagrams\n", (unsigned long long)h.asked);
		printf("ok - %llu packets of %zu steady flows, %llu restarts of proxies: none lost\n", (unsigned long long)sent, h.flow_count,
		       (unsigned long long)h.restarts);
	} else {
		printf("# repeat with KEELSON_HISTORY_SEED=%llu KEELSON_HISTORY_STEPS=%u\n", (unsigned long long)seed, h.step);
		for (unsigned k = 1; h.lab && k <= NODES; k++)
			lab_show_log(h.lab, k);
	}
	for (size_t i = 0; i < h.flow_count; i++)
		talk_close(h.talk, h.flows[i].c);
	for (unsigned k = 1; k <= NODES; k++)
		maps_free(h.maps[k]);
	talk_free(h.talk);
	lab_free(h.lab);
	return h.failed;
}
