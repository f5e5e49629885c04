// SPDX-License-Identifier: GPL-2.0-or-later
/* Sets of labels in use, counted by the pods that have them: namespace -> key of INDEX_LABELS -> set. */
#include "controllers/labelsets.h"

#include "base/map.h"
#include "base/mem.h"
#include "controllers/caches.h"
#include "kube/object.h"

struct set {
	json_t *labels; /* own */
	size_t pods;
};
struct labelsets {
	struct map *namespaces; /* name -> struct map of struct set */
	size_t count;
};

static void set_free(void *p)
{
	struct set *set = p;

	json_decref(set->labels);
	free(set);
}

static void namespace_free(void *p)
{
	map_free(p);
}

struct labelsets *labelsets_new(void)
{
	struct labelsets *s = mem_new(struct labelsets);

	s->namespaces = map_new(namespace_free);
	return s;
}

struct labelsets *labelsets_free(struct labelsets *s)
{
	if (s) {
		map_free(s->namespaces);
		free(s);
	}
	return NULL;
}

size_t labelsets_count(const struct labelsets *s)
{
	return s->count;
}

static void add(struct labelsets *s, const json_t *pod)
{
	_cleanup_free_ char *key = caches_labels_key(pod);
	struct map *sets = map_get(s->namespaces, object_namespace(pod));
	struct set *set;

	if (!sets) {
		sets = map_new(set_free);
		map_set(s->namespaces, object_namespace(pod), sets);
	}
	set = map_get(sets, key);
	if (!set) {
		set = mem_new(struct set);
		set->labels = json_deep_copy(object_labels(pod));
		map_set(sets, key, set);
		s->count++;
	}
	set->pods++;
}

static void drop(struct labelsets *s, const json_t *pod)
{
	_cleanup_free_ char *key = caches_labels_key(pod);
	struct map *sets = map_get(s->namespaces, object_namespace(pod));
	struct set *set = sets ? map_get(sets, key) : NULL;

	if (!set || --set->pods)
		return;
	map_del(sets, key);
	s->count--;
	if (!map_count(sets))
		map_del(s->namespaces, object_namespace(pod));
}

void labelsets_change(struct labelsets *s, const json_t *old, const json_t *new)
{
	if (old && new && json_same(object_labels(old), object_labels(new)))
		return;
	if (new)
		add(s, new);
	if (old)
		drop(s, old);
}

void labelsets_find(const struct labelsets *s, const struct informer *pods, const char *ns, const json_t *selector,
		    struct object_list *ret_pods)
{
	const struct map *sets = map_get(s->namespaces, ns);
	const char *key;
	size_t it = 0;
	void *p;

	while (sets && map_next(sets, &it, &key, &p)) {
		const struct set *set = p;

		if (map_selects(selector, set->labels))
			object_list_add_index(ret_pods, pods, INDEX_LABELS, key);
	}
}

void labelsets_find_selected(const struct labelsets *s, const struct informer *pods, const char *ns,
			     const struct selector *selector, struct object_list *ret_pods)
{
	const struct map *sets = map_get(s->namespaces, ns);
	const char *key;
	size_t it = 0;
	void *p;

	while (sets && map_next(sets, &it, &key, &p)) {
		const struct set *set = p;

		if (selector_matches(selector, set->labels))
			object_list_add_index(ret_pods, pods, INDEX_LABELS, key);
	}
}
