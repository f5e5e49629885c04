/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One event, one line: for people, or as JSON. */
#include <arpa/inet.h>
#include <time.h>

#include "base/clock.h"
#include "proxy/trace/trace.h"

static const char *const programs[] = {
	[ABI_PROGRAM_CONNECT] = "connect",       [ABI_PROGRAM_SENDMSG] = "sendmsg",     [ABI_PROGRAM_RECVMSG] = "recvmsg",
	[ABI_PROGRAM_XDP] = "xdp",               [ABI_PROGRAM_TC_INGRESS] = "tc_ingress", [ABI_PROGRAM_TC_EGRESS] = "tc_egress",
	[ABI_PROGRAM_TC_PODS] = "tc_pods",       [ABI_PROGRAM_TC_TUNNEL] = "tc_tunnel", [ABI_PROGRAM_TC_POD] = "tc_pod",
};
static const char *const reasons[] = ABI_REASON_NAMES;
/* What became of it, said to a person. Reasons that speak for themselves are not listed: their names do. */
static const char *const words[ABI_REASON_MAX] = {
	[ABI_SOCK_TRANSLATED] = "translated",
	[ABI_SOCK_REFUSED_NO_ENDPOINTS] = "refused: the Service has no endpoints",
	[ABI_SOCK_REFUSED_NO_PORT] = "refused: the Service has no such port",
	[ABI_SOCK_LEFT_LOCAL_POLICY] = "dropped: no endpoint on this node and the policy is Local",
	[ABI_SOCK_OVERTAKEN] = "refused: endpoints changed too fast",
	[ABI_UDP_RESELECTED] = "another backend: the earlier one is gone",
	[ABI_TC_TRANSLATED] = "translated",
	[ABI_TC_REFUSED_NO_ENDPOINTS] = "refused: the Service has no endpoints",
	[ABI_TC_DROP_LOCAL_POLICY] = "dropped: no endpoint on this node and the policy is Local",
	[ABI_TC_DROP_NO_BACKEND_ADDRESS] = "dropped: the backend has no address of this family",
	[ABI_TC_DROP_FLOWS_FULL] = "dropped: the table of flows is full",
	[ABI_TC_DROP_FLOW_COLLISION] = "dropped: the client's port already talks to this backend another way",
	[ABI_TC_DROP_REWRITE] = "dropped: the packet could not be rewritten",
	[ABI_TC_ICMP_TRANSLATED] = "translated, with the packet it complains about",
	[ABI_SOCK_DROP_SOURCE_RANGE] = "dropped: not in loadBalancerSourceRanges",
	[ABI_TC_DROP_SOURCE_RANGE] = "dropped: not in loadBalancerSourceRanges",
	[ABI_TC_DROP_SNAT_EXHAUSTED] = "dropped: no SNAT port is free",
	[ABI_TC_DROP_NO_SNAT_ADDRESS] = "dropped: no SNAT address is known",
	[ABI_TC_DROP_NO_ROUTE] = "dropped: no route to the backend",
	[ABI_TC_DROP_FRAGMENT] = "dropped: a fragment whose first was not seen",
	[ABI_TC_DROP_MALFORMED] = "dropped: malformed",
	[ABI_TC_DROP_ENCAP] = "dropped: encapsulated by nobody who may",
	[ABI_TC_REJECTED] = "rejected with an answer",
	[ABI_TC_ENCAPSULATED] = "encapsulated for the backend's node",
	[ABI_TC_DECAPSULATED] = "unwrapped",
	[ABI_TC_PASSED] = "passed untouched",
	[ABI_XDP_TRANSLATED] = "translated and sent on by the driver",
};

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_TCP  ? "tcp" :
	       proto == IPPROTO_UDP  ? "udp" :
	       proto == IPPROTO_SCTP ? "sctp" :
	       proto == IPPROTO_ICMP ? "icmp" :
	       proto == IPPROTO_ICMPV6 ? "icmp6" :
				       "ip";
}

static void address(const uint32_t a[4], char out[static INET6_ADDRSTRLEN])
{
	bool v4 = a[0] == 0 && a[1] == 0 && a[2] == htonl(0xffff);
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a[3] : a, out, INET6_ADDRSTRLEN);
}

