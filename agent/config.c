/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configurations for the runtime. Values of the container's securityContext win over the pod's; what neither says is
 * the runtime's default, except seccomp, which is unconfined unless it is asked for, as in Kubernetes.
 */
#include "agent/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/observe.h"
#include "agent/resources.h"
#include "agent/spec.h"
#include "agent/cgroup.h"
#include "agent/volume/volumes.h"
#include "base/file.h"
#include "kube/object.h"

enum { MAX_DNS_SERVERS = 3, MAX_DNS_SEARCHES = 32, MAX_HOSTNAME = 63, CFS_PERIOD_US = 100000 };

char *config_log_dir(const struct agent *a, const char *ns, const char *name, const char *uid)
{
	return str_printf("%s/logs/pods/%s_%s_%s", a->o.state, ns, name, uid);
}

char *config_hash(const json_t *container)
{
	_cleanup_free_ char *text = str_printf("%s %s", json_str_or(container, "name", ""), json_str_or(container, "image", ""));

	return str_printf("%016llx", (unsigned long long)hash_str(text));
}

/* Arena helpers: arrays as protobuf-c wants them. */

static char *text(struct arena *m, const char *s)
{
	return arena_strdup(m, s ? s : "");
}

#define ARENA_NEW(m, type, init) ({ type *_p = arena_alloc((m), sizeof(type)); *_p = (type)init; _p; })

static Cri__Pair *pair(struct arena *m, const char *key, const char *value)
{
	Cri__Pair *p = ARENA_NEW(m, Cri__Pair, CRI__PAIR__INIT);

	p->key = text(m, key);
	p->value = text(m, value);
	return p;
}

/* All of a JSON map of strings and room for `extra` more. */
static Cri__Pair **pairs_of(struct arena *m, const json_t *map, size_t extra, size_t *count)
{
	Cri__Pair **pairs = arena_alloc(m, (json_object_size(map) + extra + 1) * sizeof(*pairs));
	const char *key;
	json_t *v;

	*count = 0;
	json_object_foreach((json_t *)map, key, v)
		pairs[(*count)++] = pair(m, key, json_string_value(v));
	return pairs;
}

static char **strings_of(struct arena *m, const json_t *array, size_t *count)
{
	char **list = arena_alloc(m, (json_array_size(array) + 1) * sizeof(*list));
	json_t *v;
	size_t i;

	*count = 0;
	json_array_foreach(array, i, v)
		list[(*count)++] = text(m, json_string_value(v));
	return list;
}

static char **list_of(struct arena *m, const struct strlist *l, size_t *count)
{
	char **list = arena_alloc(m, (l->count + 1) * sizeof(*list));

	for (*count = 0; *count < l->count; (*count)++)
		list[*count] = text(m, l->items[*count]);
	return list;
}

/* DNS */

void config_dns_done(struct config_dns *d)
{
	strlist_done(&d->servers);
	strlist_done(&d->searches);
	strlist_done(&d->options);
}

static void add_once(struct strlist *l, const char *s, size_t max)
{
	if (!strlist_has(l, s) && l->count < max)
		strlist_add(l, s);
}

static void parse_resolv_conf(const char *text, struct config_dns *d)
{
	_cleanup_strlist_ struct strlist lines = { 0 };

	strlist_split(&lines, text ? text : "", '\n');
	for (size_t i = 0; i < lines.count; i++) {
		_cleanup_strlist_ struct strlist words = { 0 };

		for (char *p = lines.items[i]; *p; p++)
			if (*p == '\t' || *p == '\r')
				*p = ' ';
		strlist_split(&words, lines.items[i], ' ');
		if (words.count < 2)
			continue;
		for (size_t w = 1; w < words.count; w++) {
			if (str_eq(words.items[0], "nameserver") && w == 1)
				add_once(&d->servers, words.items[w], MAX_DNS_SERVERS);
			else if (str_eq(words.items[0], "search"))
				add_once(&d->searches, words.items[w], MAX_DNS_SEARCHES);
			else if (str_eq(words.items[0], "options"))
				add_once(&d->options, words.items[w], 64);
		}
	}
}

