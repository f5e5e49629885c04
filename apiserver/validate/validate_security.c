/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Security contexts of pods and containers. */
#include "apiserver/validate/validate_pod.h"

#include <ctype.h>

static void check_id(struct field_errors *e, const struct fpath *p, const json_t *v)
{
	if (v && (json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX))
		fe_invalid_json(e, p, v, "must be between 0 and 2147483647, inclusive");
}

static void check_local_profile(struct field_errors *e, const struct fpath *p, const char *type, const char *profile,
				const char *what)
{
	if (strcmp(type, "Localhost") == 0 && !*profile) {
		_cleanup_free_ char *detail = str_printf("must be set when %s type is Localhost", what);

		fe_required(e, p, detail);
	} else if (strcmp(type, "Localhost") != 0 && *profile) {
		fe_invalid(e, p, profile, "can only be set when %s type is Localhost", what);
	}
}

static void check_seccomp(struct field_errors *e, const struct fpath *p, const json_t *profile)
{
	static const char *const types[] = { "Localhost", "RuntimeDefault", "Unconfined", NULL };
	const char *type = get_str(profile, "type"), *local = get_str(profile, "localhostProfile");

	if (!profile)
		return;
	if (!*type) {
		fe_required(e, FP(p, "type"), "type is required when seccompProfile is set");
		return;
	}
	if (!one_of(type, types))
		fe_not_supported(e, FP(p, "type"), type, types);
	check_local_profile(e, FP(p, "localhostProfile"), type, local, "seccomp");
	if (strcmp(type, "Localhost") == 0 && *local)
		check_local_path(e, FP(p, "localhostProfile"), local, false);
}

static void check_app_armor(struct field_errors *e, const struct fpath *p, const json_t *profile)
{
	static const char *const types[] = { "Localhost", "RuntimeDefault", "Unconfined", NULL };
	const char *type = get_str(profile, "type"), *local = get_str(profile, "localhostProfile");
	size_t len = strlen(local);

	if (!profile)
		return;
	if (!*type) {
		fe_required(e, FP(p, "type"), "type is required when appArmorProfile is set");
		return;
	}
	if (!one_of(type, types))
		fe_not_supported(e, FP(p, "type"), type, types);
	check_local_profile(e, FP(p, "localhostProfile"), type, local, "AppArmor");
	if (strcmp(type, "Localhost") != 0 || !len)
		return;
	if (isspace((unsigned char)local[0]) || isspace((unsigned char)local[len - 1]))
		fe_invalid(e, FP(p, "localhostProfile"), local, "must not be padded with whitespace");
	if (len > 4095)
		fe_too_long(e, FP(p, "localhostProfile"), 4095);
}

/* ([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])? */
static bool sysctl_shape(const char *s)
{
	char before = '.';

	if (strlen(s) > 253)
		return false;
	for (; *s; before = *s++) {
		bool alnum = islower((unsigned char)*s) || isdigit((unsigned char)*s);

		if (!alnum && !strchr("-_./", *s))
			return false;
		if (strchr("./", before) && !alnum)
			return false;
		if (strchr("./", *s) && strchr("-_", before))
			return false;
	}
	return !strchr("-_./", before);
}

