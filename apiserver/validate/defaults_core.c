/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Defaults of core/v1: pod specs and containers wherever they occur, what only a Pod gets, Services and the small
 * kinds. */
#include "apiserver/validate/defaults.h"
#include "apiserver/validate/validate_internal.h"
#include "kube/quantity.h"

/*
 * The tag that decides the pull policy: an explicit one wins, a digest without tag has none, and nothing at all is
 * "latest". An image that is no reference has none.
 */
static bool effective_tag_is_latest(const char *image)
{
	const char *at = strchr(image, '@'), *slash, *colon;
	size_t len = at ? (size_t)(at - image) : strlen(image);
	_cleanup_free_ char *name = mem_strndup(image, len);

	if (!*name || strpbrk(name, " \t\n"))
		return false;
	slash = strrchr(name, '/');
	colon = strchr(slash ? slash : name, ':');
	if (colon)
		return strcmp(colon + 1, "latest") == 0;
	return !at;
}

void default_image_pull_policy(json_t *o, const char *image, const char *key)
{
	default_str(o, key, effective_tag_is_latest(image) ? "Always" : "IfNotPresent");
}

static void container(json_t *c)
{
	default_image_pull_policy(c, get_str(c, "image"), "imagePullPolicy");
}

static void resources(json_t *r)
{
	default_round_quantities(r, "limits");
	default_round_quantities(r, "requests");
}

/* Fields whose features are off in 1.36 go away, as they do upstream. */
static void lifecycle(json_t *l)
{
	json_object_del(l, "stopSignal");
}

static void projection(json_t *source)
{
	json_object_del(source, "clusterTrustBundle");
	json_object_del(source, "podCertificate");
}

static void pod_spec(json_t *spec)
{
	json_object_del(spec, "schedulingGroup");
	default_round_quantities(spec, "overhead");
	if (!*get_str(spec, "serviceAccountName") && *get_str(spec, "serviceAccount"))
		json_object_set(spec, "serviceAccountName", json_object_get(spec, "serviceAccount"));
	/* The old name always mirrors the new one. */
	if (*get_str(spec, "serviceAccountName"))
		json_object_set(spec, "serviceAccount", json_object_get(spec, "serviceAccountName"));
}

/* podIP <-> podIPs, podCIDR <-> podCIDRs: the singular is the first of the list. inner: the list's elements are
 * objects. */
static void mirror_first(json_t *o, const char *one, const char *many, const char *inner)
{
	const char *single = get_str(o, one);
	const json_t *list = get(o, many), *first = json_array_get(list, 0);
	const char *first_text;

	if (inner)
		first = json_object_get(first, inner);
	first_text = json_string_value(first);
	if (*single && !str_eq(single, first_text)) {
		json_object_set_new(o, many,
				    inner ? json_pack("[{s:s}]", inner, single) : json_pack("[s]", single));
	} else if (!*single && first_text) {
		json_object_set_new(o, one, json_string(first_text));
	}
}

static void pod_status(json_t *status)
{
	mirror_first(status, "podIP", "podIPs", "ip");
}

static void node_spec(json_t *spec)
{
	mirror_first(spec, "podCIDR", "podCIDRs", NULL);
}

static void node_status(json_t *status)
{
	default_round_quantities(status, "capacity");
	default_round_quantities(status, "allocatable");
	if (!get(status, "allocatable") && get(status, "capacity"))
		json_object_set_new(status, "allocatable", json_deep_copy(json_object_get(status, "capacity")));
}

static void host_ports(json_t *containers)
{
	json_t *c, *port;
	size_t i, k;

	json_array_foreach(containers, i, c) {
		json_array_foreach(get(c, "ports"), k, port) {
			if (get_int(port, "hostPort") == 0)
				json_object_set(port, "hostPort", json_object_get(port, "containerPort"));
		}
	}
}

static void requests_from_limits(json_t *containers)
{
	const char *name;
	json_t *c, *v;
	size_t i;

	json_array_foreach(containers, i, c) {
		json_t *limits = get(get(c, "resources"), "limits");

		json_object_foreach(limits, name, v) {
			json_t *requests = default_object(json_object_get(c, "resources"), "requests");

			if (!json_object_get(requests, name))
				json_object_set(requests, name, v);
		}
	}
}

static bool quantity_of(const json_t *map, const char *name, struct quantity *ret)
{
	const char *s = json_string_value(json_object_get(map, name));

	return s && quantity_parse(s, ret) == 0;
}

/* Sum over the containers of resources.<list>[name]; init containers count when they exceed the sum, sidecars always.
 */
