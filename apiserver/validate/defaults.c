/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walks an object along the schema and applies the rules of each message met. Which fields of which message can lead to
 * a rule is worked out once, so that a walk visits nothing else. Defaulting twice changes nothing.
 */
#include "apiserver/validate/defaults.h"

#include "apiserver/validate/validate_internal.h"
#include "base/map.h"
#include "kube/quantity.h"

struct walk_node;
struct walk_edge {
	const char *name;
	const struct walk_node *node;
	uint8_t shape;
};
/* A message's rules and the fields below which there are more. */
struct walk_node {
	const struct default_rule **rules;
	size_t rule_count, rule_cap;
	struct walk_edge *edges;
	size_t edge_count, edge_cap;
	bool built;
};

/* By message name; made at the first use and kept, as the schema is constant. */
static struct map *nodes;

/* Job defaults do not apply inside a CronJob, but those of the pod template do; no defaults stand below these fields at
 * all. */
static bool skipped(const struct schema_message *m, const struct schema_field *f)
{
	return str_eq(f->name, "managedFields") || f->type != SCHEMA_MESSAGE ||
	       str_eq(m->name, "io.k8s.api.apps.v1.ControllerRevision");
}

static struct walk_node *build(const struct schema_message *m);

static void add_rules(struct walk_node *node, const char *message)
{
	static const struct default_group *const groups[] = { &defaults_core, &defaults_volumes, &defaults_apps,
							      &defaults_other };
	const char *name = str_after(message, "io.k8s.api.");

	if (!name)
		name = message;
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		for (size_t i = 0; i < groups[g]->count; i++) {
			if (strcmp(groups[g]->rules[i].message, name) != 0)
				continue;
			MEM_GROW(node->rules, node->rule_cap, node->rule_count + 1);
			node->rules[node->rule_count++] = &groups[g]->rules[i];
		}
	}
}

static void add_edges(struct walk_node *node, const struct schema_message *m)
{
	for (size_t i = 0; i < m->field_count; i++) {
		const struct schema_field *f = &m->fields[i];
		struct walk_node *child;

		if (skipped(m, f))
			continue;
		child = build(f->message);
		/* A node still being built belongs to a recursive type; none of those has rules. */
		if (!child->built || (child->rule_count == 0 && child->edge_count == 0))
			continue;
		MEM_GROW(node->edges, node->edge_cap, node->edge_count + 1);
		node->edges[node->edge_count++] = (struct walk_edge){ f->flags & SCHEMA_INLINE ? NULL : f->name, child,
								      f->shape };
	}
}

static struct walk_node *build(const struct schema_message *m)
{
	struct walk_node *node;

	if (!nodes)
		nodes = map_new(NULL);
	node = map_get(nodes, m->name);
	if (node)
		return node;
	node = mem_new(struct walk_node);
	map_set(nodes, m->name, node);
	add_rules(node, m->name);
	add_edges(node, m);
	node->built = true;
	return node;
}

void default_str(json_t *o, const char *key, const char *value)
{
	if (!*get_str(o, key))
		json_object_set_new(o, key, json_string(value));
}

void default_int(json_t *o, const char *key, int64_t value)
{
	if (!get(o, key))
		json_object_set_new(o, key, json_integer(value));
}

json_t *default_object(json_t *o, const char *key)
{
	if (!get(o, key))
		json_object_set_new(o, key, json_object());
	return json_object_get(o, key);
}

void default_round_quantities(json_t *o, const char *key)
{
	const __int128 milli = 1000 * 1000;
	json_t *quantities = get(o, key), *v;
	const char *name;
	void *tmp;

	json_object_foreach_safe(quantities, tmp, name, v) {
		char text[QUANTITY_TEXT_SIZE];
		struct quantity q;
		__int128 rest;

		if (!json_is_string(v) || quantity_parse(json_string_value(v), &q) < 0)
			continue;
		rest = q.nano % milli;
		if (rest == 0)
			continue;
		q.nano += rest > 0 ? milli - rest : -rest;
		quantity_format(&q, text);
		json_object_set_new(quantities, name, json_string(text));
	}
}

static void apply_rule(const struct default_rule *rule, json_t *o)
{
	const json_t *v;

	if (rule->type == DEFAULT_FN) {
		rule->fn(o);
		return;
	}
	if (rule->when_field) {
		if (rule->when_value ? strcmp(get_str(o, rule->when_field), rule->when_value) != 0
				     : !get(o, rule->when_field))
			return;
	}
	v = get(o, rule->field);
	if (v && !(rule->type == DEFAULT_STR && !rule->keep_empty && json_string_length(v) == 0) &&
	    !(rule->zero_too && json_is_integer(v) && json_integer_value(v) == 0))
		return;
	switch (rule->type) {
	case DEFAULT_STR:
		json_object_set_new(o, rule->field, json_string(rule->s));
		break;
	case DEFAULT_INT:
		json_object_set_new(o, rule->field, json_integer(rule->i));
		break;
	case DEFAULT_BOOL:
		json_object_set_new(o, rule->field, json_boolean(rule->i));
		break;
	default:
		json_object_set_new(o, rule->field, json_object());
	}
}

static void walk(const struct walk_node *node, json_t *o);

static void walk_field(const struct walk_edge *edge, json_t *v)
{
	json_t *child;
	const char *key;
	size_t i;

	if (edge->shape == SCHEMA_SINGLE) {
		walk(edge->node, v);
	} else if (edge->shape == SCHEMA_LIST) {
		json_array_foreach(v, i, child)
			walk(edge->node, child);
	} else if (edge->shape == SCHEMA_MAP) {
		json_object_foreach(v, key, child)
			walk(edge->node, child);
	}
}

static void walk(const struct walk_node *node, json_t *o)
{
	if (!json_is_object(o))
		return;
	for (size_t i = 0; i < node->rule_count; i++)
		apply_rule(node->rules[i], o);
	for (size_t i = 0; i < node->edge_count; i++) {
		json_t *v = node->edges[i].name ? get(o, node->edges[i].name) : o;

		if (v)
			walk_field(&node->edges[i], v);
	}
}

void defaults_apply(const struct schema_resource *r, json_t *object)
{
	if (!r->message || !json_is_object(object))
		return;
	walk(build(r->message), object);
	if (strcmp(r->group, "") == 0 && strcmp(r->kind, "Pod") == 0)
		defaults_pod(object);
}
