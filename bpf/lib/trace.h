/* SPDX-License-Identifier: GPL-2.0 */
/*
 * `keelson trace`: what a program did with a packet or a socket, told to whoever asks. While nobody does it costs one load
 * and a branch not taken; callers build their tuples inside `if (trace_on())`, so that nothing else is paid for.
 */
#ifndef KEELSON_BPF_LIB_TRACE_H
#define KEELSON_BPF_LIB_TRACE_H

#include "bpf/lib/maps.h"

/* before: as it came; after: as it leaves, the same as before when nothing was changed. */
struct trace_point {
	struct abi_tuple before, after;
	__u32 ifindex, set_id, backend_id, len;
	__u8 program, reason;
};

static __always_inline int trace_on(void)
{
	const struct abi_config *c = config_get();
	return c && __builtin_expect(c->trace != 0, 0);
}

static __always_inline int trace_addr_fits(const __u32 *addr, const __u32 *want, const __u32 *mask)
{
	if ((addr[0] | addr[1] | addr[3]) == 0) /* a socket that does not know its source yet */
		return 1;
	return ((addr[0] ^ want[0]) & mask[0]) == 0 && ((addr[1] ^ want[1]) & mask[1]) == 0 &&
	       ((addr[2] ^ want[2]) & mask[2]) == 0 && ((addr[3] ^ want[3]) & mask[3]) == 0;
}

static __always_inline int trace_port_fits(__be16 port, __be16 want)
{
	return !want || !port || port == want;
}

static __always_inline int trace_fits(const struct abi_trace_filter *f, const __u32 *saddr, const __u32 *daddr, __be16 sport,
				      __be16 dport, __u8 proto)
{
	if (f->proto && f->proto != proto)
		return 0;
	if (trace_addr_fits(saddr, f->src, f->src_mask) && trace_addr_fits(daddr, f->dst, f->dst_mask) &&
	    trace_port_fits(sport, f->sport) && trace_port_fits(dport, f->dport))
		return 1;
	return f->both_ways && trace_addr_fits(daddr, f->src, f->src_mask) && trace_addr_fits(saddr, f->dst, f->dst_mask) &&
	       trace_port_fits(dport, f->sport) && trace_port_fits(sport, f->dport);
}

/* The filter, when an event of this kind may interest it. A tracer that died without a word is noticed by its deadline. */
static __always_inline const struct abi_trace_filter *trace_wants(__u8 reason, __u32 set_id)
{
	__u32 zero = 0;
	const struct abi_trace_filter *f = bpf_map_lookup_elem(&trace_filter, &zero);
	struct abi_config *c = bpf_map_lookup_elem(&config, &zero);
	if (!f || !c)
		return 0;
	if (bpf_ktime_get_ns() > f->deadline_ns) {
		c->trace = 0;
		return 0;
	}
	if (f->drops_only && !ABI_REASON_IS_DROP(reason & 63))
		return 0;
	if (f->set_id && set_id != f->set_id && (!f->set_id2 || set_id != f->set_id2))
		return 0;
	return f;
}

static __always_inline void trace_tuple(struct abi_tuple *t, const __u32 *saddr, const __u32 *daddr, __be16 sport,
					__be16 dport, __u8 proto)
{
	__builtin_memcpy(t->saddr, saddr, sizeof(t->saddr));
	__builtin_memcpy(t->daddr, daddr, sizeof(t->daddr));
	t->sport = sport;
	t->dport = dport;
	t->proto = proto;
	t->pad[0] = t->pad[1] = t->pad[2] = 0;
}

/* Writes the event if the filter wants it. Only when trace_on(): a function of its own, off the packets' way. A full ring
 * loses events, never packets. */
static __noinline __attribute__((unused)) int trace_verdict(const struct trace_point *p)
{
	const struct abi_trace_filter *f = trace_wants(p->reason, p->set_id);
	const struct abi_tuple *b = &p->before, *a = &p->after;
	if (!f || !(trace_fits(f, b->saddr, b->daddr, b->sport, b->dport, b->proto) ||
		    trace_fits(f, a->saddr, a->daddr, a->sport, a->dport, a->proto)))
		return 0;
	struct abi_trace_event *e = bpf_ringbuf_reserve(&trace_events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->ns = bpf_ktime_get_ns();
	e->before = p->before;
	e->after = p->after;
	e->ifindex = p->ifindex;
	e->set_id = p->set_id;
	e->backend_id = p->backend_id;
	e->len = p->len;
	e->program = p->program;
	e->reason = p->reason;
	__builtin_memset(e->pad, 0, sizeof(e->pad));
	bpf_ringbuf_submit(e, 0);
	return 1;
}

#endif
