// SPDX-License-Identifier: GPL-2.0-or-later
/* The admission plugins Priority and DefaultTolerationSeconds. */
#include "apiserver/registry/admit.h"
#include "kube/object.h"

enum { DEFAULT_TOLERATION_S = 300 };

/* The class of pods that name none: of several the one with the lowest value. Own, NULL: there is none. */
static json_t *default_class(struct registry *g)
{
	struct store_iter it = store_iterate(g->store, g->priorityclasses->id, NULL);
	json_t *best = NULL;
	for (struct store_object *o; (o = store_next(&it));) {
		json_t *v = entry_parse_shared(o);
		if (json_bool(v, "globalDefault", false) && (!best || json_int(v, "value", 0) < json_int(best, "value", 0))) {
			json_decref(best);
			best = v;
		} else {
			json_decref(v);
		}
	}
	return best;
}

static json_t *set_priority(struct admission *a, json_t *spec)
{
	const char *name = json_str_or(spec, "priorityClassName", "");
	_cleanup_json_ json_t *class = NULL;
	if (*name) {
		struct store_object *o = store_latest(a->g->store, a->g->priorityclasses->id, name);
		if (!o)
			return admit_forbidden(a, "no PriorityClass with name %s was found", name);
		class = entry_parse_shared(o);
	} else {
		class = default_class(a->g);
		if (class)
			json_object_set_new(spec, "priorityClassName", json_string(object_name(class)));
	}
	int64_t value = json_int(class, "value", 0);
	json_t *given = json_object_get(spec, "priority");
	if (given && json_integer_value(given) != value)
		return admit_forbidden(a, "the integer value of priority (%lld) must not be provided in pod spec; priority admission "
				       "controller computed %lld from the given PriorityClass name",
				       (long long)json_integer_value(given), (long long)value);
	json_object_set_new(spec, "priority", json_integer(value));
	const char *policy = class ? json_str_or(class, "preemptionPolicy", "PreemptLowerPriority") : "PreemptLowerPriority";
	const char *own = json_str(spec, "preemptionPolicy");
	if (own && !str_eq(own, policy))
		return admit_forbidden(a, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission "
				       "controller computed %s from the given PriorityClass name", own, policy);
	json_object_set_new(spec, "preemptionPolicy", json_string(policy));
	return NULL;
}

json_t *admit_priority(struct admission *a)
{
	static const char *const kept[] = { "priority", "preemptionPolicy" };
	json_t *spec = json_object_get(a->object, "spec"), *old = json_object_get(a->old, "spec");
	if (!admit_is(a, a->g->pods) || !json_is_object(spec))
		return NULL;
	if (a->op == ADMIT_CREATE)
		return set_priority(a, spec);
	/* A client that does not know the fields sends none. */
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (!json_object_get(spec, kept[i]) && json_object_get(old, kept[i]))
			json_object_set(spec, kept[i], json_object_get(old, kept[i]));
	return NULL;
}

json_t *admit_priority_check(struct admission *a)
{
	if (!admit_is(a, a->g->priorityclasses) || !json_bool(a->object, "globalDefault", false))
		return NULL;
	_cleanup_json_ json_t *other = default_class(a->g);
	if (!other || (a->op == ADMIT_UPDATE && str_eq(object_name(other), object_name(a->object))))
		return NULL;
	return admit_forbidden(a, "PriorityClass %s is already marked as default. Only one default can exist", object_name(other));
}

static bool tolerates(const json_t *tolerations, const char *key)
{
	size_t i;
	json_t *t;
	json_array_foreach((json_t *)tolerations, i, t) {
		const char *k = json_str_or(t, "key", ""), *effect = json_str_or(t, "effect", "");
		if ((!*k || str_eq(k, key)) && (!*effect || str_eq(effect, "NoExecute")))
			return true;
	}
	return false;
}

json_t *admit_tolerations(struct admission *a)
{
	static const char *const keys[] = { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" };
	json_t *spec = json_object_get(a->object, "spec");
	if (!admit_is(a, a->g->pods) || !json_is_object(spec))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (tolerates(json_object_get(spec, "tolerations"), keys[i]))
			continue;
		if (!json_is_array(json_object_get(spec, "tolerations")))
			json_object_set_new(spec, "tolerations", json_array());
		json_array_append_new(json_object_get(spec, "tolerations"),
				      json_pack("{s:s,s:s,s:s,s:i}", "key", keys[i], "operator", "Exists", "effect", "NoExecute",
						"tolerationSeconds", DEFAULT_TOLERATION_S));
	}
	return NULL;
}