/* dnsConfig comes on top; an option of the same name is replaced. */
static void merge_dns_config(const json_t *config, struct config_dns *d)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(config, "nameservers"), i, v)
		add_once(&d->servers, json_string_value(v), MAX_DNS_SERVERS);
	json_array_foreach(json_object_get(config, "searches"), i, v)
		add_once(&d->searches, json_string_value(v), MAX_DNS_SEARCHES);
	json_array_foreach(json_object_get(config, "options"), i, v) {
		const char *name = json_str_or(v, "name", ""), *value = json_str(v, "value");
		_cleanup_free_ char *option = str_empty(value) ? mem_strdup(name) : str_printf("%s:%s", name, value);
		struct strlist kept = { 0 };

		for (size_t k = 0; k < d->options.count; k++) {
			size_t len = strcspn(d->options.items[k], ":");

			if (strlen(name) != len || strncmp(d->options.items[k], name, len) != 0)
				strlist_add(&kept, d->options.items[k]);
		}
		strlist_add(&kept, option);
		strlist_done(&d->options);
		d->options = kept;
	}
}

void config_dns(const json_t *pod, const char *cluster_dns, const char *cluster_domain, const char *resolv_conf,
		struct config_dns *ret)
{
	const char *policy = json_str_or(pod, "spec.dnsPolicy", "ClusterFirst");
	bool host_network = json_bool(pod, "spec.hostNetwork", false);
	struct config_dns d = { 0 }, host = { 0 };

	if (str_eq(policy, "ClusterFirstWithHostNet") || (str_eq(policy, "ClusterFirst") && !host_network)) {
		parse_resolv_conf(resolv_conf, &host);
		strlist_split(&d.servers, cluster_dns, ',');
		strlist_addf(&d.searches, "%s.svc.%s", object_namespace(pod), cluster_domain);
		strlist_addf(&d.searches, "svc.%s", cluster_domain);
		strlist_add(&d.searches, cluster_domain);
		for (size_t i = 0; i < host.searches.count; i++)
			add_once(&d.searches, host.searches.items[i], MAX_DNS_SEARCHES);
		strlist_add(&d.options, "ndots:5");
		config_dns_done(&host);
	} else if (!str_eq(policy, "None")) {
		parse_resolv_conf(resolv_conf, &d);
	}
	merge_dns_config(json_at(pod, "spec.dnsConfig"), &d);
	*ret = d;
}

/* Names */

static char *hostname_of(struct arena *m, const struct agent *a, const json_t *pod)
{
	char *name = text(m, json_str_or(pod, "spec.hostname", object_name(pod)));
	const char *subdomain = json_str(pod, "spec.subdomain");

	if (strlen(name) > MAX_HOSTNAME) {
		name[MAX_HOSTNAME] = '\0';
		for (size_t n = MAX_HOSTNAME; n > 0 && (name[n - 1] == '-' || name[n - 1] == '.'); n--)
			name[n - 1] = '\0';
	}
	if (json_bool(pod, "spec.setHostnameAsFQDN", false) && !str_empty(subdomain))
		return arena_printf(m, "%s.%s.%s.svc.%s", name, subdomain, object_namespace(pod), a->o.cluster_domain);
	return name;
}

int config_write_hosts(struct agent *a, const json_t *pod, const struct pod_facts *facts, struct err *err)
{
	_cleanup_free_ char *dir = volumes_pod_dir(a, object_uid(pod));
	_cleanup_free_ char *path = str_printf("%s/etc-hosts", dir);
	_cleanup_strbuf_ struct strbuf out = { 0 }, have = { 0 };
	_cleanup_(arena_freep) struct arena *m = arena_new();
	const char *host = json_str_or(pod, "spec.hostname", object_name(pod)), *subdomain = json_str(pod, "spec.subdomain");
	json_t *alias, *name;
	size_t i, k;
	int r;

	if (json_bool(pod, "spec.hostNetwork", false)) {
		strbuf_adds(&out, "# Kubernetes-managed hosts file (host network).\n");
		(void)file_read("/etc/hosts", 1 << 20, &out);
	} else {
		strbuf_adds(&out, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
				   "ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n"
				   "fe00::2\tip6-allrouters\n");
		for (i = 0; facts->pod_ips && i < facts->pod_ips->count; i++) {
			if (!str_empty(subdomain))
				strbuf_addf(&out, "%s\t%s.%s.%s.svc.%s\t%s\n", facts->pod_ips->items[i], host, subdomain,
					    object_namespace(pod), a->o.cluster_domain, host);
			else
				strbuf_addf(&out, "%s\t%s\n", facts->pod_ips->items[i], host);
		}
	}
	if (json_array_size(json_at(pod, "spec.hostAliases")) > 0)
		strbuf_adds(&out, "\n# Entries added by HostAliases.\n");
	json_array_foreach(json_at(pod, "spec.hostAliases"), i, alias) {
		strbuf_adds(&out, json_str_or(alias, "ip", ""));
		json_array_foreach(json_object_get(alias, "hostnames"), k, name)
			strbuf_addf(&out, "\t%s", json_string_value(name));
		strbuf_addc(&out, '\n');
	}
	/* Written in place when it is there: containers have the file itself mounted. */
	if (file_read(path, 2 << 20, &have) == 0 && have.len == out.len && memcmp(have.data, out.data, out.len) == 0)
		return 0;
	r = file_mkdir_p(dir, 0750);
	if (r == 0) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, out.data, out.len) != (ssize_t)out.len)
			r = -errno;
	}
	return r < 0 ? err_set(err, -r, "write %s: %s", path, strerror(-r)) : 0;
}

