/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of core/v1 beside the workloads, of networking and of storage. */
#include "apiserver/table/table_internal.h"

#include <ctype.h>
#include <stdio.h>

#include "base/mem.h"

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_joined(struct strbuf *b, const char *s, const char *separator)
{
	if (b->len)
		strbuf_adds(b, separator);
	strbuf_adds(b, s);
}

static void row_name_age(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_age(row, o);
}

/* Sorted, unique addresses or names of the load balancer, then the external addresses. */
static void load_balancer_addresses(struct strbuf *b, const json_t *o)
{
	_cleanup_strlist_ struct strlist all = {0};
	json_t *ingress;
	size_t i;

	json_array_foreach(json_at(o, "status.loadBalancer.ingress"), i, ingress) {
		const char *s = *str_at(ingress, "ip") ? str_at(ingress, "ip") : str_at(ingress, "hostname");

		if (*s)
			strlist_add(&all, s);
	}
	if (all.count)
		qsort(all.items, all.count, sizeof(*all.items), name_cmp);
	for (i = 0; i < all.count; i++)
		if (i == 0 || strcmp(all.items[i], all.items[i - 1]) != 0)
			add_joined(b, all.items[i], ",");
}

static void cell_external_ip(struct row *row, const json_t *o)
{
	const json_t *external = json_at(o, "spec.externalIPs");
	const char *type = json_str_or(o, "spec.type", "");
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *v;
	size_t i;

	if (strcmp(type, "ExternalName") == 0) {
		cell(row, json_str_or(o, "spec.externalName", ""));
		return;
	}
	if (strcmp(type, "LoadBalancer") == 0)
		load_balancer_addresses(&b, o);
	json_array_foreach(external, i, v)
		add_joined(&b, json_string_value(v), ",");
	cell_or(row, b.data, strcmp(type, "LoadBalancer") == 0 ? "<pending>" : "<none>");
}

static void row_service(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *port;
	size_t i;

	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.type", ""));
	cell_or(row, json_str(o, "spec.clusterIPs[0]"), json_str_or(o, "spec.clusterIP", "<none>"));
	cell_external_ip(row, o);
	json_array_foreach(json_at(o, "spec.ports"), i, port) {
		strbuf_addf(&b, "%s%lld", i ? "," : "", (long long)int_at(port, "port"));
		if (int_at(port, "nodePort"))
			strbuf_addf(&b, ":%lld", (long long)int_at(port, "nodePort"));
		strbuf_addf(&b, "/%s", str_at(port, "protocol"));
	}
	cell_or(row, b.data, "<none>");
	cell_age(row, o);
	cell_labels(row, json_at(o, "spec.selector"));
}

/* Up to three "ip:port" over all subsets; an address without ports stands alone. */
static void cell_endpoints(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *subset, *address, *port;
	size_t i, k, p, count = 0;

	if (json_array_size(json_object_get(o, "subsets")) == 0) {
		cell(row, "<none>");
		return;
	}
	json_array_foreach(json_object_get(o, "subsets"), i, subset) {
		const json_t *addresses = json_object_get(subset, "addresses"),
			     *ports = json_object_get(subset, "ports");

		if (json_array_size(ports) == 0) {
			json_array_foreach(addresses, k, address) {
				if (count++ < 3)
					add_joined(&b, str_at(address, "ip"), ",");
			}
			continue;
		}
		json_array_foreach(ports, p, port) {
			json_array_foreach(addresses, k, address) {
				const char *ip = str_at(address, "ip");
				bool v6 = strchr(ip, ':');

				if (count++ >= 3)
					continue;
				strbuf_addf(&b, "%s%s%s%s:%lld", b.len ? "," : "", v6 ? "[" : "", ip, v6 ? "]" : "",
					    (long long)int_at(port, "port"));
			}
		}
	}
	more_text(&b, count);
	cell_buf(row, &b);
}

static void row_endpoints(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_endpoints(row, o);
	cell_age(row, o);
}

