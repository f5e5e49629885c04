/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The labels that field selectors may name, kind by kind; every kind has metadata.name and metadata.namespace. */
#include "apiserver/validate/validate_internal.h"

#include <stdio.h>

struct field_labels {
	const char *group, *plural;
	/* The label, and the path of its value when that differs ("label=path"). */
	const char *labels[16];
};

static const struct field_labels kinds[] = {
	{ "",
	  "pods",
	  { "spec.nodeName", "spec.host=spec.nodeName", "spec.restartPolicy", "spec.schedulerName",
	    "spec.serviceAccountName", "spec.hostNetwork=", "status.phase", "status.podIP", "status.podIPs=-",
	    "status.nominatedNodeName" } },
	{ "", "nodes", { "spec.unschedulable=" } },
	{ "", "namespaces", { "status.phase" } },
	{ "", "secrets", { "type" } },
	{ "", "services", { "spec.clusterIP", "spec.type" } },
	{ "", "replicationcontrollers", { "status.replicas=" } },
	{ "",
	  "events",
	  { "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
	    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
	    "reportingComponent", "source=source.component", "type" } },
	{ "events.k8s.io",
	  "events",
	  { "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion",
	    "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type" } },
	{ "batch", "jobs", { "status.successful=status.succeeded" } },
	{ "certificates.k8s.io", "certificatesigningrequests", { "spec.signerName" } },
	{ "certificates.k8s.io", "clustertrustbundles", { "spec.signerName" } },
	{ "certificates.k8s.io", "podcertificaterequests", { "spec.signerName", "spec.podName", "spec.nodeName" } },
	{ "resource.k8s.io", "resourceslices", { "spec.nodeName", "spec.driver" } },
};

/* The path of a label's value, or NULL. "" and NULL-free: a trailing "=" means "the label's own path, false or 0 when
 * absent". */
static const char *find_path(const struct schema_resource *r, const char *label, bool *ret_typed)
{
	*ret_typed = false;
	if (strcmp(label, "metadata.name") == 0 || strcmp(label, "metadata.namespace") == 0)
		return label;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].group, r->group) != 0 || strcmp(kinds[i].plural, r->plural) != 0)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(kinds[i].labels) && kinds[i].labels[k]; k++) {
			const char *entry = kinds[i].labels[k];
			size_t len = strcspn(entry, "=");

			if (strlen(label) != len || strncmp(entry, label, len) != 0)
				continue;
			if (!entry[len])
				return label;
			*ret_typed = true;
			return entry[len + 1] ? entry + len + 1 : label;
		}
	}
	return NULL;
}

bool field_label_supported(const struct schema_resource *r, const char *label)
{
	bool typed;

	return find_path(r, label, &typed) != NULL;
}

/* What a typed label is when its field is absent. */
static const char *absent(const char *label)
{
	if (one_of(label, WORDS("spec.hostNetwork", "spec.unschedulable")))
		return "false";
	return one_of(label, WORDS("status.replicas", "status.successful")) ? "0" : "";
}

const char *field_label(const struct schema_resource *r, const json_t *object, const char *label, char *buf,
			size_t buf_size)
{
	bool typed;
	const char *path = find_path(r, label, &typed);
	const json_t *v;

	if (!path)
		return NULL;
	if (strcmp(path, "-") == 0)
		return "";
	v = json_at(object, path);
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "true" : "false";
	if (json_is_integer(v)) {
		snprintf(buf, buf_size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return buf;
	}
	/* Events of the two groups are one storage. */
	if (strcmp(label, "reportingComponent") == 0 && json_str(object, "reportingComponent") == NULL)
		return json_str_or(object, "reportingController", "");
	if (strcmp(label, "source") == 0)
		return json_str_or(object, "reportingComponent", "");
	return typed ? absent(label) : "";
}