static void check_sysctls(struct pod_check *c, const struct fpath *p, const json_t *sysctls)
{
	struct map *seen = map_new(NULL);
	json_t *sysctl;
	size_t i;

	json_array_foreach(sysctls, i, sysctl) {
		const char *name = get_str(sysctl, "name");
		const struct fpath *at = FP(FP_INDEX(p, i), "name");

		if (!*name)
			fe_required(c->e, at, NULL);
		else if (!sysctl_shape(name))
			fe_invalid(c->e, at, name,
				   "must have at most 253 characters and match regex "
				   "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
		else if (map_has(seen, name))
			fe_duplicate(c->e, at, name);
		if (get_bool(c->spec, "hostNetwork") && (str_starts(name, "net.") || str_starts(name, "net/")))
			fe_invalid(c->e, at, name, "may not be specified when 'hostNetwork' is true");
		if (get_bool(c->spec, "hostIPC") && (str_starts(name, "kernel.shm") || str_starts(name, "kernel.msg") ||
						     strcmp(name, "kernel.sem") == 0 || str_starts(name, "fs.mqueue.")))
			fe_invalid(c->e, at, name, "may not be specified when 'hostIPC' is true");
		map_set(seen, name, seen);
	}
	map_free(seen);
}

static void check_choice(struct field_errors *e, const struct fpath *p, const char *s, const char *const *allowed)
{
	if (*s && !one_of(s, allowed))
		fe_not_supported(e, p, s, allowed);
}

void check_pod_security(struct pod_check *c, const struct fpath *spec_path)
{
	const json_t *security = get(c->spec, "securityContext");
	const struct fpath *p = FP(spec_path, "securityContext");
	json_t *group;
	size_t i;

	check_id(c->e, FP(p, "fsGroup"), get(security, "fsGroup"));
	check_id(c->e, FP(p, "runAsGroup"), get(security, "runAsGroup"));
	json_array_foreach(get(security, "supplementalGroups"), i, group)
		check_id(c->e, FP_INDEX(FP(p, "supplementalGroups"), i), group);
	check_id(c->e, FP(p, "runAsUser"), get(security, "runAsUser"));
	if (get_bool(c->spec, "shareProcessNamespace") && get_bool(c->spec, "hostPID"))
		fe_invalid_text(c->e, FP(p, "shareProcessNamespace"), "true",
				"ShareProcessNamespace and HostPID cannot both be enabled");
	check_sysctls(c, FP(p, "sysctls"), get(security, "sysctls"));
	check_choice(c->e, FP(p, "fsGroupChangePolicy"), get_str(security, "fsGroupChangePolicy"),
		     WORDS("Always", "OnRootMismatch"));
	check_seccomp(c->e, FP(p, "seccompProfile"), get(security, "seccompProfile"));
	check_windows(c->e, FP(p, "windowsOptions"), get(security, "windowsOptions"));
	check_app_armor(c->e, FP(p, "appArmorProfile"), get(security, "appArmorProfile"));
	check_choice(c->e, FP(p, "supplementalGroupsPolicy"), get_str(security, "supplementalGroupsPolicy"),
		     WORDS("Merge", "Strict"));
	check_choice(c->e, FP(p, "seLinuxChangePolicy"), get_str(security, "seLinuxChangePolicy"), WORDS("Recursive"));
}

static void check_escalation(struct field_errors *e, const struct fpath *p, const json_t *security)
{
	const json_t *allow = get(security, "allowPrivilegeEscalation");
	json_t *capability;
	size_t i;

	if (!allow || json_is_true(allow))
		return;
	if (get_bool(security, "privileged"))
		fe_invalid_json(e, p, security,
				"cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
	json_array_foreach(get(get(security, "capabilities"), "add"), i, capability) {
		if (strcmp(json_string_value(capability), "CAP_SYS_ADMIN") == 0)
			fe_invalid_json(
				e, p, security,
				"cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
	}
}

void check_container_security(struct pod_check *c, const struct fpath *p, const json_t *security)
{
	const char *proc = get_str(security, "procMount");
	const json_t *host_users = get(c->spec, "hostUsers");

	if (!security)
		return;
	check_id(c->e, FP(p, "runAsUser"), get(security, "runAsUser"));
	check_id(c->e, FP(p, "runAsGroup"), get(security, "runAsGroup"));
	check_choice(c->e, FP(p, "procMount"), proc, WORDS("Default", "Unmasked"));
	if (strcmp(proc, "Unmasked") == 0 && (!host_users || json_is_true(host_users)))
		fe_invalid(c->e, FP(p, "procMount"), proc, "`hostUsers` must be false to use `Unmasked`");
	check_seccomp(c->e, FP(p, "seccompProfile"), get(security, "seccompProfile"));
	check_escalation(c->e, p, security);
	check_windows(c->e, FP(p, "windowsOptions"), get(security, "windowsOptions"));
	check_app_armor(c->e, FP(p, "appArmorProfile"), get(security, "appArmorProfile"));
}

static void forbid(struct field_errors *e, const struct fpath *p, const json_t *o, const char *const *keys,
		   const char *text)
{
	for (; *keys; keys++)
		if (get(o, *keys) && !(one_of(*keys, WORDS("hostPID", "hostIPC")) && !get_bool(o, *keys)))
			fe_forbidden(e, FP(p, *keys), "%s", text);
}

void check_os_fields(struct pod_check *c, const struct fpath *p)
{
	static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
	static const char *const windows_pod[] = { "appArmorProfile",     "seLinuxOptions",
						   "seccompProfile",      "fsGroup",
						   "fsGroupChangePolicy", "sysctls",
						   "runAsUser",           "runAsGroup",
						   "supplementalGroups",  "supplementalGroupsPolicy",
						   "seLinuxChangePolicy", NULL };
	static const char *const windows_container[] = { "appArmorProfile",
							 "seLinuxOptions",
							 "seccompProfile",
							 "capabilities",
							 "readOnlyRootFilesystem",
							 "privileged",
							 "allowPrivilegeEscalation",
							 "procMount",
							 "runAsUser",
							 "runAsGroup",
							 NULL };
	static const char *const host[] = { "hostUsers", "hostPID", "hostIPC", "shareProcessNamespace", NULL };
	const char *os = get_str(get(c->spec, "os"), "name"), *text;
	bool windows = strcmp(os, "windows") == 0;
	json_t *container;
	size_t i;

	if (!windows && strcmp(os, "linux") != 0)
		return;
	text = windows ? "cannot be set for a windows pod" : "windows options cannot be set for a linux pod";
	if (windows)
		forbid(c->e, p, c->spec, host, text);
	forbid(c->e, FP(p, "securityContext"), get(c->spec, "securityContext"),
	       windows ? windows_pod : WORDS("windowsOptions"), text);
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(c->spec, lists[l]), i, container)
			forbid(c->e, FP(FP_INDEX(FP(p, lists[l]), i), "securityContext"),
			       get(container, "securityContext"), windows ? windows_container : WORDS("windowsOptions"),
			       text);
	}
}
