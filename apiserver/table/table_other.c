/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the groups beside core, apps, batch and autoscaling: networking, RBAC, storage, policies, leases,
 * certificates. */
#include "apiserver/table/table_internal.h"

#include <stdio.h>

static void cell_name_default(struct row *row, const json_t *o, const char *annotation)
{
	_cleanup_strbuf_ struct strbuf b = {0};

	strbuf_adds(&b, name_of(o));
	if (strcmp(str_at(json_at(o, "metadata.annotations"), annotation), "true") == 0)
		strbuf_adds(&b, " (default)");
	cell_buf(row, &b);
}

static void cell_joined_ref(struct row *row, const char *a, const char *b)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	strbuf_addf(&text, "%s/%s", a, b);
	cell_buf(row, &text);
}

static void cell_ingress_hosts(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	size_t i, count = 0;
	json_t *rule;

	json_array_foreach(json_at(o, "spec.rules"), i, rule) {
		if (*str_at(rule, "host") && count++ < 3)
			strbuf_addf(&b, "%s%s", b.len ? "," : "", str_at(rule, "host"));
	}
	more_text(&b, count);
	cell_or(row, b.data, "*");
}

static void cell_ingress_addresses(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *v;
	size_t i;

	json_array_foreach(json_at(o, "status.loadBalancer.ingress"), i, v) {
		const char *s = *str_at(v, "ip") ? str_at(v, "ip") : str_at(v, "hostname");

		if (*s)
			strbuf_addf(&b, "%s%s", b.len ? "," : "", s);
	}
	cell_buf(row, &b);
}

static void row_ingress(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_or(row, json_str(o, "spec.ingressClassName"), "<none>");
	cell_ingress_hosts(row, o);
	cell_ingress_addresses(row, o);
	cell(row, json_array_size(json_at(o, "spec.tls")) ? "80, 443" : "80");
	cell_age(row, o);
}

static void row_ingress_class(struct row *row, const json_t *o)
{
	const json_t *p = json_at(o, "spec.parameters");
	_cleanup_strbuf_ struct strbuf b = {0};

	cell_name_default(row, o, "ingressclass.kubernetes.io/is-default-class");
	cell(row, json_str_or(o, "spec.controller", ""));
	if (p) {
		strbuf_adds(&b, str_at(p, "kind"));
		if (*str_at(p, "apiGroup"))
			strbuf_addf(&b, ".%s", str_at(p, "apiGroup"));
		strbuf_addf(&b, "/%s", str_at(p, "name"));
	}
	cell_or(row, b.data, "<none>");
	cell_age(row, o);
}

static void row_network_policy(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_selector(row, json_at(o, "spec.podSelector"), "<none>", "<error>");
	cell_age(row, o);
}

static void row_service_cidr(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_list(row, json_at(o, "spec.cidrs"), ",", "");
	cell_age(row, o);
}

static void row_ip_address(struct row *row, const json_t *o)
{
	const json_t *ref = json_at(o, "spec.parentRef");
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	if (ref) {
		strbuf_adds(&b, str_at(ref, "resource"));
		if (*str_at(ref, "group"))
			strbuf_addf(&b, ".%s", str_at(ref, "group"));
		if (*str_at(ref, "namespace"))
			strbuf_addf(&b, "/%s", str_at(ref, "namespace"));
		strbuf_addf(&b, "/%s", str_at(ref, "name"));
	}
	cell_or(row, b.data, "<none>");
	cell_age(row, o);
}

static void cell_subjects(struct row *row, const json_t *o, const char *kind)
{
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *s;
	size_t i;

	json_array_foreach(json_object_get(o, "subjects"), i, s) {
		if (strcmp(str_at(s, "kind"), kind) != 0)
			continue;
		if (b.len)
			strbuf_adds(&b, ", ");
		if (strcmp(kind, "ServiceAccount") == 0)
			strbuf_addf(&b, "%s/", str_at(s, "namespace"));
		strbuf_adds(&b, str_at(s, "name"));
	}
	cell_buf(row, &b);
}

static void row_role_binding(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_joined_ref(row, json_str_or(o, "roleRef.kind", ""), json_str_or(o, "roleRef.name", ""));
	cell_age(row, o);
	cell_subjects(row, o, "User");
	cell_subjects(row, o, "Group");
	cell_subjects(row, o, "ServiceAccount");
}

