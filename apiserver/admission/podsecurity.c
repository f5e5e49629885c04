// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/admission/podsecurity.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"

static const char *const level_names[] = { "privileged", "baseline", "restricted" };

int pod_security_level_parse(const char *s, enum pod_security_level *ret)
{
	*ret = POD_SECURITY_PRIVILEGED;
	if (str_empty(s))
		return 0;
	for (int i = 0; i < POD_SECURITY_LEVELS; i++)
		if (str_eq(s, level_names[i])) {
			*ret = (enum pod_security_level)i;
			return 0;
		}
	return -EINVAL;
}

const char *pod_security_level_name(enum pod_security_level level)
{
	return level_names[level];
}

bool pod_security_version_valid(const char *s)
{
	uint64_t minor;
	return str_empty(s) || str_eq(s, "latest") || (str_starts(s, "v1.") && str_to_u64(s + 3, 9999, &minor) == 0);
}

/* ---- what a check looks at and says */

struct look {
	const json_t *metadata, *spec, *security; /* security: the pod's securityContext, may be NULL */
	bool windows;
	struct strbuf detail;
};

/* Every container of whatever kind, in the order upstream visits them. */
#define EACH_CONTAINER(l, c)                                                                                          \
	for (size_t _k = 0; _k < 3; _k++)                                                                             \
		for (size_t _i = 0; _i < json_array_size(container_list(l, _k)) && ((c) = json_array_get(container_list(l, _k), _i)); _i++)

static const json_t *container_list(const struct look *l, size_t kind)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	return json_object_get(l->spec, lists[kind]);
}

/* Names gathered for a sentence: "a", "b". */
struct names {
	struct strbuf text;
	size_t count;
};

static void name_add(struct names *n, const char *name)
{
	strbuf_addf(&n->text, "%s\"%s\"", n->count++ ? ", " : "", name ? name : "");
}

static bool name_has(const struct names *n, const char *name)
{
	_cleanup_free_ char *quoted = str_printf("\"%s\"", name);
	return n->text.len && strstr(n->text.data, quoted);
}

static void containers_say(struct look *l, struct names *n, const char *what)
{
	if (n->count)
		strbuf_addf(&l->detail, "%scontainer%s %s %s", l->detail.len ? "; " : "", n->count > 1 ? "s" : "", n->text.data, what);
	strbuf_done(&n->text);
	*n = (struct names){ 0 };
}

static void say(struct look *l, const char *text)
{
	strbuf_addf(&l->detail, "%s%s", l->detail.len ? ", " : "", text);
}

static bool one_of(const char *s, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(s, list[i]))
			return true;
	return false;
}

/* ---- baseline */

static void check_host_namespaces(struct look *l)
{
	static const char *const fields[] = { "hostNetwork", "hostPID", "hostIPC" };
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (json_is_true(json_object_get(l->spec, fields[i])))
			strbuf_addf(&l->detail, "%s%s=true", l->detail.len ? ", " : "", fields[i]);
}

static void volumes_say(struct look *l, struct names *n)
{
	if (n->count)
		strbuf_addf(&l->detail, "volume%s %s", n->count > 1 ? "s" : "", n->text.data);
	strbuf_done(&n->text);
}

static void check_host_path(struct look *l)
{
	struct names n = { 0 };
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(l->spec, "volumes"), i, v)
		if (json_object_get(v, "hostPath"))
			name_add(&n, json_str(v, "name"));
	volumes_say(l, &n);
}

static void check_host_ports(struct look *l)
{
	struct names n = { 0 }, ports = { 0 };
	json_t *c, *p;
	size_t i;
	EACH_CONTAINER(l, c) {
		bool uses = false;
		json_array_foreach(json_object_get(c, "ports"), i, p) {
			int64_t port = json_int(p, "hostPort", 0);
			if (!port)
				continue;
			uses = true;
			strbuf_addf(&ports.text, "%s%lld", ports.count++ ? ", " : "", (long long)port);
		}
		if (uses)
			name_add(&n, json_str(c, "name"));
	}
	if (n.count)
		strbuf_addf(&l->detail, "container%s %s use%s hostPort%s %s", n.count > 1 ? "s" : "", n.text.data, n.count > 1 ? "" : "s",
			    ports.count > 1 ? "s" : "", ports.text.data);
	strbuf_done(&n.text);
	strbuf_done(&ports.text);
}

