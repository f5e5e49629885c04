/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The eBPF engine put together. */
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/engine/ebpf/carry.h"
#include "proxy/engine/ebpf/internal.h"

static void ebpf_free(struct engine *engine)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	ebpf_state_done(e);
	marray_done(&e->sets);
	marray_done(&e->slots);
	marray_done(&e->backends);
	marray_done(&e->stats);
	marray_done(&e->loads);
	if (e->config)
		munmap(e->config, 4096);
	for (size_t i = 0; i < EBPF_MAP_MAX; i++)
		if (e->maps[i] >= 0)
			close(e->maps[i]);
	for (size_t i = 0; i < EBPF_HOOKS; i++)
		if (e->hooks[i] >= 0)
			close(e->hooks[i]);
	if (e->cgroup >= 0)
		close(e->cgroup);
	if (e->lock >= 0)
		close(e->lock);
	for (size_t i = 0; i < EBPF_PROGRAM_MAX; i++)
		if (e->programs[i] >= 0)
			close(e->programs[i]);
	free(e->links);
	free(e->node_addrs);
	free(e->peers);
	carry_free(e->carry);
	free(e->map_dir);
	free(e->pin_dir);
	free(e);
}

static void migrating(struct ebpf *e, bool on)
{
	uint16_t flags = e->config->flags;
	__atomic_store_n(&e->config->flags,
			 (uint16_t)(on ? flags | ABI_CONFIG_MIGRATING : flags & ~ABI_CONFIG_MIGRATING), __ATOMIC_RELEASE);
}

/* The programs come to life: their maps are complete. */
static int ebpf_synced_and_attach(struct engine *engine, struct err *err)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	ebpf_synced(engine);
	migrating(e, carry_pending(e));
	carry_flows(e);
	int r = carry_rename(e, err);
	if (r == 0)
		r = ebpf_attach_hooks(e, err);
	if (r < 0)
		return r;
	e->attached = true;
	ebpf_links_attach(e, err);
	ebpf_links_sweep(e);
	carry_flows(e); /* what came in since */
	migrating(e, false);
	carry_retire(e);
	return 0;
}

static const struct engine_ops ops = {
	.port_set = ebpf_port_set,
	.port_gone = ebpf_port_gone,
	.commit = ebpf_commit,
	.synced = ebpf_synced_and_attach,
	.node_set = ebpf_node_set,
	.metrics = ebpf_metrics,
	.services = ebpf_services,
	.free = ebpf_free,
};

struct engine *engine_ebpf_new(const struct engine_options *o, struct err *err)
{
	struct ebpf *e = mem_new(struct ebpf);
	e->engine.ops = &ops;
	e->cgroup = e->lock = -1;
	for (size_t i = 0; i < EBPF_PROGRAM_MAX; i++)
		e->programs[i] = -1;
	for (size_t i = 0; i < EBPF_HOOKS; i++)
		e->hooks[i] = -1;
	for (size_t i = 0; i < EBPF_MAP_MAX; i++)
		e->maps[i] = -1;
	e->ports = ebpf_ports_new();
	e->pin_dir = mem_strdup(o->pin_dir);
	e->no_xdp = o->no_xdp;
	e->cluster_cidr = o->cluster_cidr;
	if (ebpf_load(e, o, err) < 0) {
		ebpf_free(&e->engine);
		return NULL;
	}
	return &e->engine;
}