/* Security */

static const json_t *security(const struct config_container_input *in, const char *field)
{
	const json_t *v = json_object_get(json_object_get(in->container, "securityContext"), field);

	return v && !json_is_null(v) ? v : json_object_get(json_at(in->pod, "spec.securityContext"), field);
}

static Cri__NamespaceOption *namespaces(struct arena *m, const json_t *pod)
{
	Cri__NamespaceOption *n = ARENA_NEW(m, Cri__NamespaceOption, CRI__NAMESPACE_OPTION__INIT);

	n->network = json_bool(pod, "spec.hostNetwork", false) ? CRI__NAMESPACE_MODE__NODE : CRI__NAMESPACE_MODE__POD;
	n->ipc = json_bool(pod, "spec.hostIPC", false) ? CRI__NAMESPACE_MODE__NODE : CRI__NAMESPACE_MODE__POD;
	n->pid = json_bool(pod, "spec.hostPID", false)		      ? CRI__NAMESPACE_MODE__NODE :
		 json_bool(pod, "spec.shareProcessNamespace", false) ? CRI__NAMESPACE_MODE__POD :
								       CRI__NAMESPACE_MODE__CONTAINER;
	return n;
}

static Cri__SecurityProfile *seccomp(struct arena *m, const struct agent *a, const json_t *profile)
{
	Cri__SecurityProfile *p = ARENA_NEW(m, Cri__SecurityProfile, CRI__SECURITY_PROFILE__INIT);
	const char *type = json_str_or(profile, "type", "Unconfined");

	p->profile_type = CRI__PROFILE_TYPE__UNCONFINED;
	if (str_eq(type, "RuntimeDefault")) {
		p->profile_type = CRI__PROFILE_TYPE__RUNTIME_DEFAULT;
	} else if (str_eq(type, "Localhost")) {
		p->profile_type = CRI__PROFILE_TYPE__LOCALHOST;
		p->localhost_ref = arena_printf(m, "%s/agent/seccomp/%s", a->o.state, json_str_or(profile, "localhostProfile", ""));
	}
	return p;
}

static Cri__Int64Value *int64_value(struct arena *m, int64_t value)
{
	Cri__Int64Value *v = ARENA_NEW(m, Cri__Int64Value, CRI__INT64_VALUE__INIT);

	v->value = value;
	return v;
}

static int64_t *groups_of(struct arena *m, const json_t *pod, size_t *count)
{
	const json_t *context = json_at(pod, "spec.securityContext");
	const json_t *list = json_object_get(context, "supplementalGroups"), *fs_group = json_object_get(context, "fsGroup");
	int64_t *groups = arena_alloc(m, (json_array_size(list) + 1) * sizeof(*groups));
	json_t *v;
	size_t i;

	*count = 0;
	if (json_is_integer(fs_group))
		groups[(*count)++] = json_integer_value(fs_group);
	json_array_foreach(list, i, v)
		groups[(*count)++] = json_integer_value(v);
	return groups;
}

static bool wants_privileged(const json_t *pod)
{
	for (size_t l = 0; l < SPEC_LISTS; l++) {
		json_t *container;
		size_t i;

		json_array_foreach(json_object_get(json_object_get(pod, "spec"), spec_lists[l]), i, container)
			if (json_bool(container, "securityContext.privileged", false))
				return true;
	}
	return false;
}

