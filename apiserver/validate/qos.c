/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guaranteed: limits of cpu and memory everywhere, equal to the requests. BestEffort: neither anywhere. Burstable: the
 * rest. */
#include "apiserver/validate/qos.h"

#include "apiserver/validate/validate_internal.h"
#include "kube/quantity.h"

static const char *const names[] = { "cpu", "memory" };

/* True when the list has a positive quantity of that name. */
static bool positive(const json_t *list, const char *name, struct quantity *ret)
{
	const char *s = json_string_value(json_object_get(list, name));

	return s && quantity_parse(s, ret) == 0 && ret->nano > 0;
}

/* Looks at one set of requests and limits. */
static void consider(const json_t *resources, bool *any, bool *guaranteed)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct quantity request, limit;
		bool requested = positive(get(resources, "requests"), names[i], &request);
		bool limited = positive(get(resources, "limits"), names[i], &limit);

		*any |= requested || limited;
		*guaranteed &= limited && (!requested || quantity_cmp(&request, &limit) == 0);
	}
}

const char *pod_qos_class(const json_t *pod)
{
	static const char *const lists[] = { "containers", "initContainers" };
	const json_t *spec = get(pod, "spec"), *own = get(spec, "resources");
	bool any = false, guaranteed = true;
	json_t *c;
	size_t i;

	if (get(own, "requests") || get(own, "limits")) {
		consider(own, &any, &guaranteed);
	} else {
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
			json_array_foreach(get(spec, lists[l]), i, c)
				consider(get(c, "resources"), &any, &guaranteed);
		}
	}
	if (!any)
		return "BestEffort";
	return guaranteed ? "Guaranteed" : "Burstable";
}
