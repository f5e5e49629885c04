/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Flows: what was decided for a client's first packet holds for the rest. A flow is two elements: `flows`, found by what the
 * client sends, and `flow_replies`, found by what the backend sends; whoever makes the second one has the port that the
 * backend sees, be it the client's own or one given out for SNAT. Neither map ever evicts: a full one refuses new flows.
 *
 * One timer, in the kernel, removes both when a flow has been quiet too long; no daemon is needed. (A timer for each flow
 * would be finer, but Linux 6.18 refuses two thirds of them their memory in a burst.)
 */
#ifndef KEELSON_BPF_LIB_FLOW_H
#define KEELSON_BPF_LIB_FLOW_H

#include "bpf/lib/packet.h"

#define FLOW_CLOCK_MONOTONIC 1
#define SEC_NS(s) ((s) * NSEC_PER_SEC)
#define FLOW_TIMEOUT_SYN SEC_NS(60ULL)
#define FLOW_TIMEOUT_ESTABLISHED SEC_NS(86400ULL)
#define FLOW_TIMEOUT_HALF_CLOSED SEC_NS(3600ULL)
#define FLOW_TIMEOUT_CLOSED SEC_NS(3ULL)
/* For who has not been answered, or has not answered, while there was no room for new flows within FLOW_PRESSURE. */
#define FLOW_TIMEOUT_PRESSED SEC_NS(5ULL)
#define FLOW_PRESSURE SEC_NS(10ULL)
#define FLOW_TIMEOUT_UDP_NEW SEC_NS(30ULL)
#define FLOW_TIMEOUT_UDP SEC_NS(180ULL)
/* How stale last_ns may be: a busy flow must not have its cache line written by every CPU for every packet. */
#define FLOW_TOUCH (NSEC_PER_SEC / 8)

#define FLOW_SWEEP_EVERY SEC_NS(2ULL)
#define FLOW_SWEEP_IDLE SEC_NS(10ULL) /* while there are no flows */
#define FLOW_EBUSY 16
#define FLOW_EEXIST 17

/* Set by the daemon, another number for each load. */
const volatile __u64 program_stamp = 1;
/* When there was no room for a flow; 0: never. */
__u64 flows_full_ns;

/* The client's port as the backend sees it. */
static __always_inline __be16 flow_seen_port(const struct abi_flow *f, __be16 own)
{
	return f->flags & (ABI_FLOW_SNAT | ABI_FLOW_PORT) ? f->snat_port : own;
}

/* Whom the backend answers, and what it is known by itself. */
static __always_inline void flow_reply_key(struct abi_flow_key *reply, const struct abi_flow_key *k, const struct abi_flow *f)
{
	int snat = f->flags & ABI_FLOW_SNAT;
	addr_copy(reply->client, snat ? f->snat : k->client);
	addr_copy(reply->addr, f->backend);
	reply->client_port = flow_seen_port(f, k->client_port);
	reply->port = f->backend_port;
	reply->proto = k->proto;
	reply->pad[0] = reply->pad[1] = reply->pad[2] = 0;
}

/* The flow that an element of flow_replies belongs to. */
static __always_inline void flow_key_of_reply(struct abi_flow_key *k, const struct abi_flow_reply *r, __u8 proto)
{
	addr_copy(k->client, r->client);
	addr_copy(k->addr, r->addr);
	k->client_port = r->client_port;
	k->port = r->port;
	k->proto = proto;
	k->pad[0] = k->pad[1] = k->pad[2] = 0;
}

/* An element of flow_replies may belong to another flow by now. */
static __always_inline int flow_owns_reply(const struct abi_flow_key *k, const struct abi_flow_reply *r)
{
	return r->port == k->port && r->client_port == k->client_port && addr_same(r->addr, k->addr) &&
	       addr_same(r->client, k->client);
}

static __always_inline __u64 flow_timeout(__u8 proto, __u8 state, int answered)
{
	if (proto == IPPROTO_UDP)
		return answered ? FLOW_TIMEOUT_UDP : FLOW_TIMEOUT_UDP_NEW;
	__u8 fins = state & (ABI_FLOW_CLIENT_FIN | ABI_FLOW_SERVER_FIN);
	if (state & (ABI_FLOW_RESET | ABI_FLOW_CLIENT_RESET) || fins == (ABI_FLOW_CLIENT_FIN | ABI_FLOW_SERVER_FIN))
		return FLOW_TIMEOUT_CLOSED;
	/* Whoever only begins connections, with whosever address, does not keep their places. */
	if (!answered || state & ABI_FLOW_FIRST)
		return FLOW_TIMEOUT_SYN;
	return fins ? FLOW_TIMEOUT_HALF_CLOSED : FLOW_TIMEOUT_ESTABLISHED;
}

static __always_inline int flow_closed(const struct abi_flow *f)
{
	return flow_timeout(IPPROTO_TCP, f->state, 1) == FLOW_TIMEOUT_CLOSED;
}

static __always_inline __u8 flow_state_bits(const struct packet *p, __u8 fin_bit, __u8 reset_bit)
{
	return p->flags & PACKET_RST ? reset_bit : p->flags & PACKET_FIN ? fin_bit : 0;
}

static __always_inline void flow_touch(__u64 *last_ns)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	if (now - *last_ns > FLOW_TOUCH)
		*last_ns = now;
}

/* A packet of the client's for a flow that is there. A reset that somebody made up is not the client's last word: what it says
 * an eighth of a second later counts. */
