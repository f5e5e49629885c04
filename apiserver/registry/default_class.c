// SPDX-License-Identifier: GPL-2.0-or-later
/* DefaultStorageClass and DefaultIngressClass admission: who names no class gets the default one. */
#include <string.h>

#include "apiserver/registry/registry.h"
#include "base/mem.h"
#include "kube/object.h"

/* The newest class that calls itself the default; of equally old ones the first by name. Own, NULL: there is none. */
static char *default_class(struct registry *g, const struct schema_resource *classes, const char *annotation)
{
	_cleanup_free_ char *created = NULL;
	char *best = NULL;
	struct store_iter it = store_iterate(g->store, classes->id, NULL);
	for (struct store_object *o; (o = store_next(&it));) {
		_cleanup_json_ json_t *class = entry_parse_shared(o);
		const char *is = json_string_value(json_object_get(json_at(class, "metadata.annotations"), annotation));
		const char *since = json_str_or(class, "metadata.creationTimestamp", "");
		if (!str_eq(is, "true") || (best && strcmp(since, created) <= 0))
			continue;
		free(best);
		free(created);
		best = mem_strdup(object_name(class));
		created = mem_strdup(since);
	}
	return best;
}

void default_class_admit(struct registry *g, const struct schema_resource *storage, json_t *object)
{
	static const struct {
		const char *group, *plural, *field, *old_annotation, *class_group, *classes, *annotation;
	} kinds[] = {
		{ "", "persistentvolumeclaims", "spec.storageClassName", "volume.beta.kubernetes.io/storage-class", "storage.k8s.io",
		  "storageclasses", "storageclass.kubernetes.io/is-default-class" },
		{ "networking.k8s.io", "ingresses", "spec.ingressClassName", "kubernetes.io/ingress.class", "networking.k8s.io",
		  "ingressclasses", "ingressclass.kubernetes.io/is-default-class" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!resource_is(storage, kinds[i].group, kinds[i].plural) || json_at(object, kinds[i].field) ||
		    json_object_get(json_at(object, "metadata.annotations"), kinds[i].old_annotation))
			continue;
		const struct schema_resource *classes = schema_resource_find(kinds[i].class_group, "v1", kinds[i].classes);
		_cleanup_free_ char *name = classes ? default_class(g, classes, kinds[i].annotation) : NULL;
		if (name)
			json_set_str(object, kinds[i].field, name);
	}
}
