/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods and pod templates: the fields of the pod as a whole, in the order in which Kubernetes reports them. What belongs
 * to a topic of its own (containers, volumes, security, placement, resources) has a file of its own.
 */
#include "apiserver/validate/validate_pod.h"

#include <ctype.h>

static const char *const container_lists[] = { "initContainers", "containers", "ephemeralContainers" };

static bool has_container(const json_t *spec, const char *name)
{
	json_t *c;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++) {
		json_array_foreach(get(spec, container_lists[l]), i, c) {
			if (strcmp(get_str(c, "name"), name) == 0)
				return true;
		}
	}
	return false;
}

/* The annotations that profiles once were. They are still checked, and a new pod's fields have to agree with them. */
static void check_profile_annotations(struct pod_check *c, const struct fpath *p)
{
	static const char seccomp_pod[] = "seccomp.security.alpha.kubernetes.io/pod";
	const char *key, *container;
	json_t *v;

	json_object_foreach(get(c->meta, "annotations"), key, v) {
		const char *profile = json_string_value(v);

		container = str_after(key, APPARMOR_ANNOTATION);
		if (container) {
			if (!has_container(c->spec, container))
				fe_invalid(c->e, FP_KEY(p, key), container, "container not found");
			if (*profile && !one_of(profile, WORDS("runtime/default", "unconfined")) &&
			    !str_starts(profile, "localhost/"))
				fe_invalid(c->e, FP_KEY(p, key), profile, "invalid AppArmor profile name: \"%s\"", profile);
		} else if (strcmp(key, seccomp_pod) == 0 || str_starts(key, SECCOMP_ANNOTATION)) {
			if (str_starts(profile, "localhost/"))
				check_local_path(c->e, FP(p, key), str_after(profile, "localhost/"), false);
			else if (!one_of(profile, WORDS("runtime/default", "docker/default", "unconfined")))
				fe_invalid(c->e, FP(p, key), profile, "must be a valid seccomp profile");
		}
	}
}

static void check_annotations_of_pod(struct pod_check *c, const struct fpath *p)
{
	const json_t *annotations = get(c->meta, "annotations");
	const char *cost = get_str(annotations, "controller.kubernetes.io/pod-deletion-cost");
	int64_t n;

	if (!c->template && json_object_get(annotations, "kubernetes.io/config.mirror") &&
	    !*get_str(c->spec, "nodeName"))
		fe_invalid(c->e, FP_KEY(p, "kubernetes.io/config.mirror"),
			   get_str(annotations, "kubernetes.io/config.mirror"),
			   "must set spec.nodeName if mirror pod annotation is set");
	check_profile_annotations(c, p);
	if (!*cost)
		return;
	if (str_to_i64(cost, INT32_MIN, INT32_MAX, &n) < 0 || *cost == '+' || (cost[0] == '0' && cost[1]))
		fe_invalid(c->e, FP_KEY(p, "controller.kubernetes.io/pod-deletion-cost"), cost,
			   "must be a 32bit integer");
}

