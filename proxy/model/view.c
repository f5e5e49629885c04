/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model as DNS sees it: names to addresses and back. Reads only. */
#include <stdio.h>

#include "proxy/model/model_internal.h"

const struct model_service *model_service_find(const struct model *m, const char *ns, const char *name)
{
	char key[512];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);
	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	const struct model_service *s = map_get(m->services, key);
	return s && s->present ? s : NULL;
}

bool model_namespace_exists(const struct model *m, const char *ns)
{
	return map_has(m->namespaces, ns);
}

enum model_service_type model_service_type(const struct model_service *s)
{
	return s->is_external_name ? MODEL_TYPE_EXTERNAL_NAME : s->headless ? MODEL_TYPE_HEADLESS : MODEL_TYPE_CLUSTER_IP;
}

const char *model_service_ns(const struct model_service *s)
{
	return s->ns;
}

const char *model_service_name(const struct model_service *s)
{
	return s->name;
}

const char *model_service_external_name(const struct model_service *s)
{
	return s->external_name ? s->external_name : "";
}

const struct ip_addr *model_service_address(const struct model_service *s, size_t i)
{
	return i < s->cluster_ip_count ? &s->cluster_ips[i] : NULL;
}

bool model_service_port(const struct model_service *s, size_t i, struct model_service_port *ret)
{
	if (i >= s->port_count)
		return false;
	*ret = (struct model_service_port){ s->ports[i].name, s->ports[i].port, s->ports[i].proto };
	return true;
}

static struct ip_addr ep_addr(const struct model_slice *sl, const struct model_ep *e)
{
	struct ip_addr a = { .family = sl->family };
	memcpy(a.bytes, e->addr, sizeof(a.bytes));
	return a;
}

void model_service_endpoints(const struct model *m, const struct model_service *s, model_endpoint_fn fn, void *user)
{
	static const struct model_service_port none = { "", 0, 0 };
	for (const struct model_slice *sl = s->slices; sl; sl = sl->next)
		for (size_t i = 0; i < sl->ep_count; i++) {
			const struct model_ep *e = &sl->eps[i];
			if (!(e->flags & EP_READY))
				continue;
			const char *hostname = intern_text(&m->names, e->hostname);
			struct ip_addr a = ep_addr(sl, e);
			if (!sl->port_count && !fn(&a, hostname, &none, user))
				return;
			for (size_t k = 0; k < sl->port_count; k++) {
				struct model_service_port p = { sl->ports[k].name, sl->ports[k].port, sl->ports[k].proto };
				if (!fn(&a, hostname, &p, user))
					return;
			}
		}
}

const struct model_service *model_service_by_address(const struct model *m, const struct ip_addr *a)
{
	char text[IP_ADDR_TEXT_SIZE];
	return map_get(m->addresses, ip_format(a, text));
}

const struct model_service *model_endpoint_by_address(const struct model *m, const struct ip_addr *a,
						      const char **ret_hostname)
{
	size_t it = 0;
	void *value;
	while (map_next(m->services, &it, NULL, &value)) {
		const struct model_service *s = value;
		if (!s->present || !s->headless)
			continue;
		for (const struct model_slice *sl = s->slices; sl; sl = sl->next)
			for (size_t i = 0; sl->family == a->family && i < sl->ep_count; i++)
				if (sl->eps[i].hostname && sl->eps[i].flags & EP_READY &&
				    memcmp(sl->eps[i].addr, a->bytes, a->family == AF_INET ? 4 : 16) == 0) {
					*ret_hostname = intern_text(&m->names, sl->eps[i].hostname);
					return s;
				}
	}
	return NULL;
}
