// SPDX-License-Identifier: GPL-2.0-or-later
/* Where in etcd an object is: Kubernetes' own layout. */
#include "apiserver/store/shared_internal.h"

#include <string.h>

/* Where Kubernetes keeps a place's objects: by the plural alone, but for these. */
static const char *path_of(const char *place)
{
	static const struct {
		const char *place, *path;
	} other[] = {
		{ "nodes", "minions" }, { "services", "services/specs" }, { "endpoints", "services/endpoints" },
		{ "replicationcontrollers", "controllers" }, { "networking.k8s.io/ingresses", "ingress" },
		{ "apiextensions.k8s.io/customresourcedefinitions", "apiextensions.k8s.io/customresourcedefinitions" },
		{ "apiregistration.k8s.io/apiservices", "apiregistration.k8s.io/apiservices" },
	};
	const char *slash = strrchr(place, '/');
	for (size_t i = 0; i < ARRAY_SIZE(other); i++)
		if (str_eq(place, other[i].place))
			return other[i].path;
	return slash ? slash + 1 : place;
}

void shared_find_paths(struct shared *h)
{
	h->by_path = map_new(NULL);
	for (size_t i = 0; i < STORE_MAX_RESOURCES; i++) {
		const char *place = h->s->hooks.place_name((uint16_t)i);
		if (!place)
			continue;
		/* Two groups with one plural: the second keeps its group. */
		h->paths[i] = mem_strdup(map_has(h->by_path, path_of(place)) ? place : path_of(place));
		map_set(h->by_path, h->paths[i], (void *)(i + 1));
	}
}

/* The resource of a key of etcd, -1 for a foreign one; *ret_key: the rest, borrowed from it. */
int shared_locate(const struct shared *h, const char *text, const char **ret_key)
{
	const char *rest = str_after(text, h->prefix), *end;
	end = rest ? strchr(++rest, '/') : NULL;
	for (int parts = 0; parts < 2 && end; parts++, end = strchr(end + 1, '/')) {
		_cleanup_free_ char *path = mem_strndup(rest, (size_t)(end - rest));
		uintptr_t found = (uintptr_t)map_get(h->by_path, path);
		if (found && end[1]) {
			*ret_key = end + 1;
			return (int)found - 1;
		}
	}
	return -1;
}

char *shared_object_key(const struct shared *h, const struct store_object *o)
{
	return str_printf("%s/%s/%s", h->prefix, h->paths[o->resource], o->key);
}

char *shared_claim_key(const struct shared *h, const char *name)
{
	return str_printf("%s-keelson/claims/%s", h->prefix, name);
}

