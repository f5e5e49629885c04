/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters that look at one node, and the order in which all run. Texts are upstream's. */
#include "scheduler/decision.h"

#include "base/mem.h"

enum fit filter_unschedulable(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	if (!n->unschedulable)
		return FIT_OK;
	_cleanup_json_ json_t *taint = json_pack("{s:s, s:s}", "key", "node.kubernetes.io/unschedulable", "effect",
						 "NoSchedule");

	if (tolerates(json_at(d->pod, "spec.tolerations"), taint))
		return FIT_OK;
	strlist_add(reasons, "node(s) were unschedulable");
	return FIT_NEVER;
}

enum fit filter_node_name(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	const char *wanted = json_str_or(d->pod, "spec.nodeName", "");

	if (!*wanted || str_eq(wanted, n->name))
		return FIT_OK;
	strlist_add(reasons, "node(s) didn't match the requested node name");
	return FIT_NEVER;
}

enum fit filter_taints(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	static const char *const effects[] = { "NoSchedule", "NoExecute", NULL };

	if (tolerates_all(json_at(d->pod, "spec.tolerations"), n->taints, effects))
		return FIT_OK;
	strlist_add(reasons, "node(s) had untolerated taint(s)");
	return FIT_NEVER;
}

enum fit filter_node_affinity(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	if (node_affinity_matches(d->pod, n))
		return FIT_OK;
	strlist_add(reasons, "node(s) didn't match Pod's node affinity/selector");
	return FIT_NEVER;
}

static bool any_ip(const char *ip)
{
	return !*ip || str_eq(ip, "0.0.0.0") || str_eq(ip, "::");
}

static bool ports_clash(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && str_eq(a->protocol, b->protocol) &&
	       (any_ip(a->ip) || any_ip(b->ip) || str_eq(a->ip, b->ip));
}

enum fit filter_ports(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	for (size_t w = 0; w < d->info->port_count; w++)
		for (size_t p = 0; p < n->pod_count; p++)
			for (size_t k = 0; k < n->pods[p]->port_count; k++)
				if (ports_clash(&d->info->ports[w], &n->pods[p]->ports[k])) {
					strlist_add(reasons, "node(s) didn't have free ports for the requested pod ports");
					return FIT_NO;
				}
	return FIT_OK;
}

enum fit filter_resources(const struct decision *d, const struct node_info *n, struct strlist *reasons)
{
	const struct resources *want = &d->info->requests, *have = &n->allocatable, *used = &n->requested;
	enum fit fit = FIT_OK;
	const struct {
		const char *name;
		int64_t want, have, used;
	} basic[] = {
		{ "cpu", want->milli_cpu, have->milli_cpu, used->milli_cpu },
		{ "memory", want->memory, have->memory, used->memory },
		{ "ephemeral-storage", want->ephemeral, have->ephemeral, used->ephemeral },
	};

	if ((int64_t)n->pod_count + 1 > n->max_pods) {
		strlist_add(reasons, "Too many pods");
		fit = FIT_NO;
	}
	for (size_t i = 0; i < ARRAY_SIZE(basic); i++)
		if (basic[i].want > 0 && basic[i].want > basic[i].have - basic[i].used) {
			strlist_addf(reasons, "Insufficient %s", basic[i].name);
			/* What the empty node could not hold, no eviction makes room for. */
			fit = basic[i].want > basic[i].have ? FIT_NEVER : fit == FIT_NEVER ? fit : FIT_NO;
		}
	for (size_t i = 0; i < want->count; i++) {
		const char *name = want->others[i].name;
		int64_t wanted = want->others[i].value, there = resources_other(have, name);

		if (wanted <= 0 || wanted <= there - resources_other(used, name))
			continue;
		strlist_addf(reasons, "Insufficient %s", name);
		fit = wanted > there ? FIT_NEVER : fit == FIT_NEVER ? fit : FIT_NO;
	}
	return fit;
}

void decision_prepare(struct decision *d, const struct snapshot *s, const json_t *pod, const struct pod_info *info)
{
	*d = (struct decision){ .s = s, .pod = pod, .info = info };
	d->spread = spread_prepare(d);
	d->interpod = interpod_prepare(d);
}

void decision_done(struct decision *d)
{
	spread_free(d->spread);
	interpod_free(d->interpod);
	*d = (struct decision){ 0 };
}

enum fit decision_filter(const struct decision *d, const struct node_info *n, struct strlist *reasons, unsigned *wake)
{
	static const struct {
		enum fit (*run)(const struct decision *d, const struct node_info *n, struct strlist *reasons);
		unsigned wake;
	} filters[] = {
		{ filter_unschedulable, WAKE_NODE },
		{ filter_node_name, WAKE_NODE },
		{ filter_taints, WAKE_NODE },
		{ filter_node_affinity, WAKE_NODE },
		{ filter_ports, WAKE_NODE | WAKE_POD_DELETE },
		{ filter_resources, WAKE_NODE | WAKE_POD_DELETE },
		{ filter_spread, WAKE_NODE | WAKE_POD_DELETE | WAKE_POD_ADD },
		{ filter_interpod, WAKE_NODE | WAKE_POD_DELETE | WAKE_POD_ADD },
	};

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		enum fit fit = filters[i].run(d, n, reasons);

		if (fit != FIT_OK) {
			*wake |= filters[i].wake;
			return fit;
		}
	}
	return FIT_OK;
}
