// SPDX-License-Identifier: GPL-2.0-or-later
/* What Endpoints and EndpointSlices agree on: which pods count, and on which ports. */
#include "base/mem.h"
#include "controllers/endpoints.h"
#include "kube/object.h"

bool service_wants_endpoints(const json_t *service)
{
	return json_object_size(json_at(service, "spec.selector")) > 0 &&
	       !str_eq(json_str(service, "spec.type"), "ExternalName");
}

bool service_headless(const json_t *service)
{
	return str_eq(json_str(service, "spec.clusterIP"), "None");
}

bool endpoint_eligible(const json_t *pod, bool include_terminating)
{
	if (pod_finished(pod) || str_empty(json_str(pod, "status.podIP")))
		return false;
	return include_terminating || !object_deleting(pod);
}

static int64_t find_named_port(const json_t *containers, const char *name, const char *protocol, bool sidecars_only)
{
	json_t *container, *port;
	size_t i, k;

	json_array_foreach((json_t *)containers, i, container) {
		if (sidecars_only && !str_eq(json_str(container, "restartPolicy"), "Always"))
			continue;
		json_array_foreach(json_object_get(container, "ports"), k, port) {
			if (str_eq(json_str(port, "name"), name) &&
			    str_eq(json_str_or(port, "protocol", "TCP"), protocol))
				return json_int(port, "containerPort", -1);
		}
	}
	return -1;
}

/* The number behind targetPort in this pod, or -1. */
static int64_t target_port(const json_t *service_port, const json_t *pod)
{
	const json_t *target = json_object_get(service_port, "targetPort");
	const char *protocol = json_str_or(service_port, "protocol", "TCP");
	int64_t port;

	if (!json_is_string(target)) {
		port = target ? json_integer_value(target) : 0;
		return port ? port : json_int(service_port, "port", -1);
	}
	port = find_named_port(json_at(pod, "spec.containers"), json_string_value(target), protocol, false);
	if (port < 0)
		port = find_named_port(json_at(pod, "spec.initContainers"), json_string_value(target), protocol, true);
	return port;
}

json_t *endpoint_ports(const json_t *service, const json_t *pod, bool with_empty_name)
{
	json_t *ports = json_array(), *sp;
	size_t i;

	json_array_foreach(json_at(service, "spec.ports"), i, sp) {
		const char *name = json_str_or(sp, "name", "");
		json_t *app_protocol = json_object_get(sp, "appProtocol"), *port;
		int64_t number = target_port(sp, pod);

		if (number < 0)
			continue;
		port = json_object();
		if (*name || with_empty_name)
			json_object_set_new(port, "name", json_string(name));
		json_object_set_new(port, "port", json_integer(number));
		json_object_set_new(port, "protocol", json_string(json_str_or(sp, "protocol", "TCP")));
		if (app_protocol)
			json_object_set(port, "appProtocol", app_protocol);
		json_array_append_new(ports, port);
	}
	return ports;
}

const char *endpoint_hostname(const json_t *service, const json_t *pod)
{
	const char *hostname = json_str(pod, "spec.hostname");

	if (str_empty(hostname) || !str_eq(json_str(pod, "spec.subdomain"), object_name(service)))
		return NULL;
	return hostname;
}

bool endpoint_pod_changed(const json_t *old, const json_t *new)
{
	static const char *const paths[] = { "metadata.labels", "status.podIPs",   "status.podIP",  "spec.nodeName",
					     "spec.hostname",   "spec.subdomain", "metadata.uid" };

	if (!old || !new)
		return true;
	if (pod_ready(old) != pod_ready(new) || pod_finished(old) != pod_finished(new) ||
	    object_deleting(old) != object_deleting(new))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		json_t *a = json_at(old, paths[i]), *b = json_at(new, paths[i]);

		if (a != b && (!a || !b || !json_same(a, b)))
			return true;
	}
	return false;
}

json_t *endpoint_labels(const json_t *service)
{
	json_t *labels = json_deep_copy(object_labels(service));

	if (!labels)
		labels = json_object();
	if (service_headless(service))
		json_object_set_new(labels, ENDPOINTS_HEADLESS_LABEL, json_string(""));
	else
		json_object_del(labels, ENDPOINTS_HEADLESS_LABEL);
	return labels;
}
