/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What /metrics and /debug/services say. A Service port appears in the counters once it was used, so that what a scrape
 * costs follows the use, not how many Services there are.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "proxy/engine/ebpf/internal.h"

static const char *const reason_names[] = ABI_REASON_NAMES;
_Static_assert(ARRAY_SIZE(reason_names) == ABI_REASON_MAX, "a name for each reason");

static void head(struct strbuf *out, const char *name, const char *type, const char *help)
{
	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static uint64_t reason_count(const struct ebpf *e, uint32_t reason, uint64_t *values, int cpus)
{
	uint64_t sum = 0;
	if (bpf_map_lookup_elem(e->maps[EBPF_COUNTERS], &reason, values) < 0)
		return 0;
	for (int c = 0; c < cpus; c++)
		sum += values[c];
	return sum;
}

static void write_reasons(const struct ebpf *e, struct strbuf *out)
{
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 1)
		return;
	_cleanup_free_ uint64_t *values = mem_new_n(uint64_t, (size_t)cpus);
	head(out, "keelson_proxy_verdicts_total", "counter", "What the kernel programs decided, by reason.");
	for (uint32_t i = 0; i < ABI_REASON_MAX; i++)
		strbuf_addf(out, "keelson_proxy_verdicts_total{reason=\"%s\"} %llu\n", reason_names[i],
			    (unsigned long long)reason_count(e, i, values, cpus));
	head(out, "keelson_proxy_drops_total", "counter", "Packets and connections refused or dropped, by reason.");
	for (uint32_t i = 0; i < ABI_REASON_MAX; i++)
		if (ABI_REASON_IS_DROP(i))
			strbuf_addf(out, "keelson_proxy_drops_total{reason=\"%s\"} %llu\n", reason_names[i],
				    (unsigned long long)reason_count(e, i, values, cpus));
}

static void add_labels(struct strbuf *out, const struct eport *p)
{
	const char *slash = strchr(p->name, '/'), *colon = strrchr(p->name, ':');
	strbuf_addf(out, "{namespace=\"%.*s\",service=\"%.*s\",port=\"%s\",family=\"%s\"}", (int)(slash - p->name), p->name,
		    (int)(colon - slash - 1), slash + 1, colon + 1, p->family == AF_INET6 ? "IPv6" : "IPv4");
}

static void write_service_counter(struct ebpf *e, struct strbuf *out, const char *name, const char *help, bool refused)
{
	size_t it = 0;
	void *value;
	head(out, name, "counter", help);
	while (map_next(e->ports, &it, NULL, &value)) {
		const struct eport *p = value;
		uint64_t n = 0;
		for (int w = 0; w < MODEL_SET_MAX; w++) {
			const struct abi_stats *s = p->sets[w] ? marray_at(&e->stats, p->sets[w]) : NULL;
			if (s)
				n += refused ? s->refused : s->connections;
		}
		if (!n)
			continue;
		strbuf_adds(out, name);
		add_labels(out, p);
		strbuf_addf(out, " %llu\n", (unsigned long long)n);
	}
}

/* Counted in the kernel, which visits every element but hands out one number. -1 when it cannot. */
static int64_t elements(const struct ebpf *e, enum ebpf_map which)
{
	union bpf_iter_link_info info = { .map.map_fd = (uint32_t)e->maps[which] };
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int prog = e->programs[EBPF_COUNT_ELEMENTS];
	_cleanup_close_ int link = prog < 0 ? -1 : bpf_link_create(prog, 0, BPF_TRACE_ITER, &opts);
	_cleanup_close_ int iter = link < 0 ? -1 : bpf_iter_create(link);
	uint64_t n = 0;
	for (ssize_t r = -1; iter >= 0 && (r = read(iter, &n, sizeof(n))) != 0;)
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
	return iter < 0 ? -1 : (int64_t)n;
}

/* What the kernel says it takes, and charges to nobody: preallocated elements, tables of buckets. */
static uint64_t map_memory(int fd)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	const char *at = file_read(path, 4096, &text) == 0 && text.data ? strstr(text.data, "memlock:") : NULL;
	return at ? strtoull(at + 8, NULL, 10) : 0;
}

