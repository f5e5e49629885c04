/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The annotations keelson.dev/balancing, /forwarding and /weights of a Service. A bad value counts as none. */
#include <errno.h>

#include "kube/object.h"
#include "proxy/model/model_internal.h"

enum { WEIGHT_KEY_NODE = 0 }; /* first byte of a key; else the address's family */

static int weight_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(((const struct model_weight *)a)->key));
}

static void key_of_node(uint8_t key[static 17], uint32_t node)
{
	memset(key, 0, 17);
	key[0] = WEIGHT_KEY_NODE;
	memcpy(key + 1, &node, sizeof(node));
}

static void key_of_address(uint8_t key[static 17], uint8_t family, const uint8_t *addr)
{
	memset(key, 0, 17);
	key[0] = family;
	memcpy(key + 1, addr, family == AF_INET ? 4 : 16);
}

uint8_t model_weight_of(const struct model_service *s, uint8_t family, const uint8_t *addr, uint32_t node)
{
	struct model_weight want, *found;
	key_of_address(want.key, family, addr);
	found = bsearch(&want, s->weights, s->weight_count, sizeof(want), weight_cmp);
	if (!found && node) {
		key_of_node(want.key, node);
		found = bsearch(&want, s->weights, s->weight_count, sizeof(want), weight_cmp);
	}
	return found ? found->weight : 1;
}

static const char *trim(char *s)
{
	s += strspn(s, " \t\r\n");
	size_t n = strlen(s);
	while (n && strchr(" \t\r\n", s[n - 1]))
		s[--n] = 0;
	return s;
}

/* An entry "NAME=N" whose name is an address is for that address and for a node called so. */
static int weight_add(struct model *m, struct model_service *s, char *entry)
{
	char *equal = strchr(entry, '=');
	struct ip_addr a;
	uint64_t n;
	if (!equal)
		return -EINVAL;
	*equal = 0;
	const char *name = trim(entry);
	if (str_empty(name) || str_to_u64(trim(equal + 1), 255, &n) < 0 || s->weight_count + 2 > MODEL_MAX_WEIGHTS)
		return -EINVAL;
	s->weights = mem_realloc(s->weights, (s->weight_count + 2u) * sizeof(*s->weights));
	if (model_ip_parse(name, &a) == 0) {
		s->weights[s->weight_count].weight = (uint8_t)n;
		key_of_address(s->weights[s->weight_count++].key, a.family, a.bytes);
	}
	s->weights[s->weight_count].weight = (uint8_t)n;
	key_of_node(s->weights[s->weight_count++].key, intern_ref(&m->names, name));
	return 0;
}

static void weights_read(struct model *m, struct model_service *s, const char *text, struct err *err, int *r)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	strlist_split(&parts, text, ',');
	for (size_t i = 0; i < parts.count; i++) {
		_cleanup_free_ char *entry = mem_strdup(parts.items[i]);
		if (weight_add(m, s, entry) < 0)
			model_complain(err, r, "Service", s->ns, s->name, "keelson.dev/weights holds what is not NAME=0..255:",
				       parts.items[i]);
	}
	if (!s->weight_count)
		return;
	qsort(s->weights, s->weight_count, sizeof(*s->weights), weight_cmp);
	for (size_t i = 1; i < s->weight_count; i++)
		if (weight_cmp(&s->weights[i - 1], &s->weights[i]) == 0 && s->weights[i - 1].weight != s->weights[i].weight) {
			model_complain(err, r, "Service", s->ns, s->name, "keelson.dev/weights names one thing twice:", text);
			model_annotations_clear(m, s);
			return;
		}
}

void model_annotations_read(struct model *m, struct model_service *s, const json_t *object, struct err *err, int *r)
{
	static const char *const algorithms[] = {
		[MODEL_RANDOM] = "random", [MODEL_MAGLEV] = "maglev", [MODEL_LEAST] = "least-connections",
	};
	const json_t *all = object_annotations(object);
	const char *balancing = json_string_value(json_object_get(all, "keelson.dev/balancing"));
	const char *forwarding = json_string_value(json_object_get(all, "keelson.dev/forwarding"));
	const char *weights = json_string_value(json_object_get(all, "keelson.dev/weights"));
	size_t known = 0;
	while (balancing && known < ARRAY_SIZE(algorithms) && strcmp(algorithms[known], balancing) != 0)
		known++;
	s->algorithm = known < ARRAY_SIZE(algorithms) ? (uint8_t)known : MODEL_RANDOM;
	if (known == ARRAY_SIZE(algorithms))
		model_complain(err, r, "Service", s->ns, s->name,
			       "keelson.dev/balancing is not random, maglev or least-connections:", balancing);
	s->dsr = str_eq(forwarding, "dsr");
	if (forwarding && !s->dsr && strcmp(forwarding, "snat") != 0)
		model_complain(err, r, "Service", s->ns, s->name, "keelson.dev/forwarding is not snat or dsr:", forwarding);
	if (weights)
		weights_read(m, s, weights, err, r);
}

void model_annotations_clear(struct model *m, struct model_service *s)
{
	for (size_t i = 0; i < s->weight_count; i++)
		if (s->weights[i].key[0] == WEIGHT_KEY_NODE) {
			uint32_t node;
			memcpy(&node, s->weights[i].key + 1, sizeof(node));
			intern_unref(&m->names, node);
		}
	free(s->weights);
	s->weights = NULL;
	s->weight_count = 0;
}