static __always_inline void flow_client_sends(struct abi_flow *f, const struct packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u8 state = f->state | flow_state_bits(p, ABI_FLOW_CLIENT_FIN, ABI_FLOW_CLIENT_RESET);
	int late = now - f->last_ns > FLOW_TOUCH;
	int goes_on = (p->flags & (PACKET_SYN | PACKET_RST | PACKET_ACK)) == PACKET_ACK;
	if (goes_on || p->t.proto == IPPROTO_UDP)
		state &= ~ABI_FLOW_FIRST;
	if (goes_on && late)
		state &= ~ABI_FLOW_CLIENT_RESET;
	if (late || p->flags & PACKET_RST)
		f->last_ns = now;
	if (state != f->state)
		f->state = state;
}

/* Removes both elements; the reply's only if it is this flow's. */
static __noinline int flow_remove(struct abi_flow_key *k, const struct abi_flow *f)
{
	struct abi_flow_key rkey;
	__u32 id = f->backend_id, generation = f->generation;
	int loaded = f->flags & ABI_FLOW_LOADED;
	flow_reply_key(&rkey, k, f);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &rkey);
	if (r && flow_owns_reply(k, r))
		bpf_map_delete_elem(&flow_replies, &rkey);
	/* Two CPUs may come here for one flow: it is one connection less once. */
	if (bpf_map_delete_elem(&flows, k) == 0 && loaded)
		load_sub(id, generation);
	return 0;
}

struct flow_clock {
	__u64 now;
	int pressed; /* there was no room lately */
};

static int flow_sweep_one(void *map, struct abi_flow_key *key, struct abi_flow *f, struct flow_clock *clock)
{
	struct abi_flow_key rkey;
	__u64 seen = f->last_ns, least = flow_timeout(key->proto, f->state, 0);
	/* An answer only makes it longer: most need no second look-up. */
	if (clock->now < seen + (clock->pressed && least > FLOW_TIMEOUT_PRESSED ? FLOW_TIMEOUT_PRESSED : least))
		return 0;
	flow_reply_key(&rkey, key, f);
	struct abi_flow_reply *r = bpf_map_lookup_elem(&flow_replies, &rkey);
	/* Answers to what was sent on encapsulated do not pass here. */
	int answered = r ? r->last_ns != 0 : (f->flags & ABI_FLOW_DSR_OUT && !(f->state & ABI_FLOW_FIRST));
	__u64 timeout = flow_timeout(key->proto, f->state, answered);
	if (clock->pressed && timeout > FLOW_TIMEOUT_PRESSED &&
	    (!answered || (f->state & ABI_FLOW_FIRST && key->proto != IPPROTO_UDP)))
		timeout = FLOW_TIMEOUT_PRESSED;
	if (r && r->last_ns > seen)
		seen = r->last_ns;
	if (clock->now < seen + timeout)
		return 0;
	flow_remove(key, f);
	count(ABI_TC_FLOW_EXPIRED);
	return 0;
}

static int flow_sweep(void *map, __u32 *key, struct abi_sweeper *s)
{
	__u64 full = *(volatile __u64 *)&flows_full_ns;
	struct flow_clock clock = { .now = bpf_ktime_get_ns() };
	clock.pressed = full && clock.now < full + FLOW_PRESSURE;
	long seen = bpf_for_each_map_elem(&flows, flow_sweep_one, &clock, 0);
	bpf_timer_start(&s->timer, seen > 0 ? FLOW_SWEEP_EVERY : FLOW_SWEEP_IDLE, 0);
	return 0;
}

/* Arms the sweeper, once for each loaded program. Memory for the timer may be refused: the next new flow tries again. */
static __always_inline void flow_sweeper_arm(void)
{
	__u32 zero = 0;
	struct abi_sweeper *s = bpf_map_lookup_elem(&sweeper, &zero);
	if (!s || s->stamp == program_stamp)
		return;
	int e = bpf_timer_init(&s->timer, &sweeper, FLOW_CLOCK_MONOTONIC);
	if (e && e != -FLOW_EBUSY) /* busy: it is there */
		return;
	if (bpf_timer_set_callback(&s->timer, flow_sweep) || bpf_timer_start(&s->timer, FLOW_SWEEP_EVERY, 0))
		return;
	s->stamp = program_stamp;
}

enum flow_claim { FLOW_CLAIMED, FLOW_TAKEN, FLOW_NO_ROOM };

/* Makes the element by which answers find back to flow k: ours, a live flow's, or no room for it. */
static __always_inline int flow_claim_reply(const struct abi_flow_key *k, struct abi_flow_key *rkey,
					    const struct abi_flow_reply *reply)
{
	int e = bpf_map_update_elem(&flow_replies, rkey, reply, BPF_NOEXIST);
	if (e == 0)
		return FLOW_CLAIMED;
	if (e != -FLOW_EEXIST)
		return FLOW_NO_ROOM;
	struct abi_flow_reply *other = bpf_map_lookup_elem(&flow_replies, rkey);
	if (!other)
		return FLOW_TAKEN; /* just gone; somebody else may be at it as well */
	if (flow_owns_reply(k, other)) /* another CPU with the twin packet */
		return FLOW_CLAIMED;
	struct abi_flow_key okey;
	flow_key_of_reply(&okey, other, k->proto);
	struct abi_flow *of = bpf_map_lookup_elem(&flows, &okey);
	if (!of || k->proto == IPPROTO_UDP || !flow_closed(of)) /* none: it is just being made */
		return FLOW_TAKEN;
	flow_remove(&okey, of);
	return bpf_map_update_elem(&flow_replies, rkey, reply, BPF_NOEXIST) == 0 ? FLOW_CLAIMED : FLOW_TAKEN;
}

#endif
