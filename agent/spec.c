/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding containers in a pod's spec. */
#include "agent/spec.h"

#include "base/str.h"

const char *const spec_lists[SPEC_LISTS] = { "containers", "initContainers", "ephemeralContainers" };

const json_t *spec_container(const json_t *pod, const char *name)
{
	for (size_t l = 0; l < SPEC_LISTS; l++) {
		json_t *c;
		size_t i;

		json_array_foreach(json_object_get(json_object_get(pod, "spec"), spec_lists[l]), i, c)
			if (str_eq(json_str(c, "name"), name))
				return c;
	}
	return NULL;
}