/* Probes and hooks that connect to another host than the pod. */
static bool names_host(const json_t *handler)
{
	static const char *const kinds[] = { "httpGet", "tcpSocket" };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *host = json_string_value(json_object_get(json_object_get(handler, kinds[i]), "host"));
		if (!str_empty(host))
			return true;
	}
	return false;
}

static void check_probe_hosts(struct look *l)
{
	static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe" }, *const hooks[] = { "postStart", "preStop" };
	struct names n = { 0 };
	json_t *c;
	EACH_CONTAINER(l, c) {
		bool bad = false;
		for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
			bad |= names_host(json_object_get(c, probes[i]));
		for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
			bad |= names_host(json_object_get(json_object_get(c, "lifecycle"), hooks[i]));
		if (bad)
			name_add(&n, json_str(c, "name"));
	}
	containers_say(l, &n, "must not set probe or lifecycle host");
}

static void check_privileged(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	EACH_CONTAINER(l, c)
		if (json_bool(c, "securityContext.privileged", false))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set securityContext.privileged=true");
}

static void check_proc_mount(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	EACH_CONTAINER(l, c)
		if (!str_eq(json_str_or(c, "securityContext.procMount", "Default"), "Default"))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set securityContext.procMount to \"Unmasked\"");
}

static void check_capabilities(struct look *l)
{
	static const char *const fine[] = { "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
		"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT" };
	struct names n = { 0 }, caps = { 0 };
	json_t *c, *cap;
	size_t i;
	EACH_CONTAINER(l, c) {
		bool bad = false;
		json_array_foreach(json_at(c, "securityContext.capabilities.add"), i, cap) {
			const char *name = json_string_value(cap);
			if (!name || one_of(name, fine, ARRAY_SIZE(fine)))
				continue;
			bad = true;
			if (!name_has(&caps, name))
				name_add(&caps, name);
		}
		if (bad)
			name_add(&n, json_str(c, "name"));
	}
	_cleanup_free_ char *what = str_printf("must not include %s in securityContext.capabilities.add", caps.count ? caps.text.data : "");
	containers_say(l, &n, what);
	strbuf_done(&caps.text);
}

static void check_app_armor(struct look *l)
{
	struct names n = { 0 };
	json_t *c, *v;
	const char *key;
	if (str_eq(json_str(l->security, "appArmorProfile.type"), "Unconfined"))
		say(l, "pod must not set securityContext.appArmorProfile.type to \"Unconfined\"");
	EACH_CONTAINER(l, c)
		if (str_eq(json_str(c, "securityContext.appArmorProfile.type"), "Unconfined"))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set securityContext.appArmorProfile.type to \"Unconfined\"");
	json_object_foreach(json_object_get(l->metadata, "annotations"), key, v) {
		const char *value = json_string_value(v);
		if (str_starts(key, "container.apparmor.security.beta.kubernetes.io/") && !str_empty(value) &&
		    !str_eq(value, "runtime/default") && !str_starts(value, "localhost/")) {
			_cleanup_free_ char *text = str_printf("%s=\"%s\"", key, value);
			say(l, text);
		}
	}
}

static void se_linux_of(struct look *l, const json_t *options, const char *who)
{
	static const char *const types[] = { "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t" };
	const char *type = json_str_or(options, "type", ""), *user = json_str_or(options, "user", ""), *role = json_str_or(options, "role", "");
	if (one_of(type, types, ARRAY_SIZE(types)) && !*user && !*role)
		return;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_addf(&b, "%s set forbidden securityContext.seLinuxOptions: ", who);
	if (!one_of(type, types, ARRAY_SIZE(types)))
		strbuf_addf(&b, "type \"%s\"", type);
	if (*user)
		strbuf_adds(&b, str_ends(b.data, ": ") ? "user may not be set" : "; user may not be set");
	if (*role)
		strbuf_adds(&b, str_ends(b.data, ": ") ? "role may not be set" : "; role may not be set");
	say(l, b.data);
}

static void check_se_linux(struct look *l)
{
	json_t *c;
	se_linux_of(l, json_object_get(l->security, "seLinuxOptions"), "pod");
	EACH_CONTAINER(l, c) {
		_cleanup_free_ char *who = str_printf("container \"%s\"", json_str_or(c, "name", ""));
		se_linux_of(l, json_at(c, "securityContext.seLinuxOptions"), who);
	}
}

