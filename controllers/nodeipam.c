// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses for nodes: each gets the first part of the cluster's range that no node has, of each family when there are two, the
 * primary family's first. What always holds: a part is not given while any node in the cache has it or any answer to an earlier gift is outstanding (one key at a time, and
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
static void mark_used(const struct ip_prefix *range, unsigned mask, const char *cidr, uint8_t *used)
{
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

static int64_t first_free(struct controller *c, const struct ip_prefix *range, unsigned mask)
{
	int64_t total = INT64_C(1) << (mask - range->len);
	_cleanup_free_ uint8_t *used = mem_zalloc((size_t)total);
	const char *name;
	void *gift;
	size_t it = 0, i;
	json_t *cidr;

	for (json_t *node; (node = informer_next(controller_informer(c, INFORMER_NODES), &it));) {
		mark_used(range, mask, json_str(node, "spec.podCIDR"), used);
		json_array_foreach(json_at(node, "spec.podCIDRs"), i, cidr)
			mark_used(range, mask, json_string_value(cidr), used);
	}
	it = 0;
	while (map_next(c->state, &it, &name, &gift)) {
		json_array_foreach(gift, i, cidr)
			mark_used(range, mask, json_string_value(cidr), used);
	}
	for (int64_t at = 0; at < total; at++) {
		if (!used[at])
			return at;
	}
	return -1;
}

/* A part of every range there is, as spec.podCIDRs; own. NULL: one of the ranges is full. */
static json_t *choose(struct controller *c)
{
	const struct controllers_config *config = c->ctx->config;
	json_t *parts = json_array();
	char cidr[IP_PREFIX_TEXT_SIZE];

	for (unsigned n = 0; n < ARRAY_SIZE(config->cluster_ranges.v); n++) {
		unsigned i = n ^ config->cluster_primary, mask = config->node_cidr_mask[i];
		const struct ip_prefix *range = &config->cluster_ranges.v[i];

		if (!range->addr.family)
			continue;
		if (!nodeipam_part(range, mask, first_free(c, range, mask), cidr)) {
			json_decref(parts);
			return NULL;
		}
		json_array_append_new(parts, json_string(cidr));
	}
	return parts;
}

static void nodeipam_sync(struct controller *c, const char *key, struct plan *plan)
{
	const struct controllers_config *config = c->ctx->config;
	const json_t *node = controller_get(c, INFORMER_NODES, key);
	json_t *gift = map_get(c->state, key);

	if (!config->cluster_ranges.v[config->cluster_primary].addr.family)
		return;
	if (!node || object_deleting(node) || !str_empty(json_str(node, "spec.podCIDR"))) {
		map_del(c->state, key);
		return;
	}
	if (!gift) {
		gift = choose(c);
		if (!gift) {
			plan_event(plan, node, "Normal", "CIDRNotAvailable",
				   "Node %s status is now: CIDRNotAvailable", key);
			plan_requeue(plan, 30000);
			return;
		}
		map_set(c->state, key, gift);
	}
	plan_merge_patch(plan, kube_path("v1", "nodes", NULL, key, NULL),
			 json_pack("{s:{s:s}, s:{s:O, s:O}}", "metadata", "uid", object_uid(node), "spec", "podCIDR",
				   json_array_get(gift, 0), "podCIDRs", gift))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void gift_free(void *p)
{
	json_decref(p);
}

static void nodeipam_start(struct controller *c)
{
	c->state = map_new(gift_free); /* node -> parts given, until the cache shows them */
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
