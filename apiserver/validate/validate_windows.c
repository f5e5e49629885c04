/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Windows pods: names of users and credential specs, and containers that are processes of the host. */
#include <ctype.h>

#include "apiserver/validate/validate_pod.h"

/* A NetBIOS or DNS domain: what Windows takes for one. */
static const char *domain_problem(const char *domain)
{
	size_t len = strlen(domain);

	if (len >= 256)
		return "runAsUserName's Domain length must be under 256 characters";
	if (len > 15 && !format_ok(fmt_dns_subdomain, domain))
		return "runAsUserName's Domain doesn't match the NetBios nor the DNS format";
	if (domain[0] == '.' || strpbrk(domain, "\\/:*?\"<>|"))
		return "runAsUserName's Domain doesn't match the NetBios nor the DNS format";
	return NULL;
}

static const char *user_problem(const char *user)
{
	size_t len = strlen(user);

	if (len == 0)
		return "runAsUserName's User cannot be empty";
	if (len > 104)
		return "runAsUserName's User length must not be longer than 104 characters";
	if (strspn(user, ". ") == len)
		return "runAsUserName's User cannot contain only periods or spaces";
	if (strpbrk(user, "\"/\\:;|=,+*?<>@[]"))
		return "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";
	return NULL;
}

/* "USER" or "DOMAIN\USER" */
static void check_user_name(struct field_errors *e, const struct fpath *p, const char *name)
{
	const char *slash = strchr(name, '\\'), *problem = NULL;

	if (!*name) {
		fe_invalid(e, p, name, "runAsUserName cannot be an empty string");
		return;
	}
	for (const char *c = name; *c; c++) {
		if (iscntrl((unsigned char)*c)) {
			fe_invalid(e, p, name, "runAsUserName cannot contain control characters");
			return;
		}
	}
	if (slash && strchr(slash + 1, '\\')) {
		fe_invalid(e, p, name, "runAsUserName cannot contain more than one backslash");
		return;
	}
	if (slash) {
		_cleanup_free_ char *domain = mem_strndup(name, (size_t)(slash - name));

		problem = domain_problem(domain);
		if (problem)
			fe_invalid(e, p, name, "%s", problem);
	}
	problem = user_problem(slash ? slash + 1 : name);
	if (problem)
		fe_invalid(e, p, name, "%s", problem);
}

void check_windows(struct field_errors *e, const struct fpath *p, const json_t *options)
{
	const char *spec_name = get_str(options, "gmsaCredentialSpecName");
	const json_t *spec = get(options, "gmsaCredentialSpec");

	if (!options)
		return;
	if (get(options, "gmsaCredentialSpecName"))
		check_format(e, FP(p, "gmsaCredentialSpecName"), spec_name, fmt_dns_subdomain);
	if (spec && json_string_length(spec) == 0)
		fe_invalid(e, FP(p, "gmsaCredentialSpec"), "", "gmsaCredentialSpec cannot be an empty string");
	if (json_string_length(spec) > 64 * 1024)
		fe_invalid(e, FP(p, "gmsaCredentialSpec"), json_string_value(spec), "gmsaCredentialSpec size must be under 64 KiB");
	if (get(options, "runAsUserName"))
		check_user_name(e, FP(p, "runAsUserName"), get_str(options, "runAsUserName"));
}

void check_windows_host_process(struct pod_check *c, const struct fpath *p)
{
	static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
	const json_t *pod = json_at(c->spec, "securityContext.windowsOptions.hostProcess");
	size_t all = 0, host = 0, i;
	json_t *container;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(c->spec, lists[l]), i, container) {
			const json_t *own = json_at(container, "securityContext.windowsOptions.hostProcess");
			const struct fpath *at = FP(FP(FP_INDEX(FP(p, lists[l]), i), "securityContext"), "windowsOptions");

			all++;
			host += json_is_true(own ? own : pod);
			if (own && pod && json_is_true(own) != json_is_true(pod))
				fe_invalid_json(c->e, FP(at, "hostProcess"), own,
						"pod hostProcess value must be identical if both are specified, was %s",
						json_is_true(pod) ? "true" : "false");
		}
	}
	if (host == 0)
		return;
	if (host != all)
		fe_invalid(c->e, p, "",
			   "If pod contains any hostProcess containers then all containers must be HostProcess containers");
	if (!get_bool(c->spec, "hostNetwork"))
		fe_invalid_text(c->e, FP(p, "hostNetwork"), "false",
				"hostNetwork must be true if pod contains any hostProcess containers");
}