static void set_paths(struct arena *m, Cri__LinuxContainerSecurityContext *s)
{
	static const char *const masked[] = { "/proc/asound",	"/proc/acpi",	    "/proc/kcore",	  "/proc/keys",
					      "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
					      "/proc/sched_debug", "/proc/scsi",	    "/sys/firmware",
					      "/sys/devices/virtual/powercap" };
	static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

	s->masked_paths = arena_alloc(m, sizeof(masked));
	memcpy(s->masked_paths, masked, sizeof(masked));
	s->n_masked_paths = ARRAY_SIZE(masked);
	s->readonly_paths = arena_alloc(m, sizeof(read_only));
	memcpy(s->readonly_paths, read_only, sizeof(read_only));
	s->n_readonly_paths = ARRAY_SIZE(read_only);
}

static Cri__LinuxContainerSecurityContext *container_security(struct arena *m, const struct agent *a,
							      const struct config_container_input *in)
{
	Cri__LinuxContainerSecurityContext *s =
		ARENA_NEW(m, Cri__LinuxContainerSecurityContext, CRI__LINUX_CONTAINER_SECURITY_CONTEXT__INIT);
	const json_t *own = json_object_get(in->container, "securityContext"), *capabilities;
	const json_t *user = security(in, "runAsUser"), *group = security(in, "runAsGroup");

	s->privileged = json_bool(own, "privileged", false);
	s->readonly_rootfs = json_bool(own, "readOnlyRootFilesystem", false);
	s->no_new_privs = !json_bool(own, "allowPrivilegeEscalation", true);
	s->namespace_options = namespaces(m, in->pod);
	if (in->target_id && s->namespace_options->pid == CRI__NAMESPACE_MODE__CONTAINER) {
		s->namespace_options->pid = CRI__NAMESPACE_MODE__TARGET;
		s->namespace_options->target_id = text(m, in->target_id);
	}
	s->seccomp = seccomp(m, a, security(in, "seccompProfile"));
	s->supplemental_groups = groups_of(m, in->pod, &s->n_supplemental_groups);
	if (json_is_integer(user))
		s->run_as_user = int64_value(m, json_integer_value(user));
	else if (in->image_uid >= 0)
		s->run_as_user = int64_value(m, in->image_uid);
	else if (!str_empty(in->image_user))
		s->run_as_username = text(m, in->image_user);
	else if (json_is_integer(group))
		s->run_as_user = int64_value(m, 0); /* a group needs a user: the image's default is root */
	if (json_is_integer(group))
		s->run_as_group = int64_value(m, json_integer_value(group));
	capabilities = json_object_get(own, "capabilities");
	if (capabilities) {
		s->capabilities = ARENA_NEW(m, Cri__Capability, CRI__CAPABILITY__INIT);
		s->capabilities->add_capabilities =
			strings_of(m, json_object_get(capabilities, "add"), &s->capabilities->n_add_capabilities);
		s->capabilities->drop_capabilities =
			strings_of(m, json_object_get(capabilities, "drop"), &s->capabilities->n_drop_capabilities);
	}
	if (!s->privileged && !str_eq(json_str(own, "procMount"), "Unmasked"))
		set_paths(m, s);
	return s;
}

/* Sandbox */

static void container_ports(struct arena *m, const json_t *container, Cri__PodSandboxConfig *c)
{
	json_t *port;
	size_t k;

	json_array_foreach(json_object_get(container, "ports"), k, port) {
		Cri__PortMapping *p;

		if (json_int(port, "hostPort", 0) <= 0)
			continue;
		p = ARENA_NEW(m, Cri__PortMapping, CRI__PORT_MAPPING__INIT);
		p->protocol = str_eq(json_str(port, "protocol"), "UDP")	 ? CRI__PROTOCOL__UDP :
			      str_eq(json_str(port, "protocol"), "SCTP") ? CRI__PROTOCOL__SCTP :
									   CRI__PROTOCOL__TCP;
		p->container_port = (int32_t)json_int(port, "containerPort", 0);
		p->host_port = (int32_t)json_int(port, "hostPort", 0);
		p->host_ip = text(m, json_str(port, "hostIP"));
		c->port_mappings[c->n_port_mappings++] = p;
	}
}

/* The runtime hands them to the network plugin (capability portMappings), as it does the annotations
 * kubernetes.io/ingress-bandwidth and egress-bandwidth (capability bandwidth). */
