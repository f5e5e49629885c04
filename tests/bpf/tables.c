/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs tables.txt. A lab of two nodes; node 1's keelson-proxy reads the manifests of each configuration. Packets from outside, and
 * those of pods whose sockets are not translated, go through the very programs that the daemon has attached
 * (BPF_PROG_TEST_RUN); pods' and the node's clients, and clients outside too, also talk for real, over TCP, UDP and connected UDP.
 * usage: tables BUILD_DIR [TEXT]: only configurations whose name contains TEXT. Root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "bpf/shared/abi.h"
#include "tests/bpf/programs.h"
#include "tests/lab/objects.h"
#include "tests/lab/talk.h"

enum { SERVICES_MAX = 8, ENDS = 10, SYNC_MS = 5000, ANSWER_MS = 2000, SILENCE_MS = 25, SENTINEL = 0xfff0, UNALLOCATED = 0xabcd };
static const int families[2] = { AF_INET, AF_INET6 };
static const uint8_t protos[3] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };
static const uint16_t targets[] = { 8080, 8081, 8082, 9090 };

/* L1..L4, R1..R4, LH, RH */
static const char *const end_names[ENDS] = { "L1", "L2", "L3", "L4", "R1", "R2", "R3", "R4", "LH", "RH" };

struct service {
	struct object_service o;
	struct object_endpoint eps[ENDS];
	int ends[ENDS]; /* index into end_names */
	size_t count;
};
enum result { RESULT_SET, RESULT_REJECT, RESULT_DROP, RESULT_NOTHING };
/* Endpoints with their ports and whether they see the client's address: what is expected, and what was seen. */
struct reached {
	int end;
	uint16_t port; /* 0: any */
	bool hidden;   /* behind an address of the node */
};
struct expect {
	uint8_t result;
	struct reached set[ENDS];
	size_t count;
};
struct flow {
	const char *text; /* the line */
	char from[16];
	struct ip_addr to;
	uint16_t port;
	uint8_t proto;
	int family;
	struct expect want;
};
struct run {
	struct lab *lab;
	struct talk *talk;
	struct link_programs outside, pods;
	struct service services[SERVICES_MAX];
	size_t service_count;
	char config[128], zone[16];
	bool written, wanted;
	uint16_t serial, packet_port[2][3], client_port;
	int frontends;    /* the map */
	int passed, failed;
	size_t rows;
	bool config_failed;
	_Alignas(8) char why[512];
};

static struct lab_place end_place(int end)
{
	return end < 4 ? lab_pod(1, (unsigned)end + 1) : end < 8 ? lab_pod(2, (unsigned)end - 3) : lab_node((unsigned)end - 7);
}

static int end_find(const char *name)
{
	for (int i = 0; i < ENDS; i++)
		if (strncmp(name, end_names[i], 2) == 0)
			return i;
	return -1;
}

_noreturn_ static void bad_line(const char *line)
{
	fprintf(stderr, "tables: cannot read: %s\n", line);
	exit(2);
}

/* --- reading --- */

static struct service *service_find(struct run *r, const char *name)
{
	for (size_t i = 0; i < r->service_count; i++)
		if (str_eq(r->services[i].o.name, name))
			return &r->services[i];
	return NULL;
}

static void add_port(struct object_service *o, uint8_t proto, unsigned port, unsigned target, unsigned node_port)
{
	BUG_ON(o->port_count == OBJECT_PORTS);
	struct object_port *p = &o->ports[o->port_count++];
	*p = (struct object_port){ .port = (uint16_t)port, .target = (uint16_t)target, .node_port = (uint16_t)node_port, .proto = proto };
	snprintf(p->name, sizeof(p->name), "p%u%c", port, object_proto_name(proto)[0] + 32);
}

/* PORT>TARGET[/PROTO][@NODEPORT] */
static void read_ports(struct object_service *o, const char *text)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	strlist_split(&l, text, ',');
	for (size_t i = 0; i < l.count; i++) {
		unsigned port = 0, target = 0, node_port = 0;
		const char *at = strchr(l.items[i], '@'), *slash = strchr(l.items[i], '/');
		if (sscanf(l.items[i], "%u>%u", &port, &target) != 2)
			bad_line(text);
		if (at)
			node_port = (unsigned)strtoul(at + 1, NULL, 10);
		for (int k = 0; k < 3; k++)
			if (!slash || strncasecmp(slash + 1, object_proto_name(protos[k]), 3) == 0)
				add_port(o, protos[k], port, target, node_port);
	}
}

