/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is legal in a pod or a pod template but hardly meant: the texts of Warning headers. */
#include "apiserver/validate/warnings.h"

#include "kube/quantity.h"

const char *deprecated_node_label(const char *key)
{
	static const char *const labels[][2] = {
		{ "beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead" },
		{ "beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead" },
		{ "failure-domain.beta.kubernetes.io/region",
		  "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead" },
		{ "failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead" },
		{ "beta.kubernetes.io/instance-type",
		  "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead" },
		{ "app.kubernetes.io/created-by", "deprecated since v1.9" },
		{ "scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead" },
		{ "node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		if (strcmp(labels[i][0], key) == 0)
			return labels[i][1];
	return NULL;
}

void warn_node_term(struct strlist *out, const struct fpath *p, const json_t *term, bool check_values)
{
	json_t *expression, *value;
	size_t i, k;

	json_array_foreach(get(term, "matchExpressions"), i, expression) {
		const struct fpath *at = FP_INDEX(FP(p, "matchExpressions"), i);
		const char *key = get_str(expression, "key"), *why = deprecated_node_label(key);

		if (why)
			warn(out, FP(at, "key"), "%s is %s", key, why);
		json_array_foreach(check_values ? get(expression, "values") : NULL, k, value) {
			_cleanup_strlist_ struct strlist msgs = {0};

			fmt_label_value(json_string_value(value), &msgs);
			for (size_t m = 0; m < msgs.count; m++)
				warn(out, FP_INDEX(FP(at, "values"), k), "%s is invalid, %s", json_string_value(value),
				     msgs.items[m]);
		}
	}
}

static void warn_node_choice(struct strlist *out, const struct fpath *p, const json_t *spec)
{
	const json_t *affinity = json_at(spec, "affinity.nodeAffinity");
	const struct fpath *at = FP(FP(p, "affinity"), "nodeAffinity");
	const struct fpath *required = FP(FP(at, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms");
	const struct fpath *preferred = FP(at, "preferredDuringSchedulingIgnoredDuringExecution");
	const char *key, *why;
	json_t *v;
	size_t i;

	json_object_foreach(get(spec, "nodeSelector"), key, v) {
		why = deprecated_node_label(key);
		if (why)
			warn(out, FP_KEY(FP(p, "nodeSelector"), key), "%s", why);
	}
	json_array_foreach(get(get(affinity, required->parent->name), "nodeSelectorTerms"), i, v)
		warn_node_term(out, FP_INDEX(required, i), v, false);
	/* Values of preferred terms are not validated, so that they are at least mentioned. */
	json_array_foreach(get(affinity, preferred->name), i, v)
		warn_node_term(out, FP(FP_INDEX(preferred, i), "preference"), get(v, "preference"), true);
	json_array_foreach(get(spec, "topologySpreadConstraints"), i, v) {
		const struct fpath *spread = FP_INDEX(FP(p, "topologySpreadConstraints"), i);

		key = get_str(v, "topologyKey");
		why = deprecated_node_label(key);
		if (why)
			warn(out, FP(spread, "topologyKey"), "%s is %s", key, why);
		if (!get(v, "labelSelector"))
			warn(out, FP(spread, "labelSelector"), "a null labelSelector results in matching no pod");
	}
}

static void warn_annotations(struct strlist *out, const struct fpath *meta_path, const json_t *meta)
{
	static const char *const old[][2] = {
		{ "scheduler.alpha.kubernetes.io/critical-pod",
		  "non-functional in v1.16+; use the \"priorityClassName\" field instead" },
		{ "security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead" },
		{ "security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(old); i++)
		if (json_object_get(get(meta, "annotations"), old[i][0]))
			warn(out, FP_KEY(FP(meta_path, "annotations"), old[i][0]), "%s", old[i][1]);
}

static void warn_token_paths(struct strlist *out, const struct fpath *p, const json_t *volumes)
{
	static const char *const kinds[][2] = { { "configMap", "configMap" },
						{ "secret", "secrets" },
						{ "downwardAPI", "downwardAPI" } };
	struct map *tokens = map_new(NULL);
	json_t *volume, *source, *item;
	size_t i, k, n;

	json_array_foreach(volumes, i, volume) {
		json_array_foreach(get(get(volume, "projected"), "sources"), k, source) {
			if (get(source, "serviceAccountToken"))
				map_set(tokens, get_str(get(source, "serviceAccountToken"), "path"), tokens);
		}
	}
	json_array_foreach(map_count(tokens) ? volumes : NULL, i, volume) {
		const struct fpath *at = FP(FP(FP_INDEX(p, i), "projected"), "sources");

		json_array_foreach(get(get(volume, "projected"), "sources"), k, source) {
			for (size_t s = 0; s < ARRAY_SIZE(kinds); s++) {
				json_array_foreach(get(get(source, kinds[s][0]), "items"), n, item) {
					if (map_has(tokens, get_str(item, "path")))
						warn_quoted(out, FP_INDEX(FP(at, kinds[s][1]), n),
							    "has duplicated path with ServiceAccountToken ",
							    get_str(item, "path"), "");
				}
			}
		}
	}
	map_free(tokens);
}

static void warn_volumes(struct strlist *out, const struct fpath *p, const json_t *volumes)
{
	static const char *const old[][3] = {
		{ "photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
		{ "gitRepo", "gitRepo", "deprecated in v1.11" },
		{ "scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
		{ "flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+" },
		{ "storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+" },
		{ "quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+" },
		{ "glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
		{ "cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
		{ "rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+" },
	};
	json_t *v;
	size_t i;

	json_array_foreach(volumes, i, v) {
		const struct fpath *at = FP_INDEX(p, i), *claim = FP(FP(at, "ephemeral"), "volumeClaimTemplate");

		for (size_t k = 0; k < ARRAY_SIZE(old); k++)
			if (get(v, old[k][0]))
				warn(out, FP(at, old[k][1]), "%s", old[k][2]);
		warn_pvc_spec(out, FP(claim, "spec"), json_at(v, "ephemeral.volumeClaimTemplate.spec"));
	}
	warn_token_paths(out, p, volumes);
}

static void warn_repeated(struct strlist *out, const struct fpath *p, const json_t *list, const char *key)
{
	_cleanup_free_ char *what = str_printf("duplicate %s ", key);
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (map_has(seen, get_str(v, key)))
			warn_quoted(out, FP(FP_INDEX(p, i), key), what, get_str(v, key), "");
		map_set(seen, get_str(v, key), seen);
	}
	map_free(seen);
}

void warn_fraction(struct strlist *out, const struct fpath *p, const json_t *list, const char *name)
{
	const char *s = get_str(list, name);
	struct quantity q;

	if (*s && quantity_parse(s, &q) == 0 && q.nano % 1000000000 != 0)
		warn_quoted(out, FP_KEY(p, name), "fractional byte value ", s, " is invalid, must be an integer");
}

static void warn_env(struct strlist *out, const struct fpath *p, const json_t *env)
{
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(env, i, v) {
		const char *name = get_str(v, "name"), *value = get_str(v, "value");
		_cleanup_free_ char *ref = str_printf("$(%s)", name);

		/* X=a, X=$(X)b is a way to append; anything else loses the first. */
		if (map_has(seen, name) && (get(v, "valueFrom") || strcmp(value, ref) == 0 || !strstr(value, ref)))
			warn_quoted(out, FP_INDEX(p, i), "hides previous definition of ", name,
				    ", which may be dropped when using apply");
		map_set(seen, name, seen);
	}
	map_free(seen);
}

static void warn_container(struct strlist *out, const struct fpath *meta_path, const struct fpath *p, const json_t *meta,
			   const json_t *spec, const json_t *c)
{
	static const char *const names[] = { "memory", "ephemeral-storage" }, *const lists[] = { "limits", "requests" };
	const json_t *annotations = get(meta, "annotations"), *resources = get(c, "resources");
	_cleanup_free_ char *seccomp = str_printf("container.seccomp.security.alpha.kubernetes.io/%s", get_str(c, "name"));
	_cleanup_free_ char *armor = str_printf("container.apparmor.security.beta.kubernetes.io/%s", get_str(c, "name"));
	const struct fpath *at = FP(meta_path, "annotations");

	if (!json_at(c, "securityContext.seccompProfile") && json_object_get(annotations, seccomp))
		warn(out, FP_KEY(at, seccomp), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
	/* In a pod the annotation has been copied to the field; a template is left as it is. */
	if (json_object_get(annotations, armor) &&
	    (!meta_path->parent || (!json_at(spec, "securityContext.appArmorProfile") &&
				    !json_at(c, "securityContext.appArmorProfile"))))
		warn(out, FP_KEY(at, armor), "deprecated since v1.30; use the \"appArmorProfile\" field instead");
	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
			warn_fraction(out, FP(FP(p, "resources"), lists[l]), get(resources, lists[l]), names[n]);
	warn_env(out, FP(p, "env"), get(c, "env"));
}

static const char *const container_lists[] = { "initContainers", "containers", "ephemeralContainers" };

struct port_seen {
	struct port_seen *next;
	const json_t *port;
	char *path;
};

static void free_ports(void *first)
{
	for (struct port_seen *s = first, *next; s; s = next) {
		next = s->next;
		free(s->path);
		free(s);
	}
}

/* How two definitions of the same port and protocol stand to each other; NULL: apart. */
static const char *port_clash(const json_t *a, const json_t *b)
{
	int64_t a_port = get_int(a, "hostPort"), b_port = get_int(b, "hostPort");
	const char *a_ip = get_str(a, "hostIP"), *b_ip = get_str(b, "hostIP");

	if (a_port == b_port && strcmp(a_ip, b_ip) == 0)
		return "duplicate";
	if (a_port == 0 || b_port == 0)
		return "overlapping";
	return a_port == b_port && !*a_ip != !*b_ip ? "dangerously ambiguous" : NULL;
}

static void warn_port(struct strlist *out, const struct fpath *p, const json_t *port, struct map *ports)
{
	enum { COMPARED_MAX = 64 }; /* of one port and protocol, as the list is the client's */
	_cleanup_free_ char *key = str_printf("%lld/%s", (long long)get_int(port, "containerPort"), get_str(port, "protocol"));
	struct port_seen *first = map_take(ports, key), **end = &first;
	size_t n = 0;

	if (*get_str(port, "hostIP") && get_int(port, "hostPort") == 0)
		warn(out, p, "hostIP set without hostPort: {Name:%s HostPort:0 ContainerPort:%lld Protocol:%s HostIP:%s}",
		     get_str(port, "name"), (long long)get_int(port, "containerPort"), get_str(port, "protocol"),
		     get_str(port, "hostIP"));
	for (; *end; end = &(*end)->next, n++) {
		const char *clash = port_clash(port, (*end)->port);

		if (clash)
			warn(out, p, "%s port definition with %s", clash, (*end)->path);
	}
	if (n < COMPARED_MAX) {
		*end = mem_new(struct port_seen);
		**end = (struct port_seen){ .port = port, .path = fpath_text(p) };
	}
	map_set(ports, key, first);
}

static void warn_ports(struct strlist *out, const struct fpath *p, const json_t *spec)
{
	struct map *ports = map_new(free_ports);
	json_t *c, *port;
	size_t i, k;

	for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++) {
		json_array_foreach(get(spec, container_lists[l]), i, c) {
			const struct fpath *at = FP_INDEX(FP(p, container_lists[l]), i);

			json_array_foreach(get(c, "ports"), k, port)
				warn_port(out, FP_INDEX(FP(at, "ports"), k), port, ports);
		}
	}
	map_free(ports);
}

static void warn_pod_affinity(struct strlist *out, const struct fpath *p, const json_t *spec)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	static const char text[] = "a null labelSelector results in matching no pod";
	json_t *v;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const json_t *affinity = get(get(spec, "affinity"), kinds[k]);
		const struct fpath *at = FP(FP(p, "affinity"), kinds[k]);
		const struct fpath *required = FP(at, "requiredDuringSchedulingIgnoredDuringExecution");
		const struct fpath *preferred = FP(at, "preferredDuringSchedulingIgnoredDuringExecution");

		json_array_foreach(get(affinity, required->name), i, v) {
			if (!get(v, "labelSelector"))
				warn(out, FP(FP_INDEX(required, i), "labelSelector"), "%s", text);
		}
		json_array_foreach(get(affinity, preferred->name), i, v) {
			if (!json_at(v, "podAffinityTerm.labelSelector"))
				warn(out, FP(FP(FP_INDEX(preferred, i), "podAffinityTerm"), "labelSelector"), "%s", text);
		}
	}
}

void warn_pod(struct strlist *out, const struct fpath *p, const json_t *pod)
{
	static const char seccomp[] = "seccomp.security.alpha.kubernetes.io/pod";
	const json_t *spec = get(pod, "spec"), *meta = get(pod, "metadata");
	const struct fpath *at = FP(p, "spec"), *meta_path = FP(p, "metadata");
	json_t *v;
	size_t i;

	warn_node_choice(out, at, spec);
	warn_annotations(out, meta_path, meta);
	warn_volumes(out, FP(at, "volumes"), get(spec, "volumes"));
	warn_repeated(out, FP(at, "hostAliases"), get(spec, "hostAliases"), "ip");
	warn_repeated(out, FP(at, "imagePullSecrets"), get(spec, "imagePullSecrets"), "name");
	json_array_foreach(get(spec, "imagePullSecrets"), i, v) {
		if (!*get_str(v, "name"))
			warn(out, FP(FP_INDEX(FP(at, "imagePullSecrets"), i), "name"), "invalid empty name \"\"");
	}
	warn_fraction(out, FP(at, "overhead"), get(spec, "overhead"), "memory");
	warn_fraction(out, FP(at, "overhead"), get(spec, "overhead"), "ephemeral-storage");
	if (!json_at(spec, "securityContext.seccompProfile") && json_object_get(get(meta, "annotations"), seccomp))
		warn(out, FP_KEY(FP(meta_path, "annotations"), seccomp),
		     "non-functional in v1.27+; use the \"seccompProfile\" field instead");
	for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++) {
		json_array_foreach(get(spec, container_lists[l]), i, v) {
			warn_container(out, meta_path, FP_INDEX(FP(at, container_lists[l]), i), meta, spec, v);
		}
	}
	warn_ports(out, at, spec);
	if (get_int(spec, "terminationGracePeriodSeconds") < 0)
		warn(out, FP(at, "terminationGracePeriodSeconds"),
		     "must be >= 0; negative values are invalid and will be treated as 1");
	warn_pod_affinity(out, at, spec);
}