static void sandbox_ports(struct arena *m, const json_t *pod, Cri__PodSandboxConfig *c)
{
	json_t *container;
	size_t i, count = 0;

	json_array_foreach(json_at(pod, "spec.containers"), i, container)
		count += json_array_size(json_object_get(container, "ports"));
	json_array_foreach(json_at(pod, "spec.initContainers"), i, container)
		count += json_array_size(json_object_get(container, "ports"));
	c->port_mappings = arena_alloc(m, (count + 1) * sizeof(*c->port_mappings));
	json_array_foreach(json_at(pod, "spec.containers"), i, container)
		container_ports(m, container, c);
	json_array_foreach(json_at(pod, "spec.initContainers"), i, container)
		if (str_eq(json_str(container, "restartPolicy"), "Always"))
			container_ports(m, container, c);
}

static Cri__LinuxPodSandboxConfig *sandbox_linux(struct arena *m, struct agent *a, const json_t *pod)
{
	Cri__LinuxPodSandboxConfig *l = ARENA_NEW(m, Cri__LinuxPodSandboxConfig, CRI__LINUX_POD_SANDBOX_CONFIG__INIT);
	Cri__LinuxSandboxSecurityContext *s =
		ARENA_NEW(m, Cri__LinuxSandboxSecurityContext, CRI__LINUX_SANDBOX_SECURITY_CONTEXT__INIT);
	_cleanup_free_ char *cgroup = cgroup_pod_path(a->o.cgroup_root, resources_qos(pod), object_uid(pod));
	const json_t *context = json_at(pod, "spec.securityContext"), *sysctls = json_object_get(context, "sysctls");
	json_t *v;
	size_t i;

	l->cgroup_parent = text(m, cgroup);
	l->security_context = s;
	s->namespace_options = namespaces(m, pod);
	s->privileged = wants_privileged(pod);
	s->supplemental_groups = groups_of(m, pod, &s->n_supplemental_groups);
	s->seccomp = seccomp(m, a, json_object_get(context, "seccompProfile"));
	/* The pause container needs no rights; the pod's user owns the sandbox's files such as /dev/shm. */
	if (json_is_integer(json_object_get(context, "runAsUser"))) {
		s->run_as_user = int64_value(m, json_int(context, "runAsUser", 0));
		if (json_is_integer(json_object_get(context, "runAsGroup")))
			s->run_as_group = int64_value(m, json_int(context, "runAsGroup", 0));
	}
	l->sysctls = arena_alloc(m, (json_array_size(sysctls) + 1) * sizeof(*l->sysctls));
	json_array_foreach(sysctls, i, v)
		l->sysctls[l->n_sysctls++] = pair(m, json_str(v, "name"), json_str(v, "value"));
	return l;
}

static Cri__Pair **pod_labels(struct arena *m, const json_t *pod, const json_t *labels, size_t extra, size_t *count)
{
	Cri__Pair **pairs = pairs_of(m, labels, extra + 3, count);

	pairs[(*count)++] = pair(m, LABEL_POD_NAME, object_name(pod));
	pairs[(*count)++] = pair(m, LABEL_POD_NAMESPACE, object_namespace(pod));
	pairs[(*count)++] = pair(m, LABEL_POD_UID, object_uid(pod));
	return pairs;
}

Cri__PodSandboxConfig *config_sandbox(struct arena *m, struct agent *a, const json_t *pod, uint32_t attempt)
{
	Cri__PodSandboxConfig *c = ARENA_NEW(m, Cri__PodSandboxConfig, CRI__POD_SANDBOX_CONFIG__INIT);
	_cleanup_free_ char *logs = config_log_dir(a, object_namespace(pod), object_name(pod), object_uid(pod));
	_cleanup_strbuf_ struct strbuf resolv = { 0 };
	struct config_dns dns;

	c->metadata = ARENA_NEW(m, Cri__PodSandboxMetadata, CRI__POD_SANDBOX_METADATA__INIT);
	c->metadata->name = text(m, object_name(pod));
	c->metadata->uid = text(m, object_uid(pod));
	c->metadata->namespace_ = text(m, object_namespace(pod));
	c->metadata->attempt = attempt;
	if (!json_bool(pod, "spec.hostNetwork", false))
		c->hostname = hostname_of(m, a, pod);
	c->log_directory = text(m, logs);

	(void)file_read("/etc/resolv.conf", 64 << 10, &resolv);
	config_dns(pod, a->o.cluster_dns, a->o.cluster_domain, resolv.data, &dns);
	c->dns_config = ARENA_NEW(m, Cri__DnsConfig, CRI__DNS_CONFIG__INIT);
	c->dns_config->servers = list_of(m, &dns.servers, &c->dns_config->n_servers);
	c->dns_config->searches = list_of(m, &dns.searches, &c->dns_config->n_searches);
	c->dns_config->options = list_of(m, &dns.options, &c->dns_config->n_options);
	config_dns_done(&dns);

	sandbox_ports(m, pod, c);
	c->labels = pod_labels(m, pod, object_labels(pod), 0, &c->n_labels);
	c->annotations = pairs_of(m, object_annotations(pod), 1, &c->n_annotations);
	c->annotations[c->n_annotations++] =
		pair(m, NOTE_GRACE, arena_printf(m, "%lld", (long long)json_int(pod, "spec.terminationGracePeriodSeconds", 30)));
	c->linux_ = sandbox_linux(m, a, pod);
	return c;
}

