/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sums of resources. A struct resources never holds two amounts of one name. */
#include "scheduler/resource.h"

#include "base/mem.h"
#include "kube/quantity.h"

void resources_done(struct resources *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->others[i].name);
	free(r->others);
	*r = (struct resources){ 0 };
}

static int64_t add_clamped(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return a > 0 ? INT64_MAX : INT64_MIN;
	return sum;
}

static int64_t *other(struct resources *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (str_eq(r->others[i].name, name))
			return &r->others[i].value;
	MEM_GROW(r->others, r->cap, r->count + 1);
	r->others[r->count] = (struct resource_amount){ .name = mem_strdup(name) };
	return &r->others[r->count++].value;
}

int64_t resources_other(const struct resources *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (str_eq(r->others[i].name, name))
			return r->others[i].value;
	return 0;
}

static bool parse(const json_t *v, struct quantity *ret)
{
	return json_is_string(v) && quantity_parse(json_string_value(v), ret) == 0;
}

int64_t resource_value(const json_t *list, const char *name)
{
	struct quantity q;

	return parse(json_object_get(list, name), &q) ? quantity_value(&q) : 0;
}

void resources_add_json(struct resources *r, const json_t *list)
{
	json_t *self = (json_t *)(uintptr_t)list, *v;
	const char *name;
	struct quantity q;

	json_object_foreach(self, name, v) {
		if (str_eq(name, "pods") || !parse(v, &q))
			continue;
		if (str_eq(name, "cpu")) {
			r->milli_cpu = add_clamped(r->milli_cpu, quantity_milli(&q));
			continue;
		}
		int64_t *to = str_eq(name, "memory") ? &r->memory :
			      str_eq(name, "ephemeral-storage") ? &r->ephemeral : other(r, name);

		*to = add_clamped(*to, quantity_value(&q));
	}
}

void resources_add(struct resources *r, const struct resources *more)
{
	r->milli_cpu = add_clamped(r->milli_cpu, more->milli_cpu);
	r->memory = add_clamped(r->memory, more->memory);
	r->ephemeral = add_clamped(r->ephemeral, more->ephemeral);
	for (size_t i = 0; i < more->count; i++) {
		int64_t *to = other(r, more->others[i].name);

		*to = add_clamped(*to, more->others[i].value);
	}
}

void resources_sub(struct resources *r, const struct resources *less)
{
	r->milli_cpu -= less->milli_cpu;
	r->memory -= less->memory;
	r->ephemeral -= less->ephemeral;
	for (size_t i = 0; i < less->count; i++)
		*other(r, less->others[i].name) -= less->others[i].value;
}

void resources_max(struct resources *r, const struct resources *o)
{
	r->milli_cpu = MAX(r->milli_cpu, o->milli_cpu);
	r->memory = MAX(r->memory, o->memory);
	r->ephemeral = MAX(r->ephemeral, o->ephemeral);
	for (size_t i = 0; i < o->count; i++) {
		int64_t *to = other(r, o->others[i].name);

		*to = MAX(*to, o->others[i].value);
	}
}

void resources_copy(struct resources *to, const struct resources *from)
{
	*to = (struct resources){ 0 };
	resources_add(to, from);
}

static void of_container(struct resources *ret, const json_t *container, int64_t default_milli_cpu, int64_t default_memory)
{
	const json_t *requests = json_at(container, "resources.requests");

	*ret = (struct resources){ 0 };
	resources_add_json(ret, requests);
	if (!json_object_get(requests, "cpu"))
		ret->milli_cpu = default_milli_cpu;
	if (!json_object_get(requests, "memory"))
		ret->memory = default_memory;
}

void resources_of_pod(struct resources *ret, const json_t *pod, int64_t default_milli_cpu, int64_t default_memory)
{
	struct resources sum = { 0 }, sidecars = { 0 }, init = { 0 }, one;
	json_t *c;
	size_t i;

	json_array_foreach(json_at(pod, "spec.initContainers"), i, c) {
		of_container(&one, c, default_milli_cpu, default_memory);
		if (str_eq(json_str(c, "restartPolicy"), "Always")) {
			resources_add(&sidecars, &one);
			resources_max(&init, &sidecars);
		} else {
			resources_add(&one, &sidecars);
			resources_max(&init, &one);
		}
		resources_done(&one);
	}
	json_array_foreach(json_at(pod, "spec.containers"), i, c) {
		of_container(&one, c, default_milli_cpu, default_memory);
		resources_add(&sum, &one);
		resources_done(&one);
	}
	resources_add(&sum, &sidecars);
	resources_max(&sum, &init);
	resources_add_json(&sum, json_at(pod, "spec.overhead"));
	resources_done(&sidecars);
	resources_done(&init);
	*ret = sum;
}
