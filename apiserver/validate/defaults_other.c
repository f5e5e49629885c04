/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults of the groups beside core, apps and batch. */
#include "apiserver/validate/defaults.h"
#include "apiserver/validate/validate_internal.h"

#include <ctype.h>

static void hpa_v2_spec(json_t *spec)
{
	if (json_array_size(get(spec, "metrics")) == 0)
		json_object_set_new(spec, "metrics",
				    json_pack("[{s:s, s:{s:s, s:{s:s, s:i}}}]", "type", "Resource", "resource", "name",
					      "cpu", "target", "type", "Utilization", "averageUtilization", 80));
}

static json_t *scaling_policy(const char *type, int value)
{
	return json_pack("{s:s, s:i, s:i}", "type", type, "value", value, "periodSeconds", 15);
}

static void hpa_behavior(json_t *behavior)
{
	json_t *up = default_object(behavior, "scaleUp"), *down = default_object(behavior, "scaleDown");

	default_int(up, "stabilizationWindowSeconds", 0);
	default_str(up, "selectPolicy", "Max");
	if (!get(up, "policies"))
		json_object_set_new(up, "policies",
				    json_pack("[o, o]", scaling_policy("Pods", 4), scaling_policy("Percent", 100)));
	default_str(down, "selectPolicy", "Max");
	if (!get(down, "policies"))
		json_object_set_new(down, "policies", json_pack("[o]", scaling_policy("Percent", 100)));
}

static void network_policy_spec(json_t *spec)
{
	if (json_array_size(get(spec, "policyTypes")) > 0)
		return;
	json_object_set_new(spec, "policyTypes", json_pack("[s]", "Ingress"));
	if (json_array_size(get(spec, "egress")) > 0)
		json_array_append_new(json_object_get(spec, "policyTypes"), json_string("Egress"));
}

static void csi_driver_spec(json_t *spec)
{
	if (json_array_size(get(spec, "volumeLifecycleModes")) == 0)
		json_object_set_new(spec, "volumeLifecycleModes", json_pack("[s]", "Persistent"));
	json_object_del(spec, "preventPodSchedulingIfMissing"); /* VolumeLimitScaling is off */
}

static void role_ref(json_t *ref)
{
	default_str(ref, "apiGroup", "rbac.authorization.k8s.io");
}

static void subject(json_t *s)
{
	if (one_of(get_str(s, "kind"), WORDS("User", "Group")))
		default_str(s, "apiGroup", "rbac.authorization.k8s.io");
}

static void lease_spec(json_t *spec)
{
	json_object_del(spec, "strategy"); /* CoordinatedLeaderElection is off */
	json_object_del(spec, "preferredHolder");
}

static void admission_policy_match(json_t *match)
{
	default_str(match, "matchPolicy", "Equivalent");
	default_object(match, "namespaceSelector");
	default_object(match, "objectSelector");
}

