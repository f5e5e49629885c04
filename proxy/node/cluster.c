/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes as an array sorted by name. A node's strings and addresses belong to its entry; an entry is replaced as a whole,
 * and listeners are called only when something in it changed: heartbeats in status cost a comparison.
 */
#include "proxy/node/cluster.h"

#include <errno.h>

#include "base/mem.h"
#include "kube/object.h"

#define LABEL_ZONE "topology.kubernetes.io/zone"
#define TAINT_LEAVING "ToBeDeletedByClusterAutoscaler"

struct cluster {
	char *own_name;
	struct cluster_node **nodes; /* own; with what its pointers lead to */
	size_t count, cap;
	struct cluster_listener listeners[CLUSTER_MAX_LISTENERS];
	size_t listener_count;
	bool synced;
};

static struct cluster_node *node_free(struct cluster_node *n)
{
	if (!n)
		return NULL;
	free((char *)n->name);
	free((char *)n->zone);
	free((char *)n->created);
	free((struct ip_addr *)n->addrs);
	free(n);
	return NULL;
}

struct cluster *cluster_new(const char *own_name)
{
	struct cluster *c = mem_new(struct cluster);
	c->own_name = mem_strdup(own_name);
	return c;
}

struct cluster *cluster_free(struct cluster *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->count; i++)
		node_free(c->nodes[i]);
	free(c->nodes);
	free(c->own_name);
	free(c);
	return NULL;
}

void cluster_listen(struct cluster *c, const struct cluster_listener *l)
{
	BUG_ON(c->listener_count == CLUSTER_MAX_LISTENERS);
	c->listeners[c->listener_count++] = *l;
}

const struct ip_addr *cluster_node_address(const struct cluster_node *n, int family)
{
	for (size_t i = 0; i < n->addr_count; i++)
		if (n->addrs[i].family == family)
			return &n->addrs[i];
	return NULL;
}

/* Remembers the first complaint. */
static void complain(struct err *err, int *r, const char *name, const char *why, const char *value)
{
	if (*r == 0)
		err_set(err, EINVAL, "Node %s: %s \"%s\"", name, why, value ? value : "");
	*r = -EINVAL;
}

static void read_addresses(struct cluster_node *n, const json_t *o, struct err *err, int *r)
{
	struct ip_addr addrs[CLUSTER_MAX_ADDRESSES], a;
	size_t i;
	json_t *v;
	json_array_foreach(json_at(o, "status.addresses"), i, v) {
		const char *text = json_string_value(json_object_get(v, "address"));
		bool twice = false;
		if (!str_eq(json_string_value(json_object_get(v, "type")), "InternalIP"))
			continue;
		if (!text || ip_parse(text, &a) < 0) {
			complain(err, r, n->name, "InternalIP is not an address:", text);
			continue;
		}
		for (size_t k = 0; k < n->addr_count; k++)
			twice |= ip_addr_eq(&addrs[k], &a);
		if (!twice && n->addr_count < ARRAY_SIZE(addrs))
			addrs[n->addr_count++] = a;
	}
	n->addrs = n->addr_count ? mem_dup(addrs, n->addr_count * sizeof(*addrs)) : NULL;
}

static void read_pod_cidr(struct cluster_node *n, const char *text, struct err *err, int *r)
{
	struct ip_prefix p;
	if (!text || ip_prefix_parse(text, &p) < 0 || p.len == 0) {
		complain(err, r, n->name, "podCIDR is not a range:", text);
		return;
	}
	ip_prefix_mask(&p);
	struct ip_prefix *at = &n->pod_cidrs[ip_family_index(p.addr.family)];
	if (!at->addr.family)
		*at = p;
}