static void check_resource_claims(struct pod_check *c, const struct fpath *p)
{
	struct map *seen = map_new(NULL);
	json_t *claim;
	size_t i;

	if (json_array_size(get(c->spec, "resourceClaims")) > 0 && !c->template &&
	    json_object_get(get(c->meta, "annotations"), "kubernetes.io/config.mirror"))
		fe_forbidden(c->e, NULL, "static pods do not support resource claims");

	json_array_foreach(get(c->spec, "resourceClaims"), i, claim) {
		const char *name = get_str(claim, "name"), *one = get_str(claim, "resourceClaimName");
		const char *template = get_str(claim, "resourceClaimTemplateName");
		const struct fpath *at = FP_INDEX(p, i);

		if (!*name)
			fe_required(c->e, FP(at, "name"), NULL);
		else if (map_has(seen, name))
			fe_duplicate(c->e, FP(at, "name"), name);
		else
			check_format(c->e, FP(at, "name"), name, fmt_dns_label);
		map_set(seen, name, seen);
		if (*one && *template)
			fe_invalid_json(
				c->e, at, claim,
				"at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
		else if (!*one && !*template)
			fe_invalid_json(c->e, at, claim,
					"must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
		if (*one)
			check_format(c->e, FP(at, "resourceClaimName"), one, fmt_dns_subdomain);
		if (*template)
			check_format(c->e, FP(at, "resourceClaimTemplateName"), template, fmt_dns_subdomain);
	}
	map_free(seen);
}

static void check_host_network_ports(struct pod_check *c, const struct fpath *p)
{
	json_t *container, *port;
	size_t i, k;

	if (!get_bool(c->spec, "hostNetwork"))
		return;
	json_array_foreach(get(c->spec, "containers"), i, container) {
		json_array_foreach(get(container, "ports"), k, port) {
			int64_t host = get_int(port, "hostPort");

			if (host != get_int(port, "containerPort") && (host || !c->template))
				fe_invalid_int(
					c->e,
					FP(FP_INDEX(FP(FP_INDEX(FP(p, "containers"), i), "ports"), k), "hostPort"),
					host, "must match `containerPort` when `hostNetwork` is true");
		}
	}
}

static void check_gates(struct pod_check *c, const struct fpath *p)
{
	struct map *seen = map_new(NULL);
	json_t *gate;
	size_t i;

	json_array_foreach(get(c->spec, "readinessGates"), i, gate)
		check_format(c->e, FP(FP_INDEX(FP(p, "readinessGates"), i), "conditionType"),
			     get_str(gate, "conditionType"), fmt_qualified_name);
	json_array_foreach(get(c->spec, "schedulingGates"), i, gate) {
		const struct fpath *at = FP_INDEX(FP(p, "schedulingGates"), i);
		const char *name = get_str(gate, "name");

		check_format(c->e, at, name, fmt_qualified_name);
		if (map_has(seen, name))
			fe_duplicate(c->e, at, name);
		map_set(seen, name, seen);
	}
	map_free(seen);
}

static void check_host_users(struct pod_check *c, const struct fpath *p)
{
	static const char *const flags[][2] = { { "hostNetwork", "hostNetwork" },
						{ "hostPID", "HostPID" },
						{ "hostIPC", "HostIPC" } };
	json_t *container;
	size_t i;

	if (!json_is_false(get(c->spec, "hostUsers")))
		return;
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (get_bool(c->spec, flags[i][0]))
			fe_forbidden(c->e, FP(p, flags[i][1]), "when `hostUsers` is false");
	for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++) {
		json_array_foreach(get(c->spec, container_lists[l]), i, container) {
			if (json_array_size(get(container, "volumeDevices")) > 0)
				fe_forbidden(c->e, FP(FP_INDEX(FP(p, container_lists[l]), i), "volumeDevices"),
					     "when `hostUsers` is false");
		}
	}
}

static void check_hostname_override(struct pod_check *c, const struct fpath *p)
{
	const char *name = get_str(c->spec, "hostnameOverride");

	if (!get(c->spec, "hostnameOverride"))
		return;
	if (get_bool(c->spec, "setHostnameAsFQDN"))
		fe_forbidden(c->e, p, "may not be specified when setHostnameAsFQDN is true");
	if (get_bool(c->spec, "hostNetwork"))
		fe_forbidden(c->e, p, "may not be specified when hostNetwork is true");
	if (strlen(name) > 64)
		fe_too_long(c->e, p, 64);
	check_format(c->e, p, name, fmt_dns_subdomain);
}

static void check_names(struct pod_check *c, const struct fpath *p)
{
	const json_t *deadline = get(c->spec, "activeDeadlineSeconds");
	static const struct {
		const char *key;
		format_fn fn;
	} names[] = { { "serviceAccountName", fmt_dns_subdomain }, { "nodeName", fmt_dns_subdomain } },
	  late[] = { { "hostname", fmt_dns_label }, { "subdomain", fmt_dns_label } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (*get_str(c->spec, names[i].key))
			check_format(c->e, FP(p, names[i].key), get_str(c->spec, names[i].key), names[i].fn);
	if (deadline && (json_integer_value(deadline) < 1 || json_integer_value(deadline) > INT32_MAX))
		fe_invalid_json(c->e, FP(p, "activeDeadlineSeconds"), deadline,
				"must be between 1 and 2147483647, inclusive");
	for (size_t i = 0; i < ARRAY_SIZE(late); i++)
		if (*get_str(c->spec, late[i].key))
			check_format(c->e, FP(p, late[i].key), get_str(c->spec, late[i].key), late[i].fn);
}

static void check_host_aliases(struct pod_check *c, const struct fpath *p)
{
	json_t *alias, *name;
	size_t i, k;

	json_array_foreach(get(c->spec, "hostAliases"), i, alias) {
		const struct fpath *at = FP_INDEX(p, i);

		check_format(c->e, FP(at, "ip"), get_str(alias, "ip"), fmt_ip);
		json_array_foreach(get(alias, "hostnames"), k, name)
			check_format(c->e, FP_INDEX(FP(at, "hostnames"), k), json_string_value(name),
				     fmt_dns_subdomain);
	}
}

static void check_os(struct pod_check *c, const struct fpath *p)
{
	const json_t *os = get(c->spec, "os");

	if (!os)
		return;
	if (!*get_str(os, "name")) {
		fe_required(c->e, FP(p, "name"), NULL);
	} else if (!one_of(get_str(os, "name"), WORDS("linux", "windows"))) {
		_cleanup_free_ char *value = str_printf("{\"Name\":\"%s\"}", get_str(os, "name"));

		fe_not_supported_text(c->e, p, value, WORDS("linux", "windows"));
	}
}

/* What follows the security context, in order. */
static void check_second_half(struct pod_check *c, const struct fpath *p)
{
	const char *preemption = get_str(c->spec, "preemptionPolicy");

	if (get(c->spec, "affinity"))
		check_affinity(c->e, FP(p, "affinity"), get(c->spec, "affinity"));
	check_pod_dns(c, p);
	check_gates(c, p);
	check_spread_constraints(c->e, FP(p, "topologySpreadConstraints"), get(c->spec, "topologySpreadConstraints"));
	check_windows_host_process(c, p);
	check_host_users(c, p);
	check_hostname_override(c, FP(p, "hostnameOverride"));
	check_names(c, p);
	check_tolerations(c->e, FP(p, "tolerations"), get(c->spec, "tolerations"));
	check_host_aliases(c, FP(p, "hostAliases"));
	if (*get_str(c->spec, "priorityClassName"))
		check_format(c->e, FP(p, "priorityClassName"), get_str(c->spec, "priorityClassName"),
			     fmt_dns_subdomain);
	if (*get_str(c->spec, "runtimeClassName"))
		check_format(c->e, FP(p, "runtimeClassName"), get_str(c->spec, "runtimeClassName"), fmt_dns_subdomain);
	if (get(c->spec, "preemptionPolicy"))
		check_enum(c->e, FP(p, "preemptionPolicy"), preemption, WORDS("PreemptLowerPriority", "Never"));
	if (get(c->spec, "overhead"))
		check_resource_list(c->e, FP(FP(p, "overhead"), "limits"), get(c->spec, "overhead"));
	check_os(c, FP(p, "os"));
	check_os_fields(c, p);
}

void check_pod_spec(struct pod_check *c, const struct fpath *p)
{
	c->volumes = map_new(NULL);
	c->claims = list_index(get(c->spec, "resourceClaims"), "name");
	if (!get(c->spec, "terminationGracePeriodSeconds"))
		fe_required(c->e, FP(p, "terminationGracePeriodSeconds"), NULL);
	check_volumes(c, FP(p, "volumes"));
	check_resource_claims(c, FP(p, "resourceClaims"));
	check_all_containers(c, p);
	check_pod_resources(c, FP(p, "resources"));
	check_host_network_ports(c, p);
	check_enum(c->e, FP(p, "restartPolicy"), get_str(c->spec, "restartPolicy"),
		   WORDS("Always", "OnFailure", "Never"));
	check_enum(c->e, FP(p, "dnsPolicy"), get_str(c->spec, "dnsPolicy"),
		   WORDS("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"));
	check_labels(c->e, FP(p, "nodeSelector"), get(c->spec, "nodeSelector"));
	check_pod_security(c, p);
	check_second_half(c, p);
	c->volumes = map_free(c->volumes);
	c->claims = map_free(c->claims);
}

void check_pod_template(struct field_errors *e, const struct fpath *p, const json_t *template,
			const json_t *claim_templates)
{
	struct pod_check c = {
		.e = e,
		.meta = get(template, "metadata"),
		.spec = get(template, "spec"),
		.template = true,
		.claim_templates = claim_templates,
	};

	check_labels(e, FP(p, "labels"), get(c.meta, "labels"));
	check_annotations(e, FP(p, "annotations"), get(c.meta, "annotations"));
	check_annotations_of_pod(&c, FP(p, "annotations"));
	check_pod_spec(&c, FP(p, "spec"));
	if (json_array_size(get(c.spec, "ephemeralContainers")) > 0)
		fe_forbidden(e, FP(FP(p, "spec"), "ephemeralContainers"),
			     "ephemeral containers not allowed in pod template");
}

static void check_image_blanks(struct field_errors *e, const struct fpath *p, const json_t *containers)
{
	json_t *container;
	size_t i;

	json_array_foreach(containers, i, container) {
		const char *image = get_str(container, "image");
		size_t len = strlen(image);

		if (len && (isspace((unsigned char)image[0]) || isspace((unsigned char)image[len - 1])))
			fe_invalid(e, FP(FP_INDEX(p, i), "image"), image,
				   "must not have leading or trailing whitespace");
	}
}

/* Tokens are those of an account. */
static void check_token_account(struct pod_check *c, const struct fpath *p)
{
	json_t *volume, *source;
	size_t i, k;

	json_array_foreach(*get_str(c->spec, "serviceAccountName") ? NULL : get(c->spec, "volumes"), i, volume) {
		json_array_foreach(get(get(volume, "projected"), "sources"), k, source) {
			if (get(source, "serviceAccountToken"))
				fe_forbidden(c->e,
					     FP(FP_INDEX(FP(FP(FP_INDEX(p, i), "projected"), "sources"), k),
						"serviceAccountToken"),
					     "must not be specified when serviceAccountName is not set");
		}
	}
}

/* One profile said twice, by an annotation and by the field, has to be the same one. */
static void check_profile_agrees(struct field_errors *e, const struct fpath *p, const char *annotation, const json_t *profile,
				 const char *what)
{
	static const char *const types[][2] = { { "runtime/default", "RuntimeDefault" },
						{ "docker/default", "RuntimeDefault" },
						{ "unconfined", "Unconfined" } };
	const char *local = str_after(annotation, "localhost/"), *want = local ? "Localhost" : NULL;

	if (!*annotation || !profile)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(annotation, types[i][0]) == 0)
			want = types[i][1];
	if (!want)
		return;
	if (strcmp(get_str(profile, "type"), want) != 0)
		fe_forbidden(e, FP(p, "type"), "%s type in annotation and field must match", what);
	else if (local && strcmp(get_str(profile, "localhostProfile"), local) != 0)
		fe_forbidden(e, FP(p, "localhostProfile"), "%s profile in annotation and field must match", what);
}

static void check_profiles_agree(const struct validation *v, const json_t *spec, const struct fpath *p)
{
	const json_t *annotations = json_at(v->object, "metadata.annotations");
	json_t *c;
	size_t i;

	check_profile_agrees(v->e, FP(FP(p, "securityContext"), "seccompProfile"),
			     get_str(annotations, "seccomp.security.alpha.kubernetes.io/pod"),
			     json_at(spec, "securityContext.seccompProfile"), "seccomp");
	for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++) {
		json_array_foreach(get(spec, container_lists[l]), i, c) {
			const struct fpath *at = FP(FP_INDEX(FP(p, container_lists[l]), i), "securityContext");
			_cleanup_free_ char *seccomp = str_printf("%s%s", SECCOMP_ANNOTATION, get_str(c, "name"));
			_cleanup_free_ char *armor = str_printf("%s%s", APPARMOR_ANNOTATION, get_str(c, "name"));

			check_profile_agrees(v->e, FP(at, "seccompProfile"), get_str(annotations, seccomp),
					     json_at(c, "securityContext.seccompProfile"), "seccomp");
			check_profile_agrees(v->e, FP(at, "appArmorProfile"), get_str(annotations, armor),
					     json_at(c, "securityContext.appArmorProfile"), "apparmor");
		}
	}
}

