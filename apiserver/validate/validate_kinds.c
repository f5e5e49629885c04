/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of kinds with their name rules and checks. A kind that is not here has a DNS subdomain for a name and no checks of its own. */
#include "apiserver/validate/validate_internal.h"

const struct validate_kind validate_kinds[] = {
	{ "", "namespaces", fmt_dns_label, NULL, NULL },
	{ "", "services", fmt_dns_label, NULL, NULL },
	{ "apps", "statefulsets", fmt_dns_label, NULL, NULL },
	{ "", "events", fmt_path_segment, NULL, NULL },
	{ "policy", "poddisruptionbudgets", fmt_path_segment, NULL, NULL },
	{ "rbac.authorization.k8s.io", "roles", fmt_path_segment, NULL, NULL },
	{ "rbac.authorization.k8s.io", "rolebindings", fmt_path_segment, NULL, NULL },
	{ "rbac.authorization.k8s.io", "clusterroles", fmt_path_segment, NULL, NULL },
	{ "rbac.authorization.k8s.io", "clusterrolebindings", fmt_path_segment, NULL, NULL },
	{ "certificates.k8s.io", "certificatesigningrequests", fmt_path_segment, NULL, NULL },
	{ "networking.k8s.io", "ipaddresses", fmt_ip_canonical, NULL, NULL },
};
const size_t validate_kind_count = ARRAY_SIZE(validate_kinds);