static bool aggregate(const json_t *spec, const char *list, const char *name, struct quantity *ret)
{
	struct quantity sum = {0}, peak = {0}, sidecars = {0}, q;
	bool any = false;
	json_t *c;
	size_t i;

	json_array_foreach(get(spec, "containers"), i, c) {
		if (!quantity_of(get(get(c, "resources"), list), name, &q))
			continue;
		any ? quantity_add(&sum, &q) : (void)(sum = q);
		any = true;
	}
	json_array_foreach(get(spec, "initContainers"), i, c) {
		if (!quantity_of(get(get(c, "resources"), list), name, &q))
			continue;
		if (!any)
			sum.format = peak.format = q.format;
		any = true;
		if (strcmp(get_str(c, "restartPolicy"), "Always") == 0) {
			quantity_add(&sidecars, &q);
			q = sidecars;
		} else {
			quantity_add(&q, &sidecars);
		}
		if (quantity_cmp(&q, &peak) > 0)
			peak = q;
	}
	quantity_add(&sum, &sidecars);
	*ret = quantity_cmp(&peak, &sum) > 0 ? peak : sum;
	return any;
}

static void set_aggregate(json_t *to, const json_t *spec, const char *list, const char *name)
{
	char text[QUANTITY_TEXT_SIZE];
	struct quantity q;

	if (json_object_get(to, name) || !aggregate(spec, list, name, &q))
		return;
	quantity_format(&q, text);
	json_object_set_new(to, name, json_string(text));
}

/* The names of huge page resources that any container limits. */
static void huge_page_names(const json_t *spec, struct strlist *names)
{
	enum { NAMES_MAX = 64 }; /* no machine has that many sizes of pages */
	static const char *const lists[] = { "containers", "initContainers" };
	const char *name;
	json_t *c, *v;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(spec, lists[l]), i, c) {
			json_object_foreach(get(get(c, "resources"), "limits"), name, v) {
				if (names->count < NAMES_MAX && str_starts(name, "hugepages-") &&
				    !strlist_has(names, name))
					strlist_add(names, name);
			}
		}
	}
}

static void pod_level_resources(json_t *spec)
{
	json_t *own = get(spec, "resources"), *limits = get(own, "limits"), *requests = get(own, "requests"), *v;
	_cleanup_strlist_ struct strlist huge = {0};
	const char *name;

	if (json_object_size(limits) == 0 && json_object_size(requests) == 0)
		return;
	huge_page_names(spec, &huge);
	for (size_t i = 0; i < huge.count; i++)
		if (!json_object_get(limits, huge.items[i]) && !json_object_get(requests, huge.items[i]))
			set_aggregate(default_object(own, "limits"), spec, "limits", huge.items[i]);
	limits = get(own, "limits");
	if (json_object_size(limits) == 0)
		return;
	requests = default_object(own, "requests");
	set_aggregate(requests, spec, "requests", "cpu");
	set_aggregate(requests, spec, "requests", "memory");
	json_object_foreach(limits, name, v) {
		if (!json_object_get(requests, name) &&
		    (one_of(name, WORDS("cpu", "memory")) || str_starts(name, "hugepages-")))
			json_object_set(requests, name, v);
	}
}

void defaults_pod(json_t *pod)
{
	json_t *spec = get(pod, "spec");

	if (!spec)
		return;
	requests_from_limits(get(spec, "containers"));
	requests_from_limits(get(spec, "initContainers"));
	pod_level_resources(spec);
	if (!get(spec, "enableServiceLinks"))
		json_object_set_new(spec, "enableServiceLinks", json_true());
	if (get_bool(spec, "hostNetwork")) {
		host_ports(get(spec, "containers"));
		host_ports(get(spec, "initContainers"));
	}
	if (get_int(spec, "terminationGracePeriodSeconds") < 0)
		json_object_set_new(spec, "terminationGracePeriodSeconds", json_integer(1));
}

/* The annotations that init containers once were. */
static void object_meta(json_t *meta)
{
	static const char *const old[] = { "pod.alpha.kubernetes.io/init-containers",
					   "pod.beta.kubernetes.io/init-containers",
					   "pod.alpha.kubernetes.io/init-container-statuses",
					   "pod.beta.kubernetes.io/init-container-statuses" };
	json_t *annotations = get(meta, "annotations");

	for (size_t i = 0; annotations && i < ARRAY_SIZE(old); i++)
		json_object_del(annotations, old[i]);
}

static void pod_object(json_t *pod)
{
	if (get(pod, "metadata"))
		object_meta(get(pod, "metadata"));
}

static void service_ports(json_t *spec)
{
	json_t *port;
	size_t i;

	json_array_foreach(get(spec, "ports"), i, port) {
		const json_t *target = get(port, "targetPort");
		bool unset = !target || (json_is_integer(target) && json_integer_value(target) == 0) ||
			     (json_is_string(target) && json_string_length(target) == 0);

		if (unset && get(port, "port"))
			json_object_set(port, "targetPort", json_object_get(port, "port"));
	}
}