static void check_sysctls(struct look *l)
{
	static const char *const safe[] = { "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
		"net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
		"net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
		"net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem" };
	size_t i;
	json_t *s;
	json_array_foreach(json_object_get(l->security, "sysctls"), i, s) {
		const char *name = json_str_or(s, "name", "");
		if (!one_of(name, safe, ARRAY_SIZE(safe)))
			say(l, name);
	}
}

static void check_host_process(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	if (json_bool(l->security, "windowsOptions.hostProcess", false))
		say(l, "pod must not set securityContext.windowsOptions.hostProcess=true");
	EACH_CONTAINER(l, c)
		if (json_bool(c, "securityContext.windowsOptions.hostProcess", false))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set securityContext.windowsOptions.hostProcess=true");
}

static void check_seccomp_baseline(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	if (str_eq(json_str(l->security, "seccompProfile.type"), "Unconfined"))
		say(l, "pod must not set securityContext.seccompProfile.type to \"Unconfined\"");
	EACH_CONTAINER(l, c)
		if (str_eq(json_str(c, "securityContext.seccompProfile.type"), "Unconfined"))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set securityContext.seccompProfile.type to \"Unconfined\"");
}

/* ---- restricted */

static void check_escalation(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	if (l->windows)
		return;
	EACH_CONTAINER(l, c)
		if (json_bool(c, "securityContext.allowPrivilegeEscalation", true))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must set securityContext.allowPrivilegeEscalation=false");
}

static bool drops_all(const json_t *c)
{
	size_t i;
	json_t *cap;
	json_array_foreach(json_at(c, "securityContext.capabilities.drop"), i, cap)
		if (str_eq(json_string_value(cap), "ALL"))
			return true;
	return false;
}

static void check_capabilities_restricted(struct look *l)
{
	struct names dropping = { 0 }, adding = { 0 }, caps = { 0 };
	json_t *c, *cap;
	size_t i;
	if (l->windows)
		return;
	EACH_CONTAINER(l, c) {
		bool adds = false;
		if (!drops_all(c))
			name_add(&dropping, json_str(c, "name"));
		json_array_foreach(json_at(c, "securityContext.capabilities.add"), i, cap) {
			const char *name = json_string_value(cap);
			if (!name || str_eq(name, "NET_BIND_SERVICE"))
				continue;
			adds = true;
			if (!name_has(&caps, name))
				name_add(&caps, name);
		}
		if (adds)
			name_add(&adding, json_str(c, "name"));
	}
	containers_say(l, &dropping, "must set securityContext.capabilities.drop=[\"ALL\"]");
	_cleanup_free_ char *what = str_printf("must not include %s in securityContext.capabilities.add", caps.count ? caps.text.data : "");
	containers_say(l, &adding, what);
	strbuf_done(&caps.text);
}

static void check_volumes(struct look *l)
{
	static const char *const fine[] = { "name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
		"persistentVolumeClaim", "projected", "secret" };
	struct names n = { 0 }, types = { 0 };
	size_t i;
	json_t *v, *source;
	const char *type;
	json_array_foreach(json_object_get(l->spec, "volumes"), i, v)
		json_object_foreach(v, type, source) {
			if (one_of(type, fine, ARRAY_SIZE(fine)))
				continue;
			name_add(&n, json_str(v, "name"));
			if (!name_has(&types, type))
				name_add(&types, type);
			break;
		}
	if (n.count)
		strbuf_addf(&l->detail, "volume%s %s use%s restricted volume type%s %s", n.count > 1 ? "s" : "", n.text.data,
			    n.count > 1 ? "" : "s", types.count > 1 ? "s" : "", types.text.data);
	strbuf_done(&n.text);
	strbuf_done(&types.text);
}

static void check_non_root(struct look *l)
{
	struct names unset = { 0 }, off = { 0 };
	json_t *c, *pod = json_object_get(l->security, "runAsNonRoot");
	EACH_CONTAINER(l, c) {
		json_t *own = json_at(c, "securityContext.runAsNonRoot");
		if (own && !json_is_true(own))
			name_add(&off, json_str(c, "name"));
		else if (!own && !json_is_true(pod))
			name_add(&unset, json_str(c, "name"));
	}
	if (json_is_false(pod))
		say(l, "pod must not set securityContext.runAsNonRoot=false");
	containers_say(l, &off, "must not set securityContext.runAsNonRoot=false");
	if (unset.count && !json_is_false(pod))
		strbuf_addf(&l->detail, "%spod or container%s %s must set securityContext.runAsNonRoot=true", l->detail.len ? "; " : "",
			    unset.count > 1 ? "s" : "", unset.text.data);
	strbuf_done(&unset.text);
}

