/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nanoseconds a packet of each attached program, by BPF_PROG_TEST_RUN: single runs (a program changes the packet it is given), the
 * median of many, less what a program that does nothing takes. Prints markdown rows. usage: programs BUILD_DIR [RUNS]. Root.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/bpf/programs.h"
#include "tests/lab/objects.h"

enum { WARM = 1000 };

struct bench {
	struct lab *lab;
	struct link_programs link;
	int runs, nothing_tc, nothing_xdp;
	uint16_t port;
};

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t run_once(struct bench *b, int prog, bool xdp, const struct packet *p)
{
	struct packet out;
	struct __sk_buff skb = { .ifindex = b->link.ifindex };
	struct xdp_md md = { .data_end = (uint32_t)p->len, .ingress_ifindex = b->link.ifindex };
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->data, .data_size_in = (uint32_t)p->len, .data_out = out.data,
			    .data_size_out = sizeof(out.data), .ctx_in = xdp ? (void *)&md : (void *)&skb,
			    .ctx_size_in = xdp ? sizeof(md) : sizeof(skb));
	BUG_ON(bpf_prog_test_run_opts(prog, &o) < 0);
	return o.duration;
}

/* step: by how much the client's port grows from packet to packet; 0 is one flow, which is hit. */
static double median_ns(struct bench *b, int prog, bool xdp, struct packet_ends e, unsigned step)
{
	_cleanup_free_ uint32_t *v = mem_new_n(uint32_t, (size_t)b->runs);
	struct packet p;
	for (int i = -WARM; i < b->runs; i++) {
		e.sport = step ? (uint16_t)(1025 + (b->port = (uint16_t)((b->port + step) % 60000))) : 1024;
		packet_make(&p, &e, b->link.mac);
		uint32_t ns = run_once(b, prog, xdp, &p);
		if (i >= 0)
			v[i] = ns;
	}
	qsort(v, (size_t)b->runs, sizeof(*v), u32_cmp);
	return v[b->runs / 2];
}

static void row(struct bench *b, const char *what, int prog, bool xdp, struct packet_ends e, unsigned step)
{
	if (prog < 0)
		return;
	double idle = median_ns(b, xdp ? b->nothing_xdp : b->nothing_tc, xdp, e, step), busy = median_ns(b, prog, xdp, e, step);
	printf("| %s | %.0f ns |\n", what, busy > idle ? busy - idle : 0);
}

static int nothing(enum bpf_prog_type type, int verdict)
{
	const struct bpf_insn insns[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict }, { .code = BPF_JMP | BPF_EXIT } };
	int fd = bpf_prog_load(type, "nothing", "GPL", insns, ARRAY_SIZE(insns), NULL);
	BUG_ON(fd < 0);
	return fd;
}

static void service(struct strbuf *b, unsigned n, struct lab_place pod, unsigned others)
{
	struct object_service s = { .type = OBJECT_NODE_PORT, .vip = n, .families = { true, true }, .port_count = 2 };
	struct object_endpoint e = { .ready = true, .serving = true, .addr = { lab_addr(pod, AF_INET), lab_addr(pod, AF_INET6) } };
	snprintf(s.name, sizeof(s.name), "s%u", n);
	s.ports[0] = (struct object_port){ .name = "t", .port = 80, .target = 8080, .node_port = (uint16_t)(30000 + n % 2000), .proto = IPPROTO_TCP };
	s.ports[1] = (struct object_port){ .name = "u", .port = 80, .target = 8080, .node_port = (uint16_t)(30000 + n % 2000), .proto = IPPROTO_UDP };
	if (others)
		s.type = OBJECT_CLUSTER_IP;
	snprintf(e.node, sizeof(e.node), "n%u", pod.node);
	object_service_json(b, &s);
	strbuf_addc(b, ',');
	object_slices_json(b, &s, &e, 1);
}