static void endpoint(struct strbuf *out, const uint32_t a[4], uint16_t port_be)
{
	char text[INET6_ADDRSTRLEN];
	if ((a[0] | a[1] | a[3]) == 0) { /* the kernel has yet to choose */
		strbuf_adds(out, "*");
		return;
	}
	address(a, text);
	strbuf_addf(out, strchr(text, ':') && port_be ? "[%s]" : "%s", text);
	if (port_be)
		strbuf_addf(out, ":%u", ntohs(port_be));
}

static void tuple(struct strbuf *out, const struct abi_tuple *t)
{
	endpoint(out, t->saddr, t->sport);
	strbuf_adds(out, " > ");
	endpoint(out, t->daddr, t->dport);
}

static void for_people(struct strbuf *out, const struct abi_trace_event *e, const struct trace_look *l)
{
	time_t s = (time_t)(l->wall_us / 1000000);
	struct tm tm;
	localtime_r(&s, &tm);
	strbuf_addf(out, "%02d:%02d:%02d.%06d %s %s %s ", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(l->wall_us % 1000000),
		    e->program < ABI_PROGRAM_MAX ? programs[e->program] : "?", *l->link ? l->link : "-", proto_name(e->before.proto));
	tuple(out, &e->before);
	if (memcmp(&e->before, &e->after, sizeof(e->before)) != 0) {
		strbuf_adds(out, " -> ");
		tuple(out, &e->after);
	}
	const char *name = names_find(l->names, e->set_id);
	if (name)
		strbuf_addf(out, ", service %s", name);
	else if (e->set_id)
		strbuf_addf(out, ", set %u", e->set_id);
	if (l->backend) {
		strbuf_adds(out, ", backend ");
		endpoint(out, l->backend->addr, l->backend->port);
	}
	const char *said = e->reason < ABI_REASON_MAX ? words[e->reason] : NULL;
	strbuf_addf(out, ": %s\n", said ? said : e->reason < ABI_REASON_MAX ? reasons[e->reason] : "?");
}

static void json_tuple(struct strbuf *out, const char *key, const struct abi_tuple *t)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	address(t->saddr, src);
	address(t->daddr, dst);
	strbuf_addf(out, ",\"%s\":{\"source\":\"%s\",\"sourcePort\":%u,\"destination\":\"%s\",\"destinationPort\":%u}", key, src,
		    ntohs(t->sport), dst, ntohs(t->dport));
}

static void as_json(struct strbuf *out, const struct abi_trace_event *e, const struct trace_look *l)
{
	char time[CLOCK_RFC3339_MICRO_SIZE];
	clock_format_rfc3339_micro(l->wall_us, time);
	strbuf_addf(out, "{\"time\":\"%s\",\"program\":\"%s\",\"link\":", time, e->program < ABI_PROGRAM_MAX ? programs[e->program] : "");
	strbuf_add_json(out, l->link, strlen(l->link));
	strbuf_addf(out, ",\"protocol\":\"%s\",\"bytes\":%u", proto_name(e->before.proto), e->len);
	json_tuple(out, "before", &e->before);
	json_tuple(out, "after", &e->after);
	const char *name = names_find(l->names, e->set_id);
	if (name) {
		strbuf_adds(out, ",\"service\":");
		strbuf_add_json(out, name, strlen(name));
	}
	strbuf_addf(out, ",\"set\":%u", e->set_id);
	if (l->backend) {
		strbuf_adds(out, ",\"backend\":\"");
		endpoint(out, l->backend->addr, l->backend->port);
		strbuf_addc(out, '"');
	}
	strbuf_addf(out, ",\"verdict\":\"%s\",\"dropped\":%s}\n", e->reason < ABI_REASON_MAX ? reasons[e->reason] : "",
		    ABI_REASON_IS_DROP(e->reason & 63) ? "true" : "false");
}

void trace_format(struct strbuf *out, const struct abi_trace_event *e, const struct trace_look *look)
{
	if (look->json)
		as_json(out, e, look);
	else
		for_people(out, e, look);
}