static struct cluster_node *node_read(const struct cluster *c, const json_t *o, struct err *err, int *r)
{
	struct cluster_node *n = mem_new(struct cluster_node);
	const char *one = json_str(o, "spec.podCIDR"), *zone;
	json_t *list = json_at(o, "spec.podCIDRs"), *v;
	size_t i;
	n->name = mem_strdup(object_name(o));
	n->own = str_eq(n->name, c->own_name);
	n->created = mem_strdup(json_str_or(o, "metadata.creationTimestamp", ""));
	read_addresses(n, o, err, r);
	json_array_foreach(list, i, v)
		read_pod_cidr(n, json_string_value(v), err, r);
	if (!json_array_size(list) && !str_empty(one))
		read_pod_cidr(n, one, err, r);
	zone = json_string_value(json_object_get(object_labels(o), LABEL_ZONE));
	n->zone = mem_strdup(zone ? zone : "");
	n->leaving = object_deleting(o);
	json_array_foreach(json_at(o, "spec.taints"), i, v)
		n->leaving |= str_eq(json_string_value(json_object_get(v, "key")), TAINT_LEAVING);
	return n;
}

static bool prefix_eq(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->addr.family == b->addr.family && a->len == b->len && (!a->addr.family || ip_addr_eq(&a->addr, &b->addr));
}

static bool node_same(const struct cluster_node *a, const struct cluster_node *b)
{
	if (a->addr_count != b->addr_count || a->leaving != b->leaving || !str_eq(a->zone, b->zone) || !str_eq(a->created, b->created) ||
	    !prefix_eq(&a->pod_cidrs[0], &b->pod_cidrs[0]) || !prefix_eq(&a->pod_cidrs[1], &b->pod_cidrs[1]))
		return false;
	for (size_t i = 0; i < a->addr_count; i++)
		if (!ip_addr_eq(&a->addrs[i], &b->addrs[i]))
			return false;
	return true;
}

/* Where the name is or would be. */
static size_t place(const struct cluster *c, const char *name, bool *ret_there)
{
	size_t low = 0, high = c->count;
	*ret_there = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int d = strcmp(c->nodes[mid]->name, name);
		if (d == 0)
			*ret_there = true;
		if (d < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void tell_changed(struct cluster *c, const struct cluster_node *n)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].changed)
			c->listeners[i].changed(n, c->listeners[i].user);
}

int cluster_node_set(struct cluster *c, const json_t *o, struct err *err)
{
	bool there;
	int r = 0;
	if (str_empty(object_name(o)))
		return err_set(err, EINVAL, "Node without a name");
	size_t at = place(c, object_name(o), &there);
	if (!there && c->count == CLUSTER_MAX_NODES)
		return err_set(err, E2BIG, "Node %s: there are %d already, more are not followed", object_name(o),
			       CLUSTER_MAX_NODES);
	struct cluster_node *n = node_read(c, o, err, &r);
	if (there && node_same(c->nodes[at], n)) {
		node_free(n);
		return r;
	}
	if (there) {
		node_free(c->nodes[at]);
	} else {
		MEM_GROW(c->nodes, c->cap, c->count + 1);
		memmove(&c->nodes[at + 1], &c->nodes[at], (c->count - at) * sizeof(*c->nodes));
		c->count++;
	}
	c->nodes[at] = n;
	tell_changed(c, n);
	return r;
}

void cluster_node_del(struct cluster *c, const char *name)
{
	bool there;
	size_t at = place(c, name, &there);
	if (!there)
		return;
	struct cluster_node *n = c->nodes[at];
	c->count--;
	memmove(&c->nodes[at], &c->nodes[at + 1], (c->count - at) * sizeof(*c->nodes));
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].gone)
			c->listeners[i].gone(n, c->listeners[i].user);
	node_free(n);
}

void cluster_set_synced(struct cluster *c)
{
	if (c->synced)
		return;
	c->synced = true;
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].synced)
			c->listeners[i].synced(c->listeners[i].user);
}

bool cluster_synced(const struct cluster *c)
{
	return c->synced;
}

const struct cluster_node *cluster_own(const struct cluster *c)
{
	return c->own_name ? cluster_find(c, c->own_name) : NULL;
}

const struct cluster_node *cluster_find(const struct cluster *c, const char *name)
{
	bool there;
	size_t at = place(c, name, &there);
	return there ? c->nodes[at] : NULL;
}

const struct cluster_node *cluster_at(const struct cluster *c, size_t i)
{
	return i < c->count ? c->nodes[i] : NULL;
}