static void service_spec(json_t *spec)
{
	const char *type = get_str(spec, "type");
	bool lb = strcmp(type, "LoadBalancer") == 0;

	if (strcmp(get_str(spec, "sessionAffinity"), "ClientIP") == 0)
		default_int(default_object(default_object(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds",
			    10800);
	else
		json_object_del(spec, "sessionAffinityConfig");
	service_ports(spec);
	if (lb || strcmp(type, "NodePort") == 0 ||
	    (strcmp(type, "ClusterIP") == 0 && json_array_size(get(spec, "externalIPs")) > 0))
		default_str(spec, "externalTrafficPolicy", "Cluster");
	if (one_of(type, WORDS("ClusterIP", "NodePort", "LoadBalancer")))
		default_str(spec, "internalTrafficPolicy", "Cluster");
	if (lb && !get(spec, "allocateLoadBalancerNodePorts"))
		json_object_set_new(spec, "allocateLoadBalancerNodePorts", json_true());
}

static void service_object(json_t *service)
{
	json_t *ingress;
	size_t i;

	if (!str_eq(json_str(service, "spec.type"), "LoadBalancer"))
		return;
	json_array_foreach(json_at(service, "status.loadBalancer.ingress"), i, ingress) {
		if (*get_str(ingress, "ip"))
			default_str(ingress, "ipMode", "VIP");
	}
}

static void replication_controller(json_t *rc)
{
	json_t *spec = get(rc, "spec"), *labels = json_at(rc, "spec.template.metadata.labels");

	if (!spec || json_object_size(labels) == 0)
		return;
	if (json_object_size(get(spec, "selector")) == 0)
		json_object_set_new(spec, "selector", json_deep_copy(labels));
	if (json_object_size(json_at(rc, "metadata.labels")) == 0)
		json_object_set_new(default_object(rc, "metadata"), "labels", json_deep_copy(labels));
}

static void secret(json_t *o)
{
	json_t *plain = get(o, "stringData"), *data, *v;
	const char *key;

	if (!plain)
		return;
	data = default_object(o, "data");
	json_object_foreach(plain, key, v) {
		_cleanup_strbuf_ struct strbuf b = {0};

		base64_encode(&b, json_string_value(v), json_string_length(v));
		json_object_set_new(data, key, json_stringn(b.data ? b.data : "", b.len));
	}
	json_object_del(o, "stringData");
}

static void namespace(json_t *ns)
{
	const char *name = json_str(ns, "metadata.name");

	if (!str_empty(name))
		json_object_set_new(default_object(default_object(ns, "metadata"), "labels"),
				    "kubernetes.io/metadata.name", json_string(name));
}

static void limit_range_item(json_t *item)
{
	static const char *const steps[][2] = { { "default", "max" },
						{ "defaultRequest", "default" },
						{ "defaultRequest", "min" } };
	static const char *const lists[] = { "max", "min", "default", "defaultRequest", "maxLimitRequestRatio" };
	const char *key;
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		default_round_quantities(item, lists[i]);
	if (strcmp(get_str(item, "type"), "Container") != 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		json_object_foreach(get(item, steps[i][1]), key, v) {
			json_t *to = default_object(item, steps[i][0]);

			if (!json_object_get(to, key))
				json_object_set(to, key, v);
		}
	}
}

static void service_account(json_t *sa)
{
	json_t *list = get(sa, "secrets"), *secret_ref;
	size_t i;

	json_array_foreach(list, i, secret_ref) {
		json_t *name = json_incref(json_object_get(secret_ref, "name"));

		json_object_clear(secret_ref);
		if (name)
			json_object_set_new(secret_ref, "name", name);
	}
}

static void quota_spec(json_t *spec)
{
	default_round_quantities(spec, "hard");
}

static void quota_status(json_t *status)
{
	default_round_quantities(status, "hard");
	default_round_quantities(status, "used");
}

#define CONTAINER_RULES(m)                                                                              \
	{ .message = m, .type = DEFAULT_FN, .fn = container },                                          \
	{ .message = m, .field = "terminationMessagePath", .s = "/dev/termination-log" },               \
	{ .message = m, .field = "terminationMessagePolicy", .s = "File" },                             \
	{ .message = m, .field = "resources", .type = DEFAULT_OBJECT }

static const struct default_rule rules[] = {
	{ .message = "core.v1.Pod", .type = DEFAULT_FN, .fn = pod_object },
	{ .message = "core.v1.PodTemplateSpec", .field = "spec", .type = DEFAULT_OBJECT },
	{ .message = "core.v1.PodTemplateSpec", .type = DEFAULT_FN, .fn = pod_object },
	{ .message = "core.v1.PodSpec", .field = "dnsPolicy", .s = "ClusterFirst" },
	{ .message = "core.v1.PodSpec", .field = "restartPolicy", .s = "Always" },
	{ .message = "core.v1.PodSpec", .field = "securityContext", .type = DEFAULT_OBJECT },
	{ .message = "core.v1.PodSpec", .field = "terminationGracePeriodSeconds", .type = DEFAULT_INT, .i = 30 },
	{ .message = "core.v1.PodSpec", .field = "schedulerName", .s = "default-scheduler" },
	{ .message = "core.v1.PodSpec", .type = DEFAULT_FN, .fn = pod_spec },
	{ .message = "core.v1.PodStatus", .type = DEFAULT_FN, .fn = pod_status },
	{ .message = "core.v1.Lifecycle", .type = DEFAULT_FN, .fn = lifecycle },
	{ .message = "core.v1.VolumeProjection", .type = DEFAULT_FN, .fn = projection },
	CONTAINER_RULES("core.v1.Container"),
	CONTAINER_RULES("core.v1.EphemeralContainer"),
	{ .message = "core.v1.ResourceRequirements", .type = DEFAULT_FN, .fn = resources },
	{ .message = "core.v1.VolumeResourceRequirements", .type = DEFAULT_FN, .fn = resources },
	{ .message = "core.v1.ContainerPort", .field = "protocol", .s = "TCP" },
	{ .message = "core.v1.ObjectFieldSelector", .field = "apiVersion", .s = "v1" },
	{ .message = "core.v1.FileKeySelector", .field = "optional", .type = DEFAULT_BOOL, .i = false },
	{ .message = "core.v1.Probe", .field = "timeoutSeconds", .type = DEFAULT_INT, .i = 1, .zero_too = true },
	{ .message = "core.v1.Probe", .field = "periodSeconds", .type = DEFAULT_INT, .i = 10, .zero_too = true },
	{ .message = "core.v1.Probe", .field = "successThreshold", .type = DEFAULT_INT, .i = 1, .zero_too = true },
	{ .message = "core.v1.Probe", .field = "failureThreshold", .type = DEFAULT_INT, .i = 3, .zero_too = true },
	{ .message = "core.v1.GRPCAction", .field = "service", .s = "", .keep_empty = true },
	{ .message = "core.v1.HTTPGetAction", .field = "path", .s = "/" },
	{ .message = "core.v1.HTTPGetAction", .field = "scheme", .s = "HTTP" },
	{ .message = "core.v1.ServiceSpec", .field = "sessionAffinity", .s = "None" },
	{ .message = "core.v1.ServiceSpec", .field = "type", .s = "ClusterIP" },
	{ .message = "core.v1.ServiceSpec", .type = DEFAULT_FN, .fn = service_spec },
	{ .message = "core.v1.ServicePort", .field = "protocol", .s = "TCP" },
	{ .message = "core.v1.Service", .type = DEFAULT_FN, .fn = service_object },
	{ .message = "core.v1.ReplicationControllerSpec", .field = "replicas", .type = DEFAULT_INT, .i = 1 },
	{ .message = "core.v1.ReplicationController", .type = DEFAULT_FN, .fn = replication_controller },
	{ .message = "core.v1.Secret", .field = "type", .s = "Opaque" },
	{ .message = "core.v1.Secret", .type = DEFAULT_FN, .fn = secret },
	{ .message = "core.v1.Namespace", .field = "status", .type = DEFAULT_OBJECT },
	{ .message = "core.v1.Namespace", .type = DEFAULT_FN, .fn = namespace },
	{ .message = "core.v1.NamespaceStatus", .field = "phase", .s = "Active" },
	{ .message = "core.v1.NodeSpec", .type = DEFAULT_FN, .fn = node_spec },
	{ .message = "core.v1.NodeStatus", .type = DEFAULT_FN, .fn = node_status },
	{ .message = "core.v1.EndpointPort", .field = "protocol", .s = "TCP" },
	{ .message = "core.v1.LimitRangeItem", .type = DEFAULT_FN, .fn = limit_range_item },
	{ .message = "core.v1.ServiceAccount", .type = DEFAULT_FN, .fn = service_account },
	{ .message = "core.v1.ResourceQuotaSpec", .type = DEFAULT_FN, .fn = quota_spec },
	{ .message = "core.v1.ResourceQuotaStatus", .type = DEFAULT_FN, .fn = quota_status },
};
const struct default_group defaults_core = { rules, ARRAY_SIZE(rules) };