static void cell_csr_condition(struct row *row, const json_t *o)
{
	bool approved = false, denied = false, failed = false;
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *c;
	size_t i;

	json_array_foreach(json_at(o, "status.conditions"), i, c) {
		approved |= strcmp(str_at(c, "type"), "Approved") == 0;
		denied |= strcmp(str_at(c, "type"), "Denied") == 0;
		failed |= strcmp(str_at(c, "type"), "Failed") == 0;
	}
	strbuf_adds(&b, denied ? "Denied" : approved ? "Approved" : "Pending");
	if (failed)
		strbuf_adds(&b, ",Failed");
	if (*json_str_or(o, "status.certificate", ""))
		strbuf_adds(&b, ",Issued");
	cell_buf(row, &b);
}

static void row_csr(struct row *row, const json_t *o)
{
	int64_t seconds = json_int(o, "spec.expirationSeconds", -1);
	char text[32];

	cell(row, name_of(o));
	cell_age(row, o);
	cell_or(row, json_str(o, "spec.signerName"), "<none>");
	cell(row, json_str_or(o, "spec.username", ""));
	if (seconds >= 0)
		human_duration(seconds, text);
	cell(row, seconds >= 0 ? text : "<none>");
	cell_csr_condition(row, o);
}

static void row_lease(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.holderIdentity", ""));
	cell_age(row, o);
}

static void row_storage_class(struct row *row, const json_t *o)
{
	const json_t *expand = json_object_get(o, "allowVolumeExpansion");

	cell_name_default(row, o, "storageclass.kubernetes.io/is-default-class");
	cell(row, str_at(o, "provisioner"));
	cell_or(row, str_at(o, "reclaimPolicy"), "Delete");
	cell_or(row, str_at(o, "volumeBindingMode"), "Immediate");
	cell_bool(row, json_is_true(expand));
	cell_age(row, o);
}

static void row_volume_attributes_class(struct row *row, const json_t *o)
{
	cell_name_default(row, o, "volumeattributesclass.alpha.kubernetes.io/is-default-class");
	cell(row, str_at(o, "driverName"));
	cell_age(row, o);
}

static void row_volume_attachment(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.attacher", ""));
	cell(row, json_str_or(o, "spec.source.persistentVolumeName", ""));
	cell(row, json_str_or(o, "spec.nodeName", ""));
	cell_bool(row, json_bool(o, "status.attached", false));
	cell_age(row, o);
}

static void row_csi_node(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, (int64_t)json_array_size(json_at(o, "spec.drivers")));
	cell_age(row, o);
}

static void row_csi_driver(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf audiences = {0};
	json_t *request;
	size_t i;

	json_array_foreach(json_at(o, "spec.tokenRequests"), i, request)
		strbuf_addf(&audiences, "%s%s", i ? "," : "", str_at(request, "audience"));
	cell(row, name_of(o));
	cell_bool(row, json_bool(o, "spec.attachRequired", true));
	cell_bool(row, json_bool(o, "spec.podInfoOnMount", false));
	cell_bool(row, json_bool(o, "spec.storageCapacity", false));
	cell(row, json_at(o, "spec.tokenRequests") ? audiences.data : "<unset>");
	cell_bool(row, json_bool(o, "spec.requiresRepublish", false));
	cell_list(row, json_at(o, "spec.volumeLifecycleModes"), ",", "<none>");
	cell_age(row, o);
}

static void row_priority_class(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, int_at(o, "value"));
	cell_bool(row, json_is_true(json_object_get(o, "globalDefault")));
	cell_age(row, o);
	cell(row, str_at(o, "preemptionPolicy"));
}

static void row_runtime_class(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell(row, str_at(o, "handler"));
	cell_age(row, o);
}

static void row_webhooks(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, (int64_t)json_array_size(json_object_get(o, "webhooks")));
	cell_age(row, o);
}

static void cell_param_kind(struct row *row, const json_t *o)
{
	const json_t *kind = json_at(o, "spec.paramKind");

	if (kind)
		cell_joined_ref(row, str_at(kind, "apiVersion"), str_at(kind, "kind"));
	else
		cell(row, "<unset>");
}

static void row_validating_policy(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, (int64_t)json_array_size(json_at(o, "spec.validations")));
	cell_param_kind(row, o);
	cell_age(row, o);
}

static void row_mutating_policy(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_int(row, (int64_t)json_array_size(json_at(o, "spec.mutations")));
	cell_param_kind(row, o);
	cell_age(row, o);
}