static void read_numbers(unsigned *out, const char *text)
{
	for (size_t i = 0; i < OBJECT_ADDRESSES - 1 && text && *text; i++) {
		out[i] = (unsigned)strtoul(text, NULL, 10);
		text = strchr(text, ',');
		text = text ? text + 1 : NULL;
	}
}

static void copy(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	for (; *out; out++)
		if (*out == '~')
			*out = ' ';
}

static void read_word(struct object_service *o, const char *w)
{
	const char *v;
	if ((v = str_after(w, "type=")))
		o->type = str_eq(v, "lb") ? OBJECT_LOAD_BALANCER : str_eq(v, "headless") ? OBJECT_HEADLESS : OBJECT_NODE_PORT;
	else if ((v = str_after(w, "ports=")))
		read_ports(o, v);
	else if ((v = str_after(w, "lb=")))
		read_numbers(o->balancers, v);
	else if ((v = str_after(w, "ext=")))
		read_numbers(o->externals, v);
	else if (str_eq(w, "etp=local"))
		o->etp_local = true;
	else if (str_eq(w, "itp=local"))
		o->itp_local = true;
	else if ((v = str_after(w, "ranges=")))
		copy(o->ranges, sizeof(o->ranges), v);
	else if ((v = str_after(w, "mode=")))
		copy(o->balancer_mode, sizeof(o->balancer_mode), v);
	else if ((v = str_after(w, "health=")))
		o->health_port = (uint16_t)strtoul(v, NULL, 10);
	else if ((v = str_after(w, "dist=")))
		copy(o->distribution, sizeof(o->distribution), v);
	else if ((v = str_after(w, "proxy=")))
		copy(o->proxy_name, sizeof(o->proxy_name), v);
	else if ((v = str_after(w, "vip=")))
		o->vip = (unsigned)strtoul(v, NULL, 10);
	else if (str_eq(w, "notready"))
		o->publish_not_ready = true;
	else if (str_eq(w, "zeros"))
		o->raw_addresses = 'z';
	else
		bad_line(w);
}

static void read_service(struct run *r, struct strlist *w)
{
	BUG_ON(r->service_count == SERVICES_MAX);
	struct service *s = &r->services[r->service_count];
	*s = (struct service){ .o = { .vip = 0x0100 + (unsigned)r->service_count, .families = { true, true } } };
	r->service_count++;
	copy(s->o.name, sizeof(s->o.name), w->items[1]);
	for (size_t i = 2; i < w->count; i++)
		read_word(&s->o, w->items[i]);
}

static void read_endpoint(struct run *r, struct strlist *w, const char *line)
{
	struct service *s = w->count > 2 ? service_find(r, w->items[1]) : NULL;
	int end = s ? end_find(w->items[2]) : -1;
	const char *v;
	if (end < 0)
		bad_line(line);
	s->ends[s->count] = end;
	struct object_endpoint *e = &s->eps[s->count++];
	*e = (struct object_endpoint){ .ready = true, .serving = true };
	for (int f = 0; f < 2; f++)
		e->addr[f] = lab_addr(end_place(end), families[f]);
	snprintf(e->node, sizeof(e->node), "n%u", end_place(end).node);
	for (size_t i = 3; i < w->count; i++) {
		if (str_eq(w->items[i], "unready"))
			e->ready = e->serving = false;
		else if (str_eq(w->items[i], "serving"))
			e->ready = !(e->terminating = true);
		else if (str_eq(w->items[i], "dead"))
			e->ready = e->serving = !(e->terminating = true);
		else if ((v = str_after(w->items[i], "z=")))
			copy(e->zones, sizeof(e->zones), v);
		else if ((v = str_after(w->items[i], "n=")))
			copy(e->nodes, sizeof(e->nodes), v);
		else if ((v = str_after(w->items[i], "to=")))
			for (size_t p = 0; p < s->o.port_count; p++)
				e->target[p] = (uint16_t)strtoul(v, NULL, 10);
		else
			bad_line(line);
	}
}