/* Container */

Cri__LinuxContainerResources *config_resources(struct arena *m, const json_t *pod, const json_t *container, int64_t node_memory_bytes)
{
	Cri__LinuxContainerResources *r = ARENA_NEW(m, Cri__LinuxContainerResources, CRI__LINUX_CONTAINER_RESOURCES__INIT);
	int64_t memory = resources_milli(container, "limits", "memory");

	r->cpu_shares = resources_cpu_shares(resources_milli(container, "requests", "cpu"));
	r->cpu_quota = resources_cpu_quota(resources_milli(container, "limits", "cpu"));
	r->cpu_period = CFS_PERIOD_US;
	r->memory_limit_in_bytes = memory > 0 ? memory / 1000 : 0;
	r->oom_score_adj = resources_oom_score_adj(pod, container, node_memory_bytes);
	return r;
}

static Cri__Mount *mount_of(struct arena *m, const char *host_path, const char *container_path, bool read_only)
{
	Cri__Mount *mount = ARENA_NEW(m, Cri__Mount, CRI__MOUNT__INIT);

	mount->host_path = text(m, host_path);
	mount->container_path = text(m, container_path);
	mount->readonly = read_only;
	return mount;
}

/* The file that receives the termination message; a new one for each run. Own. */
static char *make_message_file(struct agent *a, const struct config_container_input *in, struct err *err)
{
	_cleanup_free_ char *pod_dir = volumes_pod_dir(a, object_uid(in->pod));
	_cleanup_free_ char *dir = str_printf("%s/containers/%s", pod_dir, json_str_or(in->container, "name", ""));
	char *path = str_printf("%s/%u", dir, in->attempt);
	int r = file_mkdir_p(dir, 0750);
	int fd = r < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || fchmod(fd, 0666) < 0) {
		err_set(err, r < 0 ? -r : errno, "create %s: %s", path, strerror(r < 0 ? -r : errno));
		free(path);
		path = NULL;
	}
	if (fd >= 0)
		close(fd);
	return path;
}

static int add_volume_mounts(struct arena *m, struct agent *a, const struct config_container_input *in,
			     Cri__ContainerConfig *c, bool *ret_hosts_mounted, struct err *err)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(in->container, "volumeMounts"), i, v) {
		const char *volume = json_str_or(v, "name", ""), *at = json_str_or(v, "mountPath", "");
		const char *expr = json_str(v, "subPathExpr"), *propagation = json_str(v, "mountPropagation");
		_cleanup_free_ char *sub_path =
			str_empty(expr) ? mem_strdup(json_str_or(v, "subPath", "")) : env_expand_all(expr, in->env, err);
		_cleanup_free_ char *source = NULL;
		Cri__Mount *mount;

		if (!sub_path)
			return -EINVAL;
		int r = volumes_mount_source(a, in->pod, json_str_or(in->container, "name", ""), i, volume, sub_path, &source,
					     err);

		if (r < 0)
			return r;
		mount = mount_of(m, source, *at == '/' ? at : arena_printf(m, "/%s", at),
				 json_bool(v, "readOnly", false) || volumes_is_read_only(in->pod, volume));
		if (str_eq(propagation, "HostToContainer"))
			mount->propagation = CRI__MOUNT_PROPAGATION__HOST_TO_CONTAINER;
		else if (str_eq(propagation, "Bidirectional"))
			mount->propagation = CRI__MOUNT_PROPAGATION__BIDIRECTIONAL;
		c->mounts[c->n_mounts++] = mount;
		*ret_hosts_mounted = *ret_hosts_mounted || str_eq(at, "/etc/hosts");
	}
	return 0;
}

