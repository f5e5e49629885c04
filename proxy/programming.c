/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two clocks: from a change's arrival here (ours), and from what caused it, as the maker of the EndpointSlice wrote it down
 * (upstream's SLI, under upstream's name and with its buckets: a quarter second to five minutes).
 */
#include "proxy/programming.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"

enum { ARRIVALS_KEPT = 4096 }; /* more at once are a burst, of which the oldest tell enough */

void programming_done(struct programming *p)
{
	free(p->arrived_ns);
	*p = (struct programming){ 0 };
}

void programming_arrived(struct programming *p)
{
	if (!p->began_us || p->count == ARRIVALS_KEPT)
		return;
	MEM_GROW(p->arrived_ns, p->cap, p->count + 1);
	p->arrived_ns[p->count++] = clock_mono_ns();
}

/* 0.25, 0.5, 1 to 59 by 1, 60 to 115 by 5, 120 to 300 by 30. */
static const double *network_buckets(size_t *ret_count)
{
	static double b[80];
	size_t n = 0;
	b[n++] = 0.25;
	b[n++] = 0.5;
	for (int i = 1; i < 60; i++)
		b[n++] = i;
	for (int i = 60; i < 120; i += 5)
		b[n++] = i;
	for (int i = 120; i <= 300; i += 30)
		b[n++] = i;
	BUG_ON(n != ARRAY_SIZE(b));
	*ret_count = n;
	return b;
}

void programming_flushed(struct programming *p, const struct model *m, bool changed)
{
	static const double buckets[] = { 0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10 };
	int64_t now_ns = clock_mono_ns(), now_us = clock_wall_us();
	const int64_t *triggers;
	size_t n = model_triggers(m, &triggers), network_count;
	const double *network = network_buckets(&network_count);
	if (!p->began_us)
		p->began_us = now_us;
	for (size_t i = 0; changed && i < p->count; i++)
		metrics_histogram_observe("keelson_proxy_programming_seconds", "From a change's arrival until the next packet sees it.",
					  NULL, buckets, ARRAY_SIZE(buckets), (double)(now_ns - p->arrived_ns[i]) / 1e9);
	/* What happened before this daemon began says nothing about it; a clock that is ahead of ours nothing at all. */
	for (size_t i = 0; i < n; i++)
		if (triggers[i] > p->began_us && triggers[i] <= now_us)
			metrics_histogram_observe("kubeproxy_network_programming_duration_seconds",
						  "From the cause of a change of endpoints until this node's kernel has it.", NULL,
						  network, network_count, (double)(now_us - triggers[i]) / 1e6);
	p->count = 0;
	static const char *const policies[] = {
		[MODEL_TRAFFIC_INTERNAL] = "traffic_policy=\"internal\"", [MODEL_TRAFFIC_EXTERNAL] = "traffic_policy=\"external\"",
	};
	for (int t = 0; t < MODEL_TRAFFIC_MAX; t++)
		metrics_gauge_set("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
				  "Service ports that drop traffic because their policy is Local and only other nodes have endpoints.",
				  policies[t], (double)model_no_local(m, t));
	metrics_gauge_set("keelson_proxy_services", "Services known.", NULL, (double)model_service_count(m));
	metrics_gauge_set("keelson_proxy_endpoints", "Endpoints known.", NULL, (double)model_endpoint_count(m));
}