static void row_policy_binding(struct row *row, const json_t *o)
{
	const json_t *ref = json_at(o, "spec.paramRef");
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.policyName", ""));
	if (!ref)
		strbuf_adds(&b, "<unset>");
	else if (*str_at(ref, "namespace"))
		strbuf_addf(&b, "%s/%s", str_at(ref, "namespace"), str_at(ref, "name"));
	else
		strbuf_addf(&b, "*/%s", str_at(ref, "name"));
	cell_buf(row, &b);
	cell_age(row, o);
}

static void row_flow_schema(struct row *row, const json_t *o)
{
	const char *dangling = "?";
	json_t *c;
	size_t i;

	json_array_foreach(json_at(o, "status.conditions"), i, c) {
		if (strcmp(str_at(c, "type"), "Dangling") == 0)
			dangling = str_at(c, "status");
	}
	cell(row, name_of(o));
	cell_or(row, json_str(o, "spec.priorityLevelConfiguration.name"), "<none>");
	cell_int(row, json_int(o, "spec.matchingPrecedence", 0));
	cell_or(row, json_str(o, "spec.distinguisherMethod.type"), "<none>");
	cell_age(row, o);
	cell(row, dangling);
}

static void row_priority_level(struct row *row, const json_t *o)
{
	static const char *const paths[] = { "spec.limited.nominalConcurrencyShares",
					     "spec.limited.limitResponse.queuing.queues",
					     "spec.limited.limitResponse.queuing.handSize",
					     "spec.limited.limitResponse.queuing.queueLengthLimit" };

	cell(row, name_of(o));
	cell(row, json_str_or(o, "spec.type", ""));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const json_t *v = json_at(o, paths[i]);

		if (json_is_integer(v))
			cell_int(row, json_integer_value(v));
		else
			cell(row, "<none>");
	}
	cell_age(row, o);
}

static void row_api_service(struct row *row, const json_t *o)
{
	const json_t *service = json_at(o, "spec.service");
	_cleanup_strbuf_ struct strbuf b = {0};
	json_t *c;
	size_t i;

	cell(row, name_of(o));
	if (service)
		cell_joined_ref(row, str_at(service, "namespace"), str_at(service, "name"));
	else
		cell(row, "Local");
	json_array_foreach(json_at(o, "status.conditions"), i, c) {
		if (strcmp(str_at(c, "type"), "Available") != 0)
			continue;
		strbuf_adds(&b, str_at(c, "status"));
		if (strcmp(str_at(c, "status"), "True") != 0)
			strbuf_addf(&b, " (%s)", str_at(c, "reason"));
	}
	cell_or(row, b.data, "Unknown");
	cell_age(row, o);
}

static void row_name_age(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_age(row, o);
}

static void row_resource_claim(struct row *row, const json_t *o)
{
	_cleanup_strbuf_ struct strbuf b = {0};

	cell(row, name_of(o));
	if (json_str(o, "metadata.deletionTimestamp"))
		strbuf_adds(&b, "deleted,");
	if (!json_at(o, "status.allocation")) {
		strbuf_adds(&b, "pending");
	} else {
		strbuf_adds(&b, "allocated");
		strbuf_adds(&b, json_array_size(json_at(o, "status.reservedFor")) ? ",reserved" : "");
	}
	cell_buf(row, &b);
	cell_age(row, o);
}

static void row_resource_slice(struct row *row, const json_t *o)
{
	cell(row, name_of(o));
	cell_or(row, json_str(o, "spec.nodeName"), "<unset>");
	cell(row, json_str_or(o, "spec.driver", ""));
	cell(row, json_str_or(o, "spec.pool.name", ""));
	cell_age(row, o);
}

#define S(n) { n, NULL, false }
#define I(n) { n, "integer", false }
#define B(n) { n, "boolean", false }
#define W(n) { n, NULL, true }
#define AGE S("Age")
#define ADMISSION "admissionregistration.k8s.io"
#define RBAC "rbac.authorization.k8s.io"
#define FLOW "flowcontrol.apiserver.k8s.io"