static uint32_t in_use(const struct idpool *p)
{
	return p->next - (uint32_t)p->count;
}

static int64_t fill(const struct ebpf *e, enum ebpf_map which)
{
	switch (which) {
	case EBPF_SETS:
		return in_use(&e->set_ids);
	case EBPF_BACKENDS:
		return in_use(&e->backend_ids);
	case EBPF_SLOTS:
		return runpool_used(&e->runs);
	case EBPF_FRONTENDS:
	case EBPF_FLOWS:
	case EBPF_FLOW_REPLIES:
	case EBPF_AFFINITY:
	case EBPF_UDP_PEERS:
	case EBPF_FRAGMENTS:
		return elements(e, which);
	default:
		return -1;
	}
}

static void write_maps(const struct ebpf *e, struct strbuf *out)
{
	head(out, "keelson_proxy_map_max_entries", "gauge", "How many entries a kernel map can hold.");
	for (size_t i = 0; i < EBPF_MAP_MAX; i++)
		if (e->max_entries[i] > 1)
			strbuf_addf(out, "keelson_proxy_map_max_entries{map=\"%s\"} %u\n", ebpf_map_names[i], e->max_entries[i]);
	head(out, "keelson_proxy_map_entries", "gauge", "How many entries of a kernel map are in use.");
	for (size_t i = 0; i < EBPF_MAP_MAX; i++) {
		int64_t n = fill(e, (enum ebpf_map)i);
		if (n >= 0)
			strbuf_addf(out, "keelson_proxy_map_entries{map=\"%s\"} %lld\n", ebpf_map_names[i], (long long)n);
	}
	head(out, "keelson_proxy_map_bytes", "gauge", "Kernel memory of a map.");
	for (size_t i = 0; i < EBPF_MAP_MAX; i++)
		strbuf_addf(out, "keelson_proxy_map_bytes{map=\"%s\"} %llu\n", ebpf_map_names[i],
			    (unsigned long long)map_memory(e->maps[i]));
}

void ebpf_metrics(struct engine *engine, struct strbuf *out)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	write_reasons(e, out);
	write_service_counter(e, out, "keelson_proxy_service_connections_total",
			      "Connections and UDP flows given a backend, by Service port.", false);
	write_service_counter(e, out, "keelson_proxy_service_refused_total",
			      "Attempts refused because the Service port has no endpoints.", true);
	head(out, "keelson_proxy_backends", "gauge", "Endpoints in the kernel; those of a Local policy count once more.");
	strbuf_addf(out, "keelson_proxy_backends %u\n", in_use(&e->backend_ids) - 1); /* id 0 is nobody's */
	head(out, "keelson_proxy_map_full_total", "counter", "Changes not applied because a kernel map is full.");
	strbuf_addf(out, "keelson_proxy_map_full_total %llu\n", (unsigned long long)e->full_errors);
	write_maps(e, out);
}

void ebpf_services(struct engine *engine, struct strbuf *out)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	size_t it = 0;
	void *value;
	const char *separator = "";
	strbuf_adds(out, "{\"services\":[");
	while (map_next(e->ports, &it, NULL, &value)) {
		const struct eport *p = value;
		uint16_t port = 0;
		for (size_t i = 0; i < p->frontend_count && !port; i++)
			if (p->frontends[i].key.scope == ABI_SCOPE_ADDRESS)
				port = ntohs(p->frontends[i].key.port);
		strbuf_addf(out, "%s\n{\"name\":", separator);
		strbuf_add_json(out, p->name, strlen(p->name));
		strbuf_addf(out, ",\"protocol\":\"%s\",\"family\":\"%s\",\"port\":%u,\"set\":%u,\"localSet\":%u}",
			    p->proto == IPPROTO_TCP ? "TCP" : p->proto == IPPROTO_UDP ? "UDP" : "SCTP",
			    p->family == AF_INET6 ? "IPv6" : "IPv4", port, p->sets[MODEL_SET_ALL], p->sets[MODEL_SET_LOCAL]);
		separator = ",";
	}
	strbuf_adds(out, "\n]}\n");
}