static bool is_root(const json_t *uid)
{
	return json_is_integer(uid) && json_integer_value(uid) == 0;
}

static void check_user(struct look *l)
{
	struct names n = { 0 };
	json_t *c;
	if (is_root(json_object_get(l->security, "runAsUser")))
		say(l, "pod must not set runAsUser=0");
	EACH_CONTAINER(l, c)
		if (is_root(json_at(c, "securityContext.runAsUser")))
			name_add(&n, json_str(c, "name"));
	containers_say(l, &n, "must not set runAsUser=0");
}

static bool seccomp_fine(const char *type)
{
	return str_eq(type, "RuntimeDefault") || str_eq(type, "Localhost");
}

static void check_seccomp_restricted(struct look *l)
{
	struct names unset = { 0 }, bad = { 0 };
	const char *pod = json_str(l->security, "seccompProfile.type");
	json_t *c;
	if (l->windows)
		return;
	EACH_CONTAINER(l, c) {
		const char *own = json_str(c, "securityContext.seccompProfile.type");
		if (own && !seccomp_fine(own))
			name_add(&bad, json_str(c, "name"));
		else if (!own && !pod)
			name_add(&unset, json_str(c, "name"));
	}
	if (pod && !seccomp_fine(pod))
		strbuf_addf(&l->detail, "pod must not set securityContext.seccompProfile.type to \"%s\"", pod);
	containers_say(l, &bad, "must not set securityContext.seccompProfile.type to \"Unconfined\"");
	if (unset.count)
		strbuf_addf(&l->detail, "%spod or container%s %s must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
			    "\"Localhost\"", l->detail.len ? "; " : "", unset.count > 1 ? "s" : "", unset.text.data);
	strbuf_done(&unset.text);
}

/* In upstream's order. Those that the restricted level replaces by a sharper one are baseline's only. */
static const struct {
	enum pod_security_level from, until;
	const char *reason;
	void (*look)(struct look *l);
} checks[] = {
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "forbidden AppArmor profile", check_app_armor },
	{ POD_SECURITY_BASELINE, POD_SECURITY_BASELINE, "non-default capabilities", check_capabilities },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "host namespaces", check_host_namespaces },
	{ POD_SECURITY_BASELINE, POD_SECURITY_BASELINE, "hostPath volumes", check_host_path },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "hostPort", check_host_ports },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "probe or lifecycle host", check_probe_hosts },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "privileged", check_privileged },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "procMount", check_proc_mount },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "seLinuxOptions", check_se_linux },
	{ POD_SECURITY_BASELINE, POD_SECURITY_BASELINE, "seccompProfile", check_seccomp_baseline },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "forbidden sysctls", check_sysctls },
	{ POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, "hostProcess", check_host_process },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "allowPrivilegeEscalation != false", check_escalation },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "unrestricted capabilities", check_capabilities_restricted },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "restricted volume types", check_volumes },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "runAsNonRoot != true", check_non_root },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "runAsUser=0", check_user },
	{ POD_SECURITY_RESTRICTED, POD_SECURITY_RESTRICTED, "seccompProfile", check_seccomp_restricted },
};

static bool check(enum pod_security_level level, const json_t *metadata, const json_t *spec, bool details, struct strbuf *out)
{
	struct look l = { .metadata = metadata, .spec = spec, .security = json_object_get(spec, "securityContext"),
		.windows = str_eq(json_str(spec, "os.name"), "windows") };
	size_t count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (level < checks[i].from || level > checks[i].until)
			continue;
		strbuf_reset(&l.detail);
		checks[i].look(&l);
		if (!l.detail.len)
			continue;
		strbuf_addf(out, "%s%s", count++ ? ", " : "", checks[i].reason);
		if (details)
			strbuf_addf(out, " (%s)", l.detail.data);
	}
	strbuf_done(&l.detail);
	return count == 0;
}

bool pod_security_check(enum pod_security_level level, const json_t *metadata, const json_t *spec, struct strbuf *out)
{
	return check(level, metadata, spec, true, out);
}

bool pod_security_reasons(enum pod_security_level level, const json_t *metadata, const json_t *spec, struct strbuf *out)
{
	return check(level, metadata, spec, false, out);
}