static void row_endpoint_slice(struct row *row, const json_t *o)
{
	const json_t *ports = json_object_get(o, "ports"), *endpoints = json_object_get(o, "endpoints");
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *v, *address;
	size_t i, k, count = 0;

	cell(row, name_of(o));
	cell(row, str_at(o, "addressType"));
	json_array_foreach(ports, i, v) {
		char number[24];

		snprintf(number, sizeof(number), "%lld", (long long)int_at(v, "port"));
		if (i < 3)
			add_joined(&b, json_is_integer(json_object_get(v, "port")) ? number : "*", ",");
	}
	more_text(&b, json_array_size(ports));
	cell_or(row, b.data, "<unset>");
	strbuf_reset(&b);
	json_array_foreach(endpoints, i, v) {
		json_array_foreach(json_object_get(v, "addresses"), k, address) {
			if (count++ < 3)
				add_joined(&b, json_string_value(address), ",");
		}
	}
	more_text(&b, count);
	cell_or(row, b.data, "<unset>");
	cell_age(row, o);
}

static void cell_node_status(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *c;
	size_t i;

	json_array_foreach(json_at(o, "status.conditions"), i, c) {
		if (strcmp(str_at(c, "type"), "Ready") == 0)
			add_joined(&b, strcmp(str_at(c, "status"), "True") == 0 ? "Ready" : "NotReady", ",");
	}
	if (b.len == 0)
		strbuf_adds(&b, "Unknown");
	if (json_bool(o, "spec.unschedulable", false))
		strbuf_adds(&b, ",SchedulingDisabled");
	cell_buf(row, &b);
}

static void cell_node_roles(struct row *row, const json_t *o)
{
	_cleanup_strlist_ struct strlist roles = {0};
	_cleanup_strbuf_ struct strbuf b = {0};
	const char *key;
	json_t *v;

	json_object_foreach(json_at(o, "metadata.labels"), key, v) {
		const char *role = str_after(key, "node-role.kubernetes.io/");

		if (!role && strcmp(key, "kubernetes.io/role") == 0)
			role = json_string_value(v);
		if (!str_empty(role))
			strlist_add(&roles, role);
	}
	if (roles.count)
		qsort(roles.items, roles.count, sizeof(*roles.items), name_cmp);
	for (size_t i = 0; i < roles.count; i++)
		if (i == 0 || strcmp(roles.items[i], roles.items[i - 1]) != 0)
			add_joined(&b, roles.items[i], ",");
	cell_or(row, b.data, "<none>");
}

static const char *node_address(const json_t *o, const char *type)
{
	json_t *a;
	size_t i;

	json_array_foreach(json_at(o, "status.addresses"), i, a) {
		if (strcmp(str_at(a, "type"), type) == 0)
			return str_at(a, "address");
	}
	return "";
}

static void row_node(struct row *row, const json_t *o)
{
	const json_t *info = json_at(o, "status.nodeInfo");
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	cell_node_status(row, o);
	cell_node_roles(row, o);
	cell_age(row, o);
	cell(row, str_at(info, "kubeletVersion"));
	cell_or(row, node_address(o, "InternalIP"), "<none>");
	cell_or(row, node_address(o, "ExternalIP"), "<none>");
	cell_or(row, str_at(info, "osImage"), "<unknown>");
	strbuf_adds(&b, *str_at(info, "kernelVersion") ? str_at(info, "kernelVersion") : "<unknown>");
	if (*str_at(info, "architecture"))
		strbuf_addf(&b, " (%s)", str_at(info, "architecture"));
	cell_buf(row, &b);
	cell_or(row, str_at(info, "containerRuntimeVersion"), "<unknown>");
}

/* Events have two shapes: the core group's and that of events.k8s.io. The first member that is there. */
static const char *either(const json_t *o, const char *a, const char *b)
{
	const char *s = json_str_or(o, a, "");

	return *s ? s : json_str_or(o, b, "");
}

static int64_t event_count(const json_t *o)
{
	int64_t n = json_int(o, "series.count", 0);

	if (!n)
		n = json_int(o, "count", 0);
	if (!n)
		n = json_int(o, "deprecatedCount", 0);
	return n ? n : 1;
}

static void cell_event_source(struct row *row, const json_t *o)
{
	const char *component = either(o, "source.component", "deprecatedSource.component");
	const char *host = either(o, "source.host", "deprecatedSource.host");
	_cleanup_strbuf_ struct strbuf b = {0};

	if (!*component) {
		component = either(o, "reportingComponent", "reportingController");
		host = json_str_or(o, "reportingInstance", "");
	}
	strbuf_adds(&b, component);
	if (*host)
		strbuf_addf(&b, ", %s", host);
	cell_buf(row, &b);
}

