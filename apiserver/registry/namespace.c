// SPDX-License-Identifier: GPL-2.0-or-later
/* What is special to namespaces: what may be made in them, and their finalizers. */
#include "apiserver/registry/registry.h"
#include "kube/object.h"

json_t *namespace_admit(struct registry *g, const struct schema_resource *storage, const char *ns, const char *name)
{
	struct store_object *o = store_latest(g->store, g->namespaces->id, ns);
	_cleanup_json_ json_t *v = NULL;
	if (!o)
		return status_not_found(g->namespaces, ns);
	/* A namespace's phase is kept beside its entry. */
	if (!str_eq(entry_field(o, 0), "Terminating"))
		return NULL;
	v = entry_parse(o);
	if (!object_deleting(v))
		return NULL;
	_cleanup_free_ char *text = str_printf("unable to create new content in namespace %s because it is being terminated", ns);
	_cleanup_free_ char *cause = str_printf("namespace %s is being terminated", ns);
	json_t *status = status_forbidden(storage, name, text);
	status_add_cause(status, "NamespaceTerminating", cause, "metadata.namespace");
	return status;
}

/* PUT /finalize: only spec.finalizers changes; the last one gone removes a namespace that is being deleted. */
void namespace_finalize(struct call *c)
{
	struct registry *g = c->g;
	_cleanup_json_ json_t *object = NULL, *new = NULL;
	struct store_object *latest;
	json_t *status = body_object(c, c->r, &object), *finalizers;
	call_ref(c);
	if (!status)
		status = registry_find(g, c->storage, "", c->u.name, &latest);
	if (status) {
		write_refused(c, status);
		return;
	}
	new = entry_parse(latest);
	if (!str_empty(object_resource_version(object)) &&
	    !str_eq(object_resource_version(object), object_resource_version(new))) {
		write_refused(c, status_conflict(c->storage, c->u.name, NULL));
		return;
	}
	finalizers = json_at(object, "spec.finalizers");
	if (json_array_size(finalizers))
		json_set(new, "spec.finalizers", json_incref(finalizers));
	else
		json_unset(new, "spec.finalizers");
	if (object_deleting(new) && !json_array_size(json_at(new, "spec.finalizers")) &&
	    !json_array_size(json_at(new, "metadata.finalizers")))
		status = registry_remove(g, c->storage, latest, new, c->dry_run, write_answer_ok, c);
	else
		status = registry_put(g, c->storage, latest, new, c->dry_run, write_answer_ok, c);
	write_refused(c, status);
}