static char **expand_list(struct arena *m, const json_t *list, const struct env *env, size_t *count)
{
	char **out = arena_alloc(m, (json_array_size(list) + 1) * sizeof(*out));
	json_t *v;
	size_t i;

	*count = 0;
	json_array_foreach(list, i, v) {
		_cleanup_free_ char *s = env_expand(json_string_value(v) ? json_string_value(v) : "", env);

		out[(*count)++] = text(m, s);
	}
	return out;
}

Cri__ContainerConfig *config_container(struct arena *m, struct agent *a, const struct config_container_input *in,
				       struct err *err)
{
	Cri__ContainerConfig *c = ARENA_NEW(m, Cri__ContainerConfig, CRI__CONTAINER_CONFIG__INIT);
	const char *name = json_str_or(in->container, "name", "");
	_cleanup_free_ char *pod_dir = volumes_pod_dir(a, object_uid(in->pod));
	_cleanup_free_ char *hosts = str_printf("%s/etc-hosts", pod_dir);
	_cleanup_free_ char *message = make_message_file(a, in, err), *hash = config_hash(in->container);
	bool hosts_mounted = false;

	if (!message)
		return NULL;
	c->metadata = ARENA_NEW(m, Cri__ContainerMetadata, CRI__CONTAINER_METADATA__INIT);
	c->metadata->name = text(m, name);
	c->metadata->attempt = in->attempt;
	c->image = ARENA_NEW(m, Cri__ImageSpec, CRI__IMAGE_SPEC__INIT);
	c->image->image = text(m, in->image);
	c->command = expand_list(m, json_object_get(in->container, "command"), in->env, &c->n_command);
	c->args = expand_list(m, json_object_get(in->container, "args"), in->env, &c->n_args);
	c->working_dir = text(m, json_str(in->container, "workingDir"));
	c->envs = arena_alloc(m, (in->env->names.count + 1) * sizeof(*c->envs));
	for (size_t i = 0; i < in->env->names.count; i++) {
		Cri__KeyValue *kv = ARENA_NEW(m, Cri__KeyValue, CRI__KEY_VALUE__INIT);

		kv->key = text(m, in->env->names.items[i]);
		kv->value = text(m, in->env->values.items[i]);
		c->envs[c->n_envs++] = kv;
	}
	c->mounts = arena_alloc(m, (json_array_size(json_object_get(in->container, "volumeMounts")) + 3) * sizeof(*c->mounts));
	if (add_volume_mounts(m, a, in, c, &hosts_mounted, err) < 0)
		return NULL;
	if (!hosts_mounted)
		c->mounts[c->n_mounts++] = mount_of(m, hosts, "/etc/hosts", false);
	c->mounts[c->n_mounts++] =
		mount_of(m, message, json_str_or(in->container, "terminationMessagePath", "/dev/termination-log"), false);

	c->labels = pod_labels(m, in->pod, NULL, 1, &c->n_labels);
	c->labels[c->n_labels++] = pair(m, LABEL_CONTAINER_NAME, name);
	c->annotations = pairs_of(m, NULL, 4, &c->n_annotations);
	c->annotations[c->n_annotations++] = pair(m, NOTE_RESTART_COUNT, arena_printf(m, "%u", in->attempt));
	c->annotations[c->n_annotations++] = pair(m, NOTE_HASH, hash);
	c->annotations[c->n_annotations++] = pair(m, NOTE_MESSAGE_PATH, message);
	c->annotations[c->n_annotations++] =
		pair(m, NOTE_MESSAGE_POLICY, json_str_or(in->container, "terminationMessagePolicy", "File"));
	c->log_path = arena_printf(m, "%s/%u.log", name, in->attempt);
	c->stdin = json_bool(in->container, "stdin", false);
	c->stdin_once = json_bool(in->container, "stdinOnce", false);
	c->tty = json_bool(in->container, "tty", false);
	c->linux_ = ARENA_NEW(m, Cri__LinuxContainerConfig, CRI__LINUX_CONTAINER_CONFIG__INIT);
	c->linux_->resources = config_resources(m, in->pod, in->container, in->facts->node_memory_bytes);
	c->linux_->security_context = container_security(m, a, in);
	return c;
}