static void cell_event_object(struct row *row, const json_t *o)
{
	const char *name = either(o, "involvedObject.name", "regarding.name");
	_cleanup_strbuf_ struct strbuf b = {0};

	for (const char *c = either(o, "involvedObject.kind", "regarding.kind"); *c; c++)
		strbuf_addc(&b, (char)tolower((unsigned char)*c));
	if (*name)
		strbuf_addf(&b, "/%s", name);
	cell_buf(row, &b);
}

static void row_event(struct row *row, const json_t *o)
{
	const char *first = either(o, "firstTimestamp", "deprecatedFirstTimestamp"), *last, *message;
	_cleanup_free_ char *trimmed = NULL;
	size_t len;

	if (!*first)
		first = json_str_or(o, "eventTime", "");
	last = json_str_or(o, "series.lastObservedTime", "");
	if (!*last)
		last = either(o, "lastTimestamp", "deprecatedLastTimestamp");
	if (!*last)
		last = first;
	message = either(o, "message", "note");
	message += strspn(message, " \t\r\n");
	len = strlen(message);
	while (len && isspace((unsigned char)message[len - 1]))
		len--;
	trimmed = mem_strndup(message, len);
	cell_since(row, last, "<unknown>");
	cell(row, str_at(o, "type"));
	cell(row, str_at(o, "reason"));
	cell_event_object(row, o);
	cell(row, either(o, "involvedObject.fieldPath", "regarding.fieldPath"));
	cell_event_source(row, o);
	cell(row, trimmed);
	cell_since(row, first, "<unknown>");
	cell_int(row, event_count(o));
	cell(row, name_of(o));
}

static void row_namespace(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, json_str_or(o, "status.phase", ""));
	cell_age(row, o);
}

static void row_secret(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, str_at(o, "type"));
	cell_int(row, (int64_t)json_object_size(json_object_get(o, "data")));
	cell_age(row, o);
}

static void row_config_map(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, (int64_t)(json_object_size(json_object_get(o, "data")) +
				json_object_size(json_object_get(o, "binaryData"))));
	cell_age(row, o);
}

static void cell_access_modes(struct row *row, const json_t *modes)
{
	static const char *const names[][2] = { { "ReadWriteOnce", "RWO" },
						{ "ReadOnlyMany", "ROX" },
						{ "ReadWriteMany", "RWX" },
						{ "ReadWriteOncePod", "RWOP" } };
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *v;
	size_t i;

	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		json_array_foreach(modes, i, v) {
			if (str_eq(json_string_value(v), names[n][0])) {
				add_joined(&b, names[n][1], ",");
				break;
			}
		}
	}
	cell_buf(row, &b);
}

static const char *volume_class(const json_t *o)
{
	const char *beta = str_at(json_at(o, "metadata.annotations"), "volume.beta.kubernetes.io/storage-class");

	return *beta ? beta : json_str_or(o, "spec.storageClassName", "");
}

static void row_pv(struct row *row, const json_t *o)
{
	const char *claim_ns = json_str_or(o, "spec.claimRef.namespace", ""),
		   *claim = json_str_or(o, "spec.claimRef.name", "");
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.capacity.storage", ""));
	cell_access_modes(row, json_at(o, "spec.accessModes"));
	cell(row, json_str_or(o, "spec.persistentVolumeReclaimPolicy", ""));
	cell(row, json_str(o, "metadata.deletionTimestamp") ? "Terminating" : json_str_or(o, "status.phase", ""));
	if (*claim)
		strbuf_addf(&b, "%s/%s", claim_ns, claim);
	cell_buf(row, &b);
	cell(row, volume_class(o));
	cell_or(row, json_str(o, "spec.volumeAttributesClassName"), "<unset>");
	cell(row, json_str_or(o, "status.reason", ""));
	cell_age(row, o);
	cell_or(row, json_str(o, "spec.volumeMode"), "<unset>");
}

static void row_pvc(struct row *row, const json_t *o)
{
	const char *volume = json_str_or(o, "spec.volumeName", "");

	cell(row, name_of(o));
	cell(row, json_str(o, "metadata.deletionTimestamp") ? "Terminating" : json_str_or(o, "status.phase", ""));
	cell(row, volume);
	cell(row, *volume ? json_str_or(o, "status.capacity.storage", "0") : "");
	cell_access_modes(row, *volume ? json_at(o, "status.accessModes") : NULL);
	cell(row, volume_class(o));
	cell_or(row, json_str(o, "spec.volumeAttributesClassName"), "<unset>");
	cell_age(row, o);
	cell_or(row, json_str(o, "spec.volumeMode"), "<unset>");
}

