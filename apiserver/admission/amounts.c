// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/admission/amounts.h"

#include "base/mem.h"

bool amounts_get(const json_t *list, const char *name, struct quantity *ret)
{
	const char *s = json_string_value(json_object_get(list, name));
	return s && quantity_parse(s, ret) == 0;
}

void amounts_set(json_t *list, const char *name, const struct quantity *q)
{
	char text[QUANTITY_TEXT_SIZE];
	quantity_format(q, text);
	json_object_set_new(list, name, json_string(text));
}

void amounts_add_number(json_t *list, const char *name, int64_t n)
{
	struct quantity sum = { 0 };
	amounts_get(list, name, &sum);
	sum.nano += (__int128)n * 1000000000;
	amounts_set(list, name, &sum);
}

void amounts_add(json_t *list, const json_t *more)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)more, name, v) {
		struct quantity a, b;
		if (!amounts_get(more, name, &b))
			continue;
		if (amounts_get(list, name, &a))
			quantity_add(&a, &b);
		else
			a = b;
		amounts_set(list, name, &a);
	}
}

void amounts_max(json_t *list, const json_t *other)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)other, name, v) {
		struct quantity a, b;
		if (amounts_get(other, name, &b) && (!amounts_get(list, name, &a) || quantity_cmp(&a, &b) < 0))
			amounts_set(list, name, &b);
	}
}

json_t *amounts_of_pod(const json_t *spec, const char *which)
{
	_cleanup_json_ json_t *starting = json_object(), *sidecars = json_object();
	json_t *total = json_object(), *c;
	size_t i;
	json_array_foreach(json_object_get(spec, "containers"), i, c)
		amounts_add(total, json_object_get(json_object_get(c, "resources"), which));
	json_array_foreach(json_object_get(spec, "initContainers"), i, c) {
		const json_t *own = json_object_get(json_object_get(c, "resources"), which);
		if (str_eq(json_str(c, "restartPolicy"), "Always")) {
			amounts_add(sidecars, own);
			amounts_max(starting, sidecars);
			amounts_add(total, own);
		} else {
			_cleanup_json_ json_t *now = json_deep_copy(sidecars);
			amounts_add(now, own);
			amounts_max(starting, now);
		}
	}
	amounts_max(total, starting);
	/* Resources of the pod as a whole stand for those of its containers (KEP-2837). */
	const json_t *whole = json_object_get(json_object_get(spec, "resources"), which);
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)whole, name, v)
		json_object_set(total, name, v);
	if (str_eq(which, "requests") || json_object_size(total))
		amounts_add(total, json_object_get(spec, "overhead"));
	return total;
}
