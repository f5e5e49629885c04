/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers of a pod: their names, images, ports, restart and resize policies, and what init and ephemeral containers
 * may not have. */
#include "apiserver/validate/validate_pod.h"

static void check_ports(struct pod_check *c, const struct fpath *p, const json_t *ports)
{
	struct map *names = map_new(NULL);
	json_t *port;
	size_t i;

	json_array_foreach(ports, i, port) {
		const struct fpath *at = FP_INDEX(p, i);
		const char *name = get_str(port, "name");

		if (*name) {
			check_format(c->e, FP(at, "name"), name, fmt_port_name);
			if (format_ok(fmt_port_name, name)) {
				if (map_has(names, name))
					fe_duplicate(c->e, FP(at, "name"), name);
				map_set(names, name, names);
			}
		}
		if (get_int(port, "containerPort") == 0)
			fe_required(c->e, FP(at, "containerPort"), NULL);
		else
			check_port_number(c->e, FP(at, "containerPort"), get_int(port, "containerPort"));
		if (get_int(port, "hostPort") != 0)
			check_port_number(c->e, FP(at, "hostPort"), get_int(port, "hostPort"));
		check_enum(c->e, FP(at, "protocol"), get_str(port, "protocol"), WORDS("SCTP", "TCP", "UDP"));
	}
	map_free(names);
}

/* The same host port twice. seen: over the containers that run together. */
static void check_host_ports(struct field_errors *e, const struct fpath *p, const json_t *ports, struct map *seen)
{
	json_t *port;
	size_t i;

	json_array_foreach(ports, i, port) {
		_cleanup_free_ char *key = NULL;

		if (get_int(port, "hostPort") == 0)
			continue;
		key = str_printf("%s/%s/%lld", get_str(port, "protocol"), get_str(port, "hostIP"),
				 (long long)get_int(port, "hostPort"));
		if (map_has(seen, key))
			fe_duplicate(e, FP(FP_INDEX(p, i), "hostPort"), key);
		map_set(seen, key, seen);
	}
}