static void read_expect(struct expect *e, struct strlist *w, size_t at, const char *line)
{
	static const char *const words[] = { "", "REJECT", "DROP", "NOTHING" };
	*e = (struct expect){ 0 };
	for (uint8_t k = RESULT_REJECT; at < w->count && k <= RESULT_NOTHING; k++)
		if (str_eq(w->items[at], words[k])) {
			e->result = k;
			return;
		}
	for (; at < w->count; at++) {
		struct reached *x = &e->set[e->count++];
		const char *colon = strchr(w->items[at], ':');
		*x = (struct reached){ .end = end_find(w->items[at]), .hidden = str_ends(w->items[at], "*") };
		x->port = colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
		if (x->end < 0)
			bad_line(line);
	}
	if (!e->count)
		bad_line(line);
}

/* SERVICE.KIND[:PORT][/PROTO] for one family. */
static void read_target(struct run *r, const char *text, int family, struct flow *f, const char *line)
{
	char name[32] = "", kind[32] = "";
	if (str_starts(text, "unallocated")) {
		f->to = lab_service_addr(UNALLOCATED, family);
		f->port = 80;
		return;
	}
	sscanf(text, "%31[^.].%31[^:/]", name, kind);
	const struct service *s = service_find(r, name);
	const char *colon = strchr(text, ':');
	if (!s || !s->o.port_count)
		bad_line(line);
	bool node_port = true;
	if (str_eq(kind, "nodeport"))
		f->to = lab_addr(lab_node(1), family);
	else if (str_eq(kind, "second"))
		f->to = lab_second_addr(1, family);
	else if (str_eq(kind, "localhost"))
		ip_parse(family == AF_INET ? "127.0.0.1" : "::1", &f->to);
	else
		node_port = false;
	if (str_eq(kind, "cluster"))
		f->to = lab_service_addr(s->o.vip, family);
	else if (str_starts(kind, "lb"))
		f->to = lab_balancer_addr((unsigned)atoi(kind + 2), family);
	else if (str_starts(kind, "ext"))
		f->to = lab_external_addr((unsigned)atoi(kind + 3), family);
	else if (!node_port)
		bad_line(line);
	f->port = colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : node_port ? s->o.ports[0].node_port : s->o.ports[0].port;
}

/* --- writing the configuration --- */

static void write_config(struct run *r)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct object_service sentinel = { .name = "sentinel", .vip = SENTINEL, .families = { true, false } };
	strbuf_adds(&b, "{\"kind\":\"List\",\"items\":[");
	lab_node_json(&b, 1, *r->zone ? r->zone : NULL);
	strbuf_addc(&b, ',');
	lab_node_json(&b, 2, "elsewhere");
	for (size_t i = 0; i < r->service_count; i++) {
		strbuf_addc(&b, ',');
		object_service_json(&b, &r->services[i].o);
		strbuf_addc(&b, ',');
		object_slices_json(&b, &r->services[i].o, r->services[i].eps, r->services[i].count);
	}
	add_port(&sentinel, IPPROTO_TCP, ++r->serial, 1, 0);
	strbuf_addc(&b, ',');
	object_service_json(&b, &sentinel);
	strbuf_adds(&b, "]}");
	lab_write(r->lab, "tables.json", b.data);
}

/* The sentinel comes with everything else; a request is answered after the turn in which it came. */
static bool await_config(struct run *r)
{
	struct ip_addr a = lab_service_addr(SENTINEL, AF_INET);
	struct abi_frontend_key k = { .addr = { 0, 0, htonl(0xffff) }, .port = htons(r->serial), .proto = IPPROTO_TCP };
	struct abi_frontend f;
	int64_t end = clock_mono_ms() + SYNC_MS;
	memcpy(&k.addr[3], a.bytes, 4);
	while (clock_mono_ms() < end) {
		if (bpf_map_lookup_elem(r->frontends, &k, &f) == 0)
			return lab_proxy_get(r->lab, 1, "/readyz", NULL) == 200;
		usleep(500);
	}
	return false;
}

static void ok(struct run *r, const char *text)
{
	r->passed++;
	printf("ok - %s: %s\n", r->config, text);
}

static void not_ok(struct run *r, const char *text)
{
	r->failed++;
	printf("not ok - %s: %s\n%s", r->config, text, r->why);
}