static void row_component_status(struct row *row, const json_t *o)
{
	const char *status = "Unknown", *message = "", *error = "";
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(o, "conditions"), i, c) {
		if (strcmp(str_at(c, "type"), "Healthy") != 0)
			continue;
		status = strcmp(str_at(c, "status"), "True") == 0 ? "Healthy" : "Unhealthy";
		message = str_at(c, "message");
		error = str_at(c, "error");
	}
	cell(row, name_of(o));
	cell(row, status);
	cell(row, message);
	cell(row, error);
}

static void row_resource_quota(struct row *row, const json_t *o)
{
	const json_t *hard = json_at(o, "status.hard"), *used = json_at(o, "status.used");
	_cleanup_strbuf_ struct strbuf request = {0}, limit = {0};
	_cleanup_strlist_ struct strlist keys = {0};
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)hard, key, v)
		strlist_add(&keys, key);
	if (keys.count)
		qsort(keys.items, keys.count, sizeof(*keys.items), name_cmp);
	for (size_t i = 0; i < keys.count; i++) {
		struct strbuf *b = str_starts(keys.items[i], "limits.") ? &limit : &request;
		const char *u = str_at(used, keys.items[i]);

		strbuf_addf(b, "%s%s: %s/%s", b->len ? ", " : "", keys.items[i], *u ? u : "0",
			    str_at(hard, keys.items[i]));
	}
	cell(row, name_of(o));
	cell_buf(row, &request);
	cell_buf(row, &limit);
	cell_age(row, o);
}

#define INT "integer"
#define S(n) { n, NULL, false }
#define W(n) { n, NULL, true }
#define AGE S("Age")
#define EVENT_COLUMNS                                                                                           \
	{                                                                                                       \
		S("Last Seen"), S("Type"), S("Reason"), S("Object"), W("Subobject"), W("Source"), S("Message"), \
			W("First Seen"), { "Count", INT, true }, W("Name")                                      \
	}

static const struct table_kind kinds[] = {
	{ "",
	  "services",
	  row_service,
	  { S("Type"), S("Cluster-IP"), S("External-IP"), S("Port(s)"), AGE, W("Selector") },
	  false },
	{ "", "endpoints", row_endpoints, { S("Endpoints"), AGE }, false },
	{ "discovery.k8s.io",
	  "endpointslices",
	  row_endpoint_slice,
	  { S("AddressType"), S("Ports"), S("Endpoints"), AGE },
	  false },
	{ "",
	  "nodes",
	  row_node,
	  { S("Status"), S("Roles"), AGE, S("Version"), W("Internal-IP"), W("External-IP"), W("OS-Image"),
	    W("Kernel-Version"), W("Container-Runtime") },
	  false },
	{ "", "events", row_event, EVENT_COLUMNS, true },
	{ "events.k8s.io", "events", row_event, EVENT_COLUMNS, true },
	{ "", "namespaces", row_namespace, { S("Status"), AGE }, false },
	{ "", "secrets", row_secret, { S("Type"), S("Data"), AGE }, false },
	{ "", "serviceaccounts", row_name_age, { AGE }, false },
	{ "", "configmaps", row_config_map, { S("Data"), AGE }, false },
	{ "",
	  "persistentvolumes",
	  row_pv,
	  { S("Capacity"), S("Access Modes"), S("Reclaim Policy"), S("Status"), S("Claim"), S("StorageClass"),
	    S("VolumeAttributesClass"), S("Reason"), AGE, W("VolumeMode") },
	  false },
	{ "",
	  "persistentvolumeclaims",
	  row_pvc,
	  { S("Status"), S("Volume"), S("Capacity"), S("Access Modes"), S("StorageClass"), S("VolumeAttributesClass"),
	    AGE, W("VolumeMode") },
	  false },
	{ "", "componentstatuses", row_component_status, { S("Status"), S("Message"), S("Error") }, false },
	{ "", "resourcequotas", row_resource_quota, { S("Request"), S("Limit"), AGE }, false },
};
const struct table_group table_core = { kinds, ARRAY_SIZE(kinds) };