static void measure(struct bench *b, unsigned others)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	for (int f = 0; f < 2; f++) {
		struct ip_addr node = lab_addr(lab_node(1), families[f]), client = lab_addr(lab_client(1), families[f]);
		struct packet_ends local = { .src = client, .dst = node, .dport = 30001, .proto = IPPROTO_UDP };
		struct packet_ends remote = local, miss = local;
		char what[120];
		remote.dport = 30002;
		miss.dport = 9;
#define ROW(text, prog, xdp, ends, step)                                                                        \
	do {                                                                                                    \
		snprintf(what, sizeof(what), "IPv%d, %u Services: %s", f ? 6 : 4, others + 2, text);            \
		row(b, what, prog, xdp, ends, step);                                                            \
	} while (0)
		ROW("tc, known flow to this node's backend", b->link.tc, false, local, 0);
		ROW("tc, known flow to another node's (SNAT, routed)", b->link.tc, false, remote, 0);
		ROW("tc, new flow to this node's backend", b->link.tc, false, local, 1);
		ROW("tc, new flow to another node's", b->link.tc, false, remote, 1);
		ROW("tc, nobody's packet", b->link.tc, false, miss, 0);
		ROW("tc egress, nobody's packet", b->link.tc_egress, false, miss, 0);
		ROW("XDP, known flow to another node's", b->link.xdp, true, remote, 0);
		ROW("XDP, new flow to another node's", b->link.xdp, true, remote, 1);
		ROW("XDP, nobody's packet", b->link.xdp, true, miss, 0);
#undef ROW
	}
}

static void configure(struct bench *b, unsigned others)
{
	_cleanup_strbuf_ struct strbuf t = { 0 };
	_cleanup_free_ char *services = str_printf("keelson_proxy_services %u\n", others + 2);
	strbuf_adds(&t, "{\"kind\":\"List\",\"items\":[");
	service(&t, 1, lab_pod(1, 1), 0);
	strbuf_addc(&t, ',');
	service(&t, 2, lab_pod(2, 1), 0);
	for (unsigned i = 0; i < others; i++) {
		strbuf_addc(&t, ',');
		service(&t, 10 + i, lab_pod(1 + i % 2, 1), others);
	}
	strbuf_adds(&t, "]}");
	lab_write(b->lab, "bench.json", t.data);
	for (int i = 0; i < 3000; i++) {
		_cleanup_strbuf_ struct strbuf m = { 0 };
		if (lab_proxy_get(b->lab, 1, "/metrics", &m) == 200 && strstr(m.data, services))
			return;
		usleep(10000);
	}
	fprintf(stderr, "programs: the Services are not programmed\n");
	exit(1);
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = { 0, 10000 };
	_cleanup_err_ struct err err = { 0 };
	struct bench b = { .runs = argc > 2 ? atoi(argv[2]) : 20000 };
	if (argc < 2)
		return fprintf(stderr, "usage: programs BUILD_DIR [RUNS]\n"), 2;
	_cleanup_free_ char *proxy = str_printf("%s/bin/keelson-proxy", argv[1]);
	struct lab_options o = { .name = "programs", .proxy = proxy, .nodes = 2, .pods = 1, .xdp = true };
	b.lab = lab_new(&o, &err);
	if (!b.lab)
		return fprintf(stderr, "programs: %s\n", err_msg(&err)), 1;
	lab_write_nodes(b.lab);
	int bad = lab_proxy_start(b.lab, 1, NULL, &err);
	if (bad < 0)
		fprintf(stderr, "programs: %s\n", err_msg(&err));
	b.nothing_tc = nothing(BPF_PROG_TYPE_SCHED_CLS, TC_ACT_UNSPEC);
	b.nothing_xdp = nothing(BPF_PROG_TYPE_XDP, XDP_PASS);
	if (bad == 0 && programs_of(b.lab, 1, "eth0", &b.link)) {
		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			configure(&b, counts[i]);
			lab_enter(b.lab, lab_node(1));
			measure(&b, counts[i]);
			lab_leave(b.lab);
		}
		programs_done(&b.link);
	}
	lab_free(b.lab);
	return bad < 0;
}