static void check_resize_policy(struct pod_check *c, const struct fpath *p, const json_t *policies)
{
	bool never = strcmp(get_str(c->spec, "restartPolicy"), "Never") == 0;
	struct map *seen = map_new(NULL);
	json_t *policy;
	size_t i;

	json_array_foreach(policies, i, policy) {
		const struct fpath *at = FP_INDEX(p, i);
		const char *name = get_str(policy, "resourceName"), *restart = get_str(policy, "restartPolicy");

		if (map_has(seen, name))
			fe_duplicate(c->e, at, name);
		map_set(seen, name, seen);
		check_enum(c->e, at, name, WORDS("cpu", "memory"));
		check_enum(c->e, at, restart, WORDS("NotRequired", "RestartContainer"));
		if (never && strcmp(restart, "NotRequired") != 0)
			fe_invalid(c->e, at, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
	}
	map_free(seen);
}

static void check_restart_rules(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	enum { RULES_MAX = 20, VALUES_MAX = 255 };
	const json_t *rules = get(container, "restartPolicyRules");
	const char *policy = get_str(container, "restartPolicy");
	json_t *rule;
	size_t i;

	if (*policy && !one_of(policy, WORDS("Always", "Never", "OnFailure")))
		fe_not_supported(c->e, FP(p, "restartPolicy"), policy, WORDS("Always", "Never", "OnFailure"));
	if (!*policy && json_array_size(rules) > 0)
		fe_required(c->e, FP(p, "restartPolicy"), "must specify restartPolicy when restart rules are used");
	if (json_array_size(rules) > RULES_MAX)
		fe_too_many(c->e, FP(p, "restartPolicyRules"), json_array_size(rules), RULES_MAX);
	json_array_foreach(rules, i, rule) {
		const struct fpath *at = FP_INDEX(FP(p, "restartPolicyRules"), i);
		const json_t *codes = get(rule, "exitCodes");

		if (!one_of(get_str(rule, "action"), WORDS("Restart", "RestartAllContainers")))
			fe_not_supported(c->e, FP(at, "action"), get_str(rule, "action"),
					 WORDS("Restart", "RestartAllContainers"));
		if (!codes) {
			fe_required(c->e, FP(at, "exitCodes"), "must be specified");
			continue;
		}
		if (!one_of(get_str(codes, "operator"), WORDS("In", "NotIn")))
			fe_not_supported(c->e, FP(FP(at, "exitCodes"), "operator"), get_str(codes, "operator"),
					 WORDS("In", "NotIn"));
		if (json_array_size(get(codes, "values")) > VALUES_MAX)
			fe_too_many(c->e, FP(FP(at, "exitCodes"), "values"), json_array_size(get(codes, "values")),
				    VALUES_MAX);
	}
}

/* What every kind of container has. */
static void check_container(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	const char *name = get_str(container, "name");

	if (!*name)
		fe_required(c->e, FP(p, "name"), NULL);
	else
		check_format(c->e, FP(p, "name"), name, fmt_dns_label);
	if (!*get_str(container, "image"))
		fe_required(c->e, FP(p, "image"), NULL);
	check_enum(c->e, FP(p, "terminationMessagePolicy"), get_str(container, "terminationMessagePolicy"),
		   WORDS("File", "FallbackToLogsOnError"));
	check_ports(c, FP(p, "ports"), get(container, "ports"));
	check_env(c, p, container);
	check_volume_mounts(c, FP(p, "volumeMounts"), container);
	check_volume_devices(c, FP(p, "volumeDevices"), container);
	check_enum(c->e, FP(p, "imagePullPolicy"), get_str(container, "imagePullPolicy"),
		   WORDS("Always", "IfNotPresent", "Never"));
	check_resources(c, FP(p, "resources"), get(container, "resources"));
	check_resize_policy(c, FP(p, "resizePolicy"), get(container, "resizePolicy"));
	check_container_security(c, FP(p, "securityContext"), get(container, "securityContext"));
}

static void note_name(struct pod_check *c, const struct fpath *p, const char *name, struct map *names)
{
	if (map_has(names, name))
		fe_duplicate(c->e, FP(p, "name"), name);
	else if (*name)
		map_set(names, name, names);
}

static void check_plain_containers(struct pod_check *c, const struct fpath *p, struct map *names)
{
	const json_t *list = get(c->spec, "containers");
	struct map *host_ports = map_new(NULL);
	json_t *container;
	size_t i;

	if (json_array_size(list) == 0)
		fe_required(c->e, p, NULL);
	json_array_foreach(list, i, container) {
		const struct fpath *at = FP_INDEX(p, i);

		check_container(c, at, container);
		note_name(c, at, get_str(container, "name"), names);
		check_lifecycle(c, FP(at, "lifecycle"), get(container, "lifecycle"));
		check_probes(c, at, container);
		check_restart_rules(c, at, container);
	}
	json_array_foreach(list, i, container)
		check_host_ports(c->e, FP(FP_INDEX(p, i), "ports"), get(container, "ports"), host_ports);
	map_free(host_ports);
}

static void check_not_sidecar(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	static const char *const keys[] = { "lifecycle", "livenessProbe", "readinessProbe", "startupProbe" };
	json_t *policy;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		if (get(container, keys[k]))
			fe_forbidden(c->e, FP(p, keys[k]),
				     "may not be set for init containers without restartPolicy=Always");
	json_array_foreach(get(container, "resizePolicy"), i, policy) {
		if (strcmp(get_str(policy, "restartPolicy"), "RestartContainer") == 0)
			fe_invalid(c->e, FP(FP_INDEX(FP(p, "resizePolicy"), i), "restartPolicy"), "RestartContainer",
				   "must not be set to 'RestartContainer' for non-sidecar initContainers");
	}
}

static void check_init_containers(struct pod_check *c, const struct fpath *p, struct map *names)
{
	json_t *container;
	size_t i;

	json_array_foreach(get(c->spec, "initContainers"), i, container) {
		const struct fpath *at = FP_INDEX(p, i);
		struct map *host_ports = map_new(NULL);

		check_container(c, at, container);
		note_name(c, at, get_str(container, "name"), names);
		check_restart_rules(c, at, container);
		if (strcmp(get_str(container, "restartPolicy"), "Always") == 0) {
			check_lifecycle(c, FP(at, "lifecycle"), get(container, "lifecycle"));
			check_probes(c, at, container);
		} else {
			check_not_sidecar(c, at, container);
		}
		check_host_ports(c->e, FP(FP_INDEX(p, 0), "ports"), get(container, "ports"), host_ports);
		map_free(host_ports);
	}
}

static bool set_value(const json_t *v)
{
	return json_is_object(v) ? json_object_size(v) > 0 : json_is_array(v) ? json_array_size(v) > 0 : v != NULL;
}

static void check_ephemeral_containers(struct pod_check *c, const struct fpath *p, struct map *names)
{
	static const char *const forbidden[] = { "ports",          "resources",          "livenessProbe",
						 "readinessProbe", "startupProbe",       "lifecycle",
						 "restartPolicy",  "restartPolicyRules", "resizePolicy" };
	json_t *container, *mount;
	size_t i, m;

	json_array_foreach(get(c->spec, "ephemeralContainers"), i, container) {
		const struct fpath *at = FP_INDEX(p, i);
		const char *target = get_str(container, "targetContainerName");

		check_container(c, at, container);
		if (*target && !map_has(names, target))
			fe_not_found(c->e, FP(at, "targetContainerName"), target, NULL);
		note_name(c, at, get_str(container, "name"), names);
		for (size_t k = 0; k < ARRAY_SIZE(forbidden); k++)
			if (set_value(get(container, forbidden[k])))
				fe_forbidden(c->e, FP(at, forbidden[k]), "cannot be set for an Ephemeral Container");
		json_array_foreach(get(container, "volumeMounts"), m, mount) {
			const struct fpath *mp = FP_INDEX(FP(at, "volumeMounts"), m);

			if (*get_str(mount, "subPath"))
				fe_forbidden(c->e, FP(mp, "subPath"), "cannot be set for an Ephemeral Container");
			if (*get_str(mount, "subPathExpr"))
				fe_forbidden(c->e, FP(mp, "subPathExpr"), "cannot be set for an Ephemeral Container");
		}
	}
}

void check_all_containers(struct pod_check *c, const struct fpath *p)
{
	struct map *names = map_new(NULL);

	check_plain_containers(c, FP(p, "containers"), names);
	check_init_containers(c, FP(p, "initContainers"), names);
	check_ephemeral_containers(c, FP(p, "ephemeralContainers"), names);
	map_free(names);
}
