/* SPDX-License-Identifier: GPL-2.0-or-later */
/* APIServices: the version they stand for is in their name. */
#include "apiserver/validate/validate_internal.h"

static void check_range(struct field_errors *e, const struct fpath *p, int64_t n, int max)
{
	if (n <= 0 || n > max)
		fe_invalid_int(e, p, n, "must be positive and less than %d", max);
}

static void check_local(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	if (*get_str(spec, "caBundle"))
		fe_invalid(e, FP(p, "caBundle"), get_str(spec, "caBundle"), "local APIServices may not have a caBundle");
	if (get_bool(spec, "insecureSkipTLSVerify"))
		fe_invalid_text(e, FP(p, "insecureSkipTLSVerify"), "true", "local APIServices may not have insecureSkipTLSVerify");
}

void validate_api_service(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *service = get(spec, "service");
	const char *name = json_str_or(v->object, "metadata.name", "");
	_cleanup_free_ char *wanted = str_printf("%s.%s", get_str(spec, "version"), get_str(spec, "group"));
	const struct fpath *p = FP(NULL, "spec"), *at = FP(p, "service");
	int64_t port = get_int(service, "port");

	if (strcmp(name, wanted) != 0)
		fe_invalid(v->e, FP(FP(NULL, "metadata"), "name"), name, "must be `spec.version+\".\"+spec.group`: \"%s\"", wanted);
	if (*get_str(spec, "group"))
		check_format(v->e, FP(p, "group"), get_str(spec, "group"), fmt_dns_subdomain);
	check_format(v->e, FP(p, "version"), get_str(spec, "version"), fmt_dns1035_label);
	check_range(v->e, FP(p, "groupPriorityMinimum"), get_int(spec, "groupPriorityMinimum"), 20000);
	check_range(v->e, FP(p, "versionPriority"), get_int(spec, "versionPriority"), 1000);
	if (!service) {
		check_local(v->e, p, spec);
		return;
	}
	if (!*get_str(service, "namespace"))
		fe_required(v->e, FP(at, "namespace"), NULL);
	if (!*get_str(service, "name"))
		fe_required(v->e, FP(at, "name"), NULL);
	if (port < 1 || port > 65535)
		fe_invalid_int(v->e, FP(at, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
	if (get_bool(spec, "insecureSkipTLSVerify") && *get_str(spec, "caBundle"))
		fe_invalid_text(v->e, FP(p, "insecureSkipTLSVerify"), "true", "may not be true if caBundle is present");
}