/* All that a new pod, and the pod that an update would make, has to meet. */
static void check_pod(const struct validation *v)
{
	const struct fpath *p = FP(NULL, "spec");
	struct pod_check c = {
		.e = v->e,
		.meta = get(v->object, "metadata"),
		.spec = get(v->object, "spec"),
	};

	check_annotations_of_pod(&c, FP(FP(NULL, "metadata"), "annotations"));
	check_pod_spec(&c, p);
	check_token_account(&c, FP(p, "volumes"));
	check_image_blanks(v->e, FP(p, "containers"), get(c.spec, "containers"));
	check_image_blanks(v->e, FP(p, "initContainers"), get(c.spec, "initContainers"));
}

void validate_pod(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");
	const struct fpath *p = FP(NULL, "spec");

	if (!v->sub || !v->old || str_eq(v->sub, "resize") || str_eq(v->sub, "ephemeralcontainers"))
		check_pod(v);
	if (v->old) {
		validate_pod_update(v);
		return;
	}
	if (json_array_size(get(spec, "ephemeralContainers")) > 0)
		fe_forbidden(v->e, FP(p, "ephemeralContainers"), "cannot be set on create");
	if (*get_str(spec, "nodeName") && json_array_size(get(spec, "schedulingGates")) > 0)
		fe_forbidden(v->e, FP(p, "nodeName"), "cannot be set until all schedulingGates have been cleared");
	check_profiles_agree(v, spec, p);
}