static void crd_names(json_t *names)
{
	const char *kind = get_str(names, "kind");
	_cleanup_free_ char *lower = mem_strdup(kind), *list = NULL;

	if (!*kind)
		return;
	for (char *c = lower; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	default_str(names, "singular", lower);
	list = str_printf("%sList", kind);
	default_str(names, "listKind", list);
}

static void crd_conversion(json_t *conversion)
{
	json_t *service = json_at(conversion, "webhook.clientConfig.service");

	default_str(conversion, "strategy", "None");
	if (service)
		default_int(service, "port", 443);
}

static void crd(json_t *o)
{
	json_t *status, *version;
	size_t i;

	if (json_array_size(json_at(o, "status.storedVersions")) > 0)
		return;
	json_array_foreach(json_at(o, "spec.versions"), i, version) {
		if (!get_bool(version, "storage"))
			continue;
		status = default_object(o, "status");
		json_object_set_new(status, "storedVersions", json_pack("[s]", get_str(version, "name")));
		return;
	}
}

static void api_service_port(json_t *service)
{
	default_int(service, "port", 443);
}

static void device_request(json_t *request)
{
	default_str(request, "allocationMode", "ExactCount");
	if (strcmp(get_str(request, "allocationMode"), "ExactCount") == 0 && get_int(request, "count") == 0)
		json_object_set_new(request, "count", json_integer(1));
}

#define INT(m, f, v) { .message = m, .field = f, .type = DEFAULT_INT, .i = v }
#define INT_ZERO(m, f, v) { .message = m, .field = f, .type = DEFAULT_INT, .i = v, .zero_too = true }
#define STR(m, f, v) { .message = m, .field = f, .s = v, .keep_empty = true }
#define STR_EMPTY(m, f, v) { .message = m, .field = f, .s = v }
#define BOOL(m, f, v) { .message = m, .field = f, .type = DEFAULT_BOOL, .i = v }
#define OBJ(m, f) { .message = m, .field = f, .type = DEFAULT_OBJECT }
#define FN(m, function) { .message = m, .type = DEFAULT_FN, .fn = function }
#define WEBHOOK(m)                                                                                                   \
	STR(m, "failurePolicy", "Fail"), STR(m, "matchPolicy", "Equivalent"), OBJ(m, "namespaceSelector"),           \
		OBJ(m, "objectSelector"), INT(m, "timeoutSeconds", 10)

#define ADMISSION "admissionregistration.v1."
#define CRD "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

static const struct default_rule rules[] = {
	INT("autoscaling.v1.HorizontalPodAutoscalerSpec", "minReplicas", 1),
	INT("autoscaling.v2.HorizontalPodAutoscalerSpec", "minReplicas", 1),
	FN("autoscaling.v2.HorizontalPodAutoscalerSpec", hpa_v2_spec),
	FN("autoscaling.v2.HorizontalPodAutoscalerBehavior", hpa_behavior),
	STR("networking.v1.NetworkPolicyPort", "protocol", "TCP"),
	FN("networking.v1.NetworkPolicySpec", network_policy_spec),
	STR("networking.v1.IngressClassParametersReference", "scope", "Cluster"),
	STR("discovery.v1.EndpointPort", "name", ""),
	STR("discovery.v1.EndpointPort", "protocol", "TCP"),
	STR("storage.v1.StorageClass", "reclaimPolicy", "Delete"),
	STR("storage.v1.StorageClass", "volumeBindingMode", "Immediate"),
	BOOL("storage.v1.CSIDriverSpec", "attachRequired", true),
	BOOL("storage.v1.CSIDriverSpec", "podInfoOnMount", false),
	BOOL("storage.v1.CSIDriverSpec", "storageCapacity", false),
	BOOL("storage.v1.CSIDriverSpec", "requiresRepublish", false),
	BOOL("storage.v1.CSIDriverSpec", "seLinuxMount", false),
	STR("storage.v1.CSIDriverSpec", "fsGroupPolicy", "ReadWriteOnceWithFSType"),
	FN("storage.v1.CSIDriverSpec", csi_driver_spec),
	FN("rbac.v1.RoleRef", role_ref),
	FN("rbac.v1.Subject", subject),
	STR("scheduling.v1.PriorityClass", "preemptionPolicy", "PreemptLowerPriority"),
	FN("coordination.v1.LeaseSpec", lease_spec),
	WEBHOOK(ADMISSION "ValidatingWebhook"),
	WEBHOOK(ADMISSION "MutatingWebhook"),
	STR(ADMISSION "MutatingWebhook", "reinvocationPolicy", "Never"),
	STR(ADMISSION "RuleWithOperations", "scope", "*"),
	STR(ADMISSION "Rule", "scope", "*"),
	STR(ADMISSION "NamedRuleWithOperations", "scope", "*"),
	INT(ADMISSION "ServiceReference", "port", 443),
	STR(ADMISSION "ValidatingAdmissionPolicySpec", "failurePolicy", "Fail"),
	STR(ADMISSION "MutatingAdmissionPolicySpec", "failurePolicy", "Fail"),
	FN(ADMISSION "MatchResources", admission_policy_match),
	OBJ(CRD "CustomResourceDefinitionSpec", "conversion"),
	FN(CRD "CustomResourceDefinition", crd),
	FN("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference", api_service_port),
	FN("resource.v1.ExactDeviceRequest", device_request),
	FN("resource.v1.DeviceSubRequest", device_request),
	STR_EMPTY("resource.v1.DeviceToleration", "operator", "Equal"),
	FN(CRD "CustomResourceDefinitionNames", crd_names),
	FN(CRD "CustomResourceConversion", crd_conversion),
	INT_ZERO("flowcontrol.v1.FlowSchemaSpec", "matchingPrecedence", 1000),
	INT("flowcontrol.v1.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares", 30),
	INT("flowcontrol.v1.LimitedPriorityLevelConfiguration", "lendablePercent", 0),
	INT("flowcontrol.v1.ExemptPriorityLevelConfiguration", "nominalConcurrencyShares", 0),
	INT("flowcontrol.v1.ExemptPriorityLevelConfiguration", "lendablePercent", 0),
	INT_ZERO("flowcontrol.v1.QueuingConfiguration", "handSize", 8),
	INT_ZERO("flowcontrol.v1.QueuingConfiguration", "queues", 64),
	INT_ZERO("flowcontrol.v1.QueuingConfiguration", "queueLengthLimit", 50),
};
const struct default_group defaults_other = { rules, ARRAY_SIZE(rules) };
