// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses for nodes: each gets the first part of the cluster's range that no node has. What always holds: a part is
 * not given while any node in the cache has it or any answer to an earlier gift is outstanding (one key at a time, and
 * gifts are remembered until the cache shows them or the node is gone).
 */
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/node.h"
#include "kube/object.h"

int64_t nodeipam_index(const struct ip_prefix *range, unsigned mask, const char *cidr)
{
	struct ip_prefix p;
	uint32_t index = 0;

	if (!cidr || ip_prefix_parse(cidr, &p) < 0 || p.addr.family != range->addr.family || p.len < mask ||
	    !ip_prefix_contains(range, &p.addr))
		return -1;
	for (unsigned bit = range->len; bit < mask; bit++)
		index = index << 1 | (p.addr.bytes[bit / 8] >> (7 - bit % 8) & 1);
	return index;
}

bool nodeipam_part(const struct ip_prefix *range, unsigned mask, int64_t index, char out[static IP_PREFIX_TEXT_SIZE])
{
	struct ip_prefix p = *range;

	if (index < 0 || index >> (mask - range->len))
		return false;
	for (unsigned bit = mask; bit > range->len; bit--, index >>= 1) {
		if (index & 1)
			p.addr.bytes[(bit - 1) / 8] |= (uint8_t)(0x80 >> (bit - 1) % 8);
	}
	p.len = (uint8_t)mask;
	ip_prefix_format(&p, out);
	return true;
}

/* Marks the parts that a node has. A larger prefix than a part takes all it covers. */
static void mark_used(const struct controllers_config *config, const char *cidr, uint8_t *used)
{
	const struct ip_prefix *range = &config->cluster_cidr;
	unsigned mask = config->node_cidr_mask;
	int64_t first = nodeipam_index(range, mask, cidr), count = 1;
	struct ip_prefix p;

	if (first < 0) {
		if (!cidr || ip_prefix_parse(cidr, &p) < 0 || p.len < range->len || p.len >= mask)
			return;
		ip_prefix_mask(&p);
		first = nodeipam_index(range, p.len, cidr);
		if (first < 0)
			return;
		count = INT64_C(1) << (mask - p.len);
		first <<= mask - p.len;
	}
	memset(used + first, 1, (size_t)count);
}

static int64_t first_free(struct controller *c)
{
	const struct controllers_config *config = c->ctx->config;
	int64_t total = INT64_C(1) << (config->node_cidr_mask - config->cluster_cidr.len);
	_cleanup_free_ uint8_t *used = mem_zalloc((size_t)total);
	const char *name;
	void *gift;
	size_t it = 0;

	for (json_t *node; (node = informer_next(controller_informer(c, INFORMER_NODES), &it));) {
		json_t *cidr;
		size_t i;

		mark_used(config, json_str(node, "spec.podCIDR"), used);
		json_array_foreach(json_at(node, "spec.podCIDRs"), i, cidr)
			mark_used(config, json_string_value(cidr), used);
	}
	it = 0;
	while (map_next(c->state, &it, &name, &gift))
		mark_used(config, gift, used);
	for (int64_t i = 0; i < total; i++) {
		if (!used[i])
			return i;
	}
	return -1;
}

static void nodeipam_sync(struct controller *c, const char *key, struct plan *plan)
{
	const struct controllers_config *config = c->ctx->config;
	const json_t *node = controller_get(c, INFORMER_NODES, key);
	char cidr[IP_PREFIX_TEXT_SIZE];
	const char *gift = map_get(c->state, key);

	if (!config->cluster_cidr.addr.family)
		return;
	if (!node || object_deleting(node) || !str_empty(json_str(node, "spec.podCIDR"))) {
		map_del(c->state, key);
		return;
	}
	if (!gift) {
		if (!nodeipam_part(&config->cluster_cidr, config->node_cidr_mask, first_free(c), cidr)) {
			plan_event(plan, node, "Normal", "CIDRNotAvailable",
				   "Node %s status is now: CIDRNotAvailable", key);
			plan_requeue(plan, 30000);
			return;
		}
		map_set(c->state, key, mem_strdup(cidr));
		gift = map_get(c->state, key);
	}
	plan_merge_patch(plan, kube_path("v1", "nodes", NULL, key, NULL),
			 json_pack("{s:{s:s}, s:{s:s, s:[s]}}", "metadata", "uid", object_uid(node), "spec", "podCIDR",
				   gift, "podCIDRs", gift))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void nodeipam_start(struct controller *c)
{
	c->state = map_new(free); /* node -> part given, until the cache shows it */
}

static void nodeipam_stop(struct controller *c)
{
	map_free(c->state);
}

const struct controller_ops nodeipam_controller = {
	.name = "node-ipam",
	.primary = INFORMER_NODES,
	.needs = NEEDS(INFORMER_NODES),
	.parallel = 1,
	.start = nodeipam_start,
	.stop = nodeipam_stop,
	.sync = nodeipam_sync,
};