static void begin_flows(struct run *r)
{
	if (r->written)
		return;
	write_config(r);
	r->written = true;
	r->config_failed = !await_config(r);
	if (r->config_failed) {
		snprintf(r->why, sizeof(r->why), "#   not programmed within %d ms\n", SYNC_MS);
		not_ok(r, "the configuration is programmed");
	}
}

/* --- what was seen --- */

struct seen {
	bool set[ENDS];
	bool rejected, dropped, nothing;
	size_t count;
};

static void why(struct run *r, const char *how, const struct flow *f, const char *fmt, ...) _printf_(4, 5);
static void why(struct run *r, const char *how, const struct flow *f, const char *fmt, ...)
{
	size_t at = strlen(r->why);
	char text[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(r->why + at, sizeof(r->why) - at, "#   %s, IPv%d, %s: %s\n", how, f->family == AF_INET ? 4 : 6,
		 object_proto_name(f->proto), text);
}

static const struct reached *wanted(const struct flow *f, int end, uint16_t port)
{
	for (size_t i = 0; i < f->want.count; i++)
		if (f->want.set[i].end == end && (!f->want.set[i].port || f->want.set[i].port == port))
			return &f->want.set[i];
	return NULL;
}

static bool check_verdict(struct run *r, const char *how, const struct flow *f, const struct seen *s)
{
	static const char *const words[] = { "an endpoint", "REJECT", "DROP", "NOTHING" };
	size_t kinds = (s->count > 0) + s->rejected + s->dropped + s->nothing;
	uint8_t got = s->count ? RESULT_SET : s->rejected ? RESULT_REJECT : s->dropped ? RESULT_DROP : RESULT_NOTHING;
	if (kinds != 1 || got != f->want.result) {
		why(r, how, f, "wanted %s, got%s%s%s%s", words[f->want.result], s->count ? " endpoints" : "", s->rejected ? " REJECT" : "",
		    s->dropped ? " DROP" : "", s->nothing ? " NOTHING" : "");
		return false;
	}
	for (size_t i = 0; i < f->want.count; i++)
		if (!s->set[f->want.set[i].end]) {
			why(r, how, f, "%s was never reached", end_names[f->want.set[i].end]);
			return false;
		}
	return true;
}

/* So often that leaving one of them out by chance is as good as impossible. */
static int tries(const struct flow *f)
{
	static const int by_count[] = { 2, 3, 24, 44, 60 };
	return f->want.result != RESULT_SET ? 2 : by_count[MIN(f->want.count, (size_t)4)];
}

static bool is_node_address(const struct ip_addr *a, int family)
{
	struct ip_addr bridge;
	struct ip_addr own = lab_addr(lab_node(1), family), second = lab_second_addr(1, family), tunnel = lab_tunnel_addr(1, family);
	ip_parse(family == AF_INET ? "10.244.1.1" : "fd00:10:244:1::1", &bridge);
	return ip_addr_eq(a, &own) || ip_addr_eq(a, &second) || ip_addr_eq(a, &tunnel) || ip_addr_eq(a, &bridge);
}

/* May an endpoint that is said to see the client's address, or not to, have seen this one? */
static bool source_right(const struct flow *f, const struct reached *x, const struct ip_addr *client, const struct ip_addr *saw)
{
	if (str_eq(f->from, "node"))
		return is_node_address(saw, f->family);
	if (!x->hidden)
		return ip_addr_eq(saw, client);
	struct ip_addr tunnel = lab_tunnel_addr(1, f->family), own = lab_addr(lab_node(1), f->family);
	return ip_addr_eq(saw, x->end < 8 ? &tunnel : &own);
}

/* --- packets through the programs --- */

static bool in_service_range(const struct ip_addr *a)
{
	struct ip_prefix p;
	ip_prefix_parse(a->family == AF_INET ? "10.96.0.0/12" : "fd00:10:96::/112", &p);
	return ip_prefix_contains(&p, a);
}

static bool judge_packet(struct run *r, const char *how, const struct flow *f, const struct packet_ends *in, enum fate fate,
			 const struct packet *p, struct seen *s)
{
	char text[IP_ADDR_TEXT_SIZE];
	struct packet_ends out;
	enum packet_kind kind = packet_read(p, &out);
	if (fate == FATE_DROPPED) {
		s->dropped = true;
		return true;
	}
	if (fate == FATE_ERROR || kind == PACKET_NONE || kind == PACKET_BAD_SUM) {
		why(r, how, f, fate == FATE_ERROR ? "the program could not be run: %s" : "the packet has a wrong checksum or length",
		    strerror(errno));
		return false;
	}
	if (kind == PACKET_RESET || kind == PACKET_UNREACHABLE) {
		s->rejected = true;
		if (fate == FATE_SENT && ip_addr_eq(&out.dst, &in->src) && (kind != PACKET_RESET || ip_addr_eq(&out.src, &in->dst)))
			return true;
		why(r, how, f, "the refusal does not go from the frontend to the client");
		return false;
	}
	if (ip_addr_eq(&out.dst, &in->dst) && out.dport == in->dport) {
		/* An address of the service range that the programs let pass ends in the blackhole route. */
		if (in_service_range(&in->dst))
			s->dropped = true;
		else
			s->nothing = true;
		return true;
	}
	int end = 0;
	for (; end < ENDS; end++) {
		struct ip_addr a = lab_addr(end_place(end), f->family);
		if (ip_addr_eq(&a, &out.dst))
			break;
	}
	const struct reached *x = end < ENDS ? wanted(f, end, out.dport) : NULL;
	if (!x) {
		why(r, how, f, "goes to %s:%u", ip_format(&out.dst, text), out.dport);
		return false;
	}
	s->set[end] = true;
	s->count++;
	bool pod_snat = str_starts(f->from, "pod") && is_node_address(&out.src, f->family);
	if (source_right(f, x, &in->src, &out.src) || pod_snat)
		return true;
	why(r, how, f, "%s sees %s", end_names[end], ip_format(&out.src, text));
	return false;
}

static bool run_packets(struct run *r, const char *how, const struct flow *f, const struct link_programs *link, bool xdp,
			const struct ip_addr *from)
{
	struct seen s = { 0 };
	int proto = f->proto == IPPROTO_TCP ? 0 : f->proto == IPPROTO_UDP ? 1 : 2;
	if (link->tc < 0) {
		why(r, how, f, "no tc program is attached");
		return false;
	}
	for (int i = 0; i < tries(f); i++) {
		struct packet p;
		uint16_t *port = &r->packet_port[f->family == AF_INET6][proto];
		*port = *port < 1025 || *port > 30000 ? 1025 : (uint16_t)(*port + 1);
		struct packet_ends in = { .src = *from, .dst = f->to, .sport = *port, .dport = f->port, .proto = f->proto };
		packet_make(&p, &in, link->mac);
		enum fate fate = programs_run(r->lab, 1, link, xdp, &p);
		if (!judge_packet(r, how, f, &in, fate, &p, &s))
			return false;
	}
	return check_verdict(r, how, f, &s);
}

/* --- talking --- */

static bool judge_answer(struct run *r, const char *how, const struct flow *f, const struct ip_addr *client,
			 const struct talk_answer *a, struct seen *s)
{
	char text[160];
	if (a->error) {
		if (a->error == ECONNREFUSED && f->want.result != RESULT_NOTHING)
			s->rejected = true;
		else if (f->want.result == RESULT_NOTHING)
			s->nothing = true;
		else
			s->dropped = true;
		return true;
	}
	int end = end_find(a->name);
	const struct reached *x = wanted(f, end, a->local_port);
	s->set[end] = true;
	s->count++;
	if (!x || !source_right(f, x, client, &a->client) || !ip_addr_eq(&a->from, &f->to) || a->from_port != f->port) {
		why(r, how, f, "%s", talk_text(a, text));
		return false;
	}
	return true;
}

static bool run_talk(struct run *r, const struct flow *f, struct lab_place from, enum talk_kind kind)
{
	static const char *const names[] = { "TCP socket", "UDP socket", "connected UDP socket" };
	struct ip_addr client = lab_addr(from, f->family);
	struct seen s = { 0 };
	bool silence = f->want.result == RESULT_DROP || f->want.result == RESULT_NOTHING;
	int n = silence ? 1 : tries(f);
	for (int i = 0; i < n; i++) {
		/* A port of its own each: a datagram flow of an earlier row may live on, and rightly keeps its backend. */
		struct talk_answer a = { 0 };
		r->client_port = r->client_port < 33000 || r->client_port > 60000 ? 33000 : (uint16_t)(r->client_port + 1);
		struct talk_client *c = talk_open(r->talk, from, kind, &f->to, f->port, r->client_port,
						  silence ? SILENCE_MS : ANSWER_MS, &a.error);
		if (c)
			talk_ask(r->talk, c, 64, silence ? SILENCE_MS : ANSWER_MS, &a);
		talk_close(r->talk, c);
		if (!judge_answer(r, names[kind], f, &client, &a, &s))
			return false;
		if (f->want.result == RESULT_SET && a.error)
			break;
	}
	return check_verdict(r, names[kind], f, &s);
}

static bool run_sockets(struct run *r, const struct flow *f, struct lab_place from)
{
	bool inside = from.kind != LAB_CLIENT;
	if (f->proto == IPPROTO_SCTP)
		return true; /* this kernel may have none */
	if (f->proto == IPPROTO_TCP)
		return run_talk(r, f, from, TALK_TCP);
	/* Outside only a connected socket hears of a refusal. */
	return (!inside || run_talk(r, f, from, TALK_UDP)) & run_talk(r, f, from, TALK_UDP_CONNECTED);
}

static bool run_from(struct run *r, const struct flow *f)
{
	struct ip_addr own;
	if (str_eq(f->from, "external") || str_eq(f->from, "other")) {
		struct lab_place at = lab_client(f->from[0] == 'e' ? 1 : 2);
		own = lab_addr(at, f->family);
		bool good = run_packets(r, "packets", f, &r->outside, false, &own);
		good &= run_packets(r, "packets with XDP", f, &r->outside, true, &own);
		return good & run_sockets(r, f, at);
	}
	if (str_eq(f->from, "balancer1")) {
		own = lab_balancer_addr(1, f->family);
		return run_packets(r, "packets", f, &r->outside, false, &own);
	}
	if (str_eq(f->from, "node"))
		return run_sockets(r, f, lab_node(1));
	const char *named = str_after(f->from, "pod=");
	struct lab_place pod = end_place(named ? end_find(named) : 3);
	own = lab_addr(pod, f->family);
	return run_packets(r, "pod's packets", f, &r->pods, false, &own) & run_sockets(r, f, pod);
}

/* flow FROM TO[/PROTO] : RESULT */
static void run_flow(struct run *r, struct strlist *w, const char *line)
{
	bool good = true;
	if (w->count < 5 || !str_eq(w->items[3], ":"))
		bad_line(line);
	const char *slash = strchr(w->items[2], '/');
	begin_flows(r);
	r->why[0] = 0;
	r->rows++;
	if (r->config_failed)
		return;
	for (int family = 0; family < 2; family++)
		for (int k = 0; k < 3; k++) {
			struct flow f = { .text = line, .proto = protos[k], .family = families[family] };
			if (slash && strncasecmp(slash + 1, object_proto_name(protos[k]), 3) != 0)
				continue;
			copy(f.from, sizeof(f.from), w->items[1]);
			read_target(r, w->items[2], families[family], &f, line);
			read_expect(&f.want, w, 4, line);
			good &= run_from(r, &f);
		}
	if (good)
		ok(r, line);
	else
		not_ok(r, line);
}

/* health SERVICE|PORT : STATUS COUNT, or "closed" */
static void run_health(struct run *r, struct strlist *w, const char *line)
{
	if (w->count < 4)
		bad_line(line);
	begin_flows(r);
	r->why[0] = 0;
	r->rows++;
	const struct service *s = service_find(r, w->items[1]);
	uint16_t port = s ? s->o.health_port : (uint16_t)atoi(w->items[1]);
	struct ip_addr to = lab_addr(lab_node(1), AF_INET);
	int want = str_eq(w->items[3], "closed") ? -ECONNREFUSED : atoi(w->items[3]), got = 0;
	_cleanup_free_ char *count = w->count > 4 ? str_printf("\"localEndpoints\": %s", w->items[4]) : mem_strdup("");
	_cleanup_strbuf_ struct strbuf b = { 0 };
	for (int64_t end = clock_mono_ms() + ANSWER_MS; clock_mono_ms() < end; usleep(5000)) {
		strbuf_reset(&b);
		got = lab_http_get(r->lab, lab_client(1), &to, port, "/healthz", &b);
		if (got == want && (want < 0 || strstr(b.data, count))) {
			ok(r, line);
			return;
		}
	}
	snprintf(r->why, sizeof(r->why), "#   got %d: %.300s\n", got, b.data ? b.data : "");
	not_ok(r, line);
}

static void run_line(struct run *r, const char *line, const char *only)
{
	_cleanup_strlist_ struct strlist w = { 0 };
	strlist_split(&w, line, ' ');
	if (!w.count || line[0] == '#')
		return;
	if (str_eq(w.items[0], "config")) {
		copy(r->config, sizeof(r->config), line + 7);
		r->service_count = 0;
		r->zone[0] = 0;
		r->written = false;
		r->wanted = !only || strstr(r->config, only);
	} else if (!r->wanted) {
		return;
	} else if (str_eq(w.items[0], "zone") && w.count == 2) {
		copy(r->zone, sizeof(r->zone), w.items[1]);
	} else if (str_eq(w.items[0], "service") && w.count > 2) {
		read_service(r, &w);
	} else if (str_eq(w.items[0], "ep")) {
		read_endpoint(r, &w, line);
	} else if (str_eq(w.items[0], "flow")) {
		run_flow(r, &w, line);
	} else if (str_eq(w.items[0], "health")) {
		run_health(r, &w, line);
	} else {
		bad_line(line);
	}
}

static int setup(struct run *r, const char *build, struct err *err)
{
	_cleanup_free_ char *proxy = str_printf("%s/bin/keelson-proxy", build);
	struct lab_options o = { .name = "tables", .proxy = proxy, .nodes = 2, .pods = 4, .xdp = true };
	r->lab = lab_new(&o, err);
	if (!r->lab)
		return -EIO;
	/* The second client too sends to outward addresses by way of the node under test. */
	lab_ip(r->lab, lab_client(2), "route replace default via 192.168.50.1\nroute replace default via fd00:50::1\n"
				      "route replace 10.96.0.0/12 via 192.168.50.1\nroute replace fd00:10:96::/112 via fd00:50::1\n");
	r->talk = talk_new(r->lab);
	for (int end = 0; end < ENDS; end++)
		for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
			if (talk_serve(r->talk, end_place(end), targets[i], end_names[end]) < 0)
				return err_set(err, EIO, "serving on %s", end_names[end]);
	if (lab_proxy_start(r->lab, 1, NULL, err) < 0)
		return -EIO;
	_cleanup_free_ char *map = str_printf("%s/v%d/frontends", lab_pins(r->lab, 1), ABI_VERSION);
	r->frontends = bpf_obj_get(map);
	programs_of(r->lab, 1, "eth0", &r->outside);
	programs_of(r->lab, 1, "kl0", &r->pods);
	if (r->outside.xdp < 0)
		return err_set(err, ENOENT, "no XDP program is attached to eth0");
	return r->frontends < 0 ? err_set(err, errno, "%s: %s", map, strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
	static struct run r = { .frontends = -1, .outside = { .tc = -1, .tc_egress = -1, .xdp = -1 }, .pods = { .tc = -1, .tc_egress = -1, .xdp = -1 } };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	if (argc < 2)
		return fprintf(stderr, "usage: tables BUILD_DIR [TEXT]\n"), 2;
	if (file_read("tests/bpf/tables.txt", 1 << 20, &text) < 0)
		return fprintf(stderr, "tables: run from the top of the tree\n"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	strlist_split(&lines, text.data, '\n');
	if (setup(&r, argv[1], &err) < 0) {
		printf("not ok - the lab of the tables\n#   %s\n", err_msg(&err));
		r.failed++;
	} else {
		for (size_t i = 0; i < lines.count; i++)
			run_line(&r, lines.items[i], argc > 2 ? argv[2] : NULL);
	}
	if (r.failed && r.lab)
		lab_show_log(r.lab, 1);
	programs_done(&r.outside);
	programs_done(&r.pods);
	closep(&r.frontends);
	talk_free(r.talk);
	lab_free(r.lab);
	printf("# %zu rows\n", r.rows);
	return r.failed ? 1 : 0;
}