static const struct table_kind kinds[] = {
	{ "networking.k8s.io",
	  "ingresses",
	  row_ingress,
	  { S("Class"), S("Hosts"), S("Address"), S("Ports"), AGE },
	  false },
	{ "networking.k8s.io", "ingressclasses", row_ingress_class, { S("Controller"), S("Parameters"), AGE }, false },
	{ "networking.k8s.io", "networkpolicies", row_network_policy, { S("Pod-Selector"), AGE }, false },
	{ "networking.k8s.io", "servicecidrs", row_service_cidr, { S("CIDRs"), AGE }, false },
	{ "networking.k8s.io", "ipaddresses", row_ip_address, { S("ParentRef") }, false },
	{ RBAC,
	  "rolebindings",
	  row_role_binding,
	  { S("Role"), AGE, W("Users"), W("Groups"), W("ServiceAccounts") },
	  false },
	{ RBAC,
	  "clusterrolebindings",
	  row_role_binding,
	  { S("Role"), AGE, W("Users"), W("Groups"), W("ServiceAccounts") },
	  false },
	{ "certificates.k8s.io",
	  "certificatesigningrequests",
	  row_csr,
	  { AGE, S("SignerName"), S("Requestor"), S("RequestedDuration"), S("Condition") },
	  false },
	{ "coordination.k8s.io", "leases", row_lease, { S("Holder"), AGE }, false },
	{ "storage.k8s.io",
	  "storageclasses",
	  row_storage_class,
	  { S("Provisioner"), S("ReclaimPolicy"), S("VolumeBindingMode"), S("AllowVolumeExpansion"), AGE },
	  false },
	{ "storage.k8s.io", "volumeattributesclasses", row_volume_attributes_class, { S("DriverName"), AGE }, false },
	{ "storage.k8s.io",
	  "volumeattachments",
	  row_volume_attachment,
	  { S("Attacher"), S("PV"), S("Node"), B("Attached"), AGE },
	  false },
	{ "storage.k8s.io", "csinodes", row_csi_node, { I("Drivers"), AGE }, false },
	{ "storage.k8s.io",
	  "csidrivers",
	  row_csi_driver,
	  { B("AttachRequired"), B("PodInfoOnMount"), B("StorageCapacity"), S("TokenRequests"), B("RequiresRepublish"),
	    S("Modes"), AGE },
	  false },
	{ "scheduling.k8s.io",
	  "priorityclasses",
	  row_priority_class,
	  { I("Value"), B("Global-Default"), AGE, S("PreemptionPolicy") },
	  false },
	{ "node.k8s.io", "runtimeclasses", row_runtime_class, { S("Handler"), AGE }, false },
	{ ADMISSION, "mutatingwebhookconfigurations", row_webhooks, { I("Webhooks"), AGE }, false },
	{ ADMISSION, "validatingwebhookconfigurations", row_webhooks, { I("Webhooks"), AGE }, false },
	{ ADMISSION,
	  "validatingadmissionpolicies",
	  row_validating_policy,
	  { I("Validations"), S("ParamKind"), AGE },
	  false },
	{ ADMISSION,
	  "validatingadmissionpolicybindings",
	  row_policy_binding,
	  { S("PolicyName"), S("ParamRef"), AGE },
	  false },
	{ ADMISSION, "mutatingadmissionpolicies", row_mutating_policy, { I("Mutations"), S("ParamKind"), AGE }, false },
	{ ADMISSION,
	  "mutatingadmissionpolicybindings",
	  row_policy_binding,
	  { S("PolicyName"), S("ParamRef"), AGE },
	  false },
	{ FLOW,
	  "flowschemas",
	  row_flow_schema,
	  { S("PriorityLevel"), S("MatchingPrecedence"), S("DistinguisherMethod"), AGE, S("MissingPL") },
	  false },
	{ FLOW,
	  "prioritylevelconfigurations",
	  row_priority_level,
	  { S("Type"), S("NominalConcurrencyShares"), S("Queues"), S("HandSize"), S("QueueLengthLimit"), AGE },
	  false },
	{ "apiregistration.k8s.io", "apiservices", row_api_service, { S("Service"), S("Available"), AGE }, false },
	{ "resource.k8s.io", "deviceclasses", row_name_age, { AGE }, false },
	{ "resource.k8s.io", "resourceclaims", row_resource_claim, { S("State"), AGE }, false },
	{ "resource.k8s.io", "resourceclaimtemplates", row_name_age, { AGE }, false },
	{ "resource.k8s.io", "resourceslices", row_resource_slice, { S("Node"), S("Driver"), S("Pool"), AGE }, false },
};
const struct table_group table_other = { kinds, ARRAY_SIZE(kinds) };
