/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and limits of containers and of pods as a whole. */
#include "apiserver/validate/validate_pod.h"

#include "kube/quantity.h"

static const char *const standard[] = { "cpu",
					"memory",
					"ephemeral-storage",
					"storage",
					"requests.cpu",
					"requests.memory",
					"requests.storage",
					"requests.ephemeral-storage",
					"limits.cpu",
					"limits.memory",
					"limits.ephemeral-storage",
					"pods",
					"resourcequotas",
					"services",
					"replicationcontrollers",
					"secrets",
					"persistentvolumeclaims",
					"configmaps",
					"services.nodeports",
					"services.loadbalancers",
					NULL };

static bool huge_pages(const char *name)
{
	return str_starts(name, "hugepages-");
}

static bool extended(const char *name)
{
	_cleanup_free_ char *quota_name = NULL;

	if (!strchr(name, '/') || strstr(name, "kubernetes.io/") || str_starts(name, "requests."))
		return false;
	quota_name = str_printf("requests.%s", name);
	return format_ok(fmt_qualified_name, quota_name);
}

static bool overcommits(const char *name)
{
	return !huge_pages(name) && !extended(name);
}

void check_resource_name(struct field_errors *e, const struct fpath *p, const char *name)
{
	static const char *const container[] = { "cpu", "memory", "ephemeral-storage", NULL };
	size_t before = e->count;

	check_format(e, p, name, fmt_qualified_name);
	if (e->count == before && !strchr(name, '/') && !one_of(name, standard) && !huge_pages(name) &&
	    !str_starts(name, "requests.hugepages-"))
		fe_invalid(e, p, name, "must be a standard resource type or fully qualified");
	if (!strchr(name, '/') && !one_of(name, container) && !huge_pages(name))
		fe_invalid(e, p, name, "must be a standard resource for containers");
	else if (strchr(name, '/') && !strstr(name, "kubernetes.io/") && !extended(name))
		fe_invalid(e, p, name, "doesn't follow extended resource name standard");
}

static void check_value(struct field_errors *e, const struct fpath *p, const char *name, const char *text)
{
	const __int128 one = 1000 * 1000 * 1000;
	struct quantity q, page;

	if (quantity_parse(text, &q) < 0)
		return;
	if (q.nano < 0)
		fe_invalid(e, p, text, "must be greater than or equal to 0");
	if (extended(name) && q.nano % one != 0)
		fe_invalid(e, p, text, "must be an integer");
	if (huge_pages(name) && quantity_parse(name + strlen("hugepages-"), &page) == 0 && page.nano > 0 &&
	    q.nano % page.nano != 0)
		fe_invalid(e, p, text, "%s is not positive integer multiple of %s", text, name);
}

void check_resource_list(struct field_errors *e, const struct fpath *p, const json_t *list)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)list, name, v) {
		check_resource_name(e, FP_KEY(p, name), name);
		check_value(e, FP_KEY(p, name), name, json_string_value(v) ? json_string_value(v) : "");
	}
}

static bool parse(const json_t *list, const char *name, struct quantity *ret)
{
	const char *s = json_string_value(json_object_get(list, name));

	return s && quantity_parse(s, ret) == 0;
}

static void check_against_limits(struct field_errors *e, const struct fpath *p, const json_t *requests,
				 const json_t *limits)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)requests, name, v) {
		struct quantity request, limit;

		if (!parse(requests, name, &request))
			continue;
		if (!parse(limits, name, &limit)) {
			if (!overcommits(name))
				fe_required(e, FP(p, "limits"), "Limit must be set for non overcommitable resources");
			continue;
		}
		if (overcommits(name) && quantity_cmp(&request, &limit) > 0)
			fe_invalid(e, FP(p, "requests"), get_str(requests, name),
				   "must be less than or equal to %s limit of %s", name, get_str(limits, name));
		else if (!overcommits(name) && quantity_cmp(&request, &limit) != 0)
			fe_invalid(e, FP(p, "requests"), get_str(requests, name), "must be equal to %s limit of %s",
				   name, get_str(limits, name));
	}
}

static void check_huge_pages(struct field_errors *e, const struct fpath *p, const json_t *requests,
			     const json_t *limits)
{
	const json_t *lists[] = { limits, requests };
	bool huge = false, base = false;
	const char *name;
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_object_foreach((json_t *)lists[i], name, v) {
			huge |= huge_pages(name);
			base |= one_of(name, WORDS("cpu", "memory"));
		}
	}
	if (huge && !base)
		fe_forbidden(e, p, "HugePages require cpu or memory");
}

static void claim_not_found(struct pod_check *c, const struct fpath *p, const char *name)
{
	_cleanup_strbuf_ struct strbuf detail = {0};
	json_t *claim;
	size_t i;

	if (fe_full(c->e))
		return;
	strbuf_adds(&detail, "must be one of the names in pod.spec.resourceClaims");
	strbuf_adds(&detail, map_count(c->claims) ? ": " : " which is empty");
	json_array_foreach(get(c->spec, "resourceClaims"), i, claim)
		strbuf_addf(&detail, "%s%s", i ? ", " : "", get_str(claim, "name"));
	fe_not_found(c->e, p, name, detail.data);
}

static void check_claims(struct pod_check *c, const struct fpath *p, const json_t *wanted)
{
	struct map *seen = map_new(NULL);
	bool told = false;
	json_t *claim;
	size_t i;

	json_array_foreach(wanted, i, claim) {
		const char *name = get_str(claim, "name");
		_cleanup_free_ char *id = str_printf("%s/%s", name, get_str(claim, "request"));

		if (!*name) {
			fe_required(c->e, FP_INDEX(p, i), NULL);
			continue;
		}
		if (map_has(seen, id))
			fe_duplicate(c->e, FP_INDEX(p, i), name);
		map_set(seen, id, seen);
		if (map_has(c->claims, name) || told)
			continue;
		/* Once a container: the detail lists all that there are. */
		claim_not_found(c, FP(FP_INDEX(p, i), "name"), name);
		told = true;
	}
	map_free(seen);
}

void check_resources(struct pod_check *c, const struct fpath *p, const json_t *resources)
{
	const json_t *limits = get(resources, "limits"), *requests = get(resources, "requests");

	if (!resources)
		return;
	check_resource_list(c->e, FP(p, "limits"), limits);
	check_resource_list(c->e, FP(p, "requests"), requests);
	check_against_limits(c->e, p, requests, limits);
	check_huge_pages(c->e, p, requests, limits);
	check_claims(c, FP(p, "claims"), get(resources, "claims"));
}

/* The sum over the plain containers; what validation compares pod-level requests with. */
static bool container_sum(const json_t *spec, const char *list, const char *name, struct quantity *ret)
{
	struct quantity sum = {0}, q;
	bool any = false;
	json_t *c;
	size_t i;

	json_array_foreach(get(spec, "containers"), i, c) {
		if (!parse(get(get(c, "resources"), list), name, &q))
			continue;
		if (any)
			quantity_add(&sum, &q);
		else
			sum = q;
		any = true;
	}
	*ret = sum;
	return any;
}

static void check_against_containers(struct pod_check *c, const struct fpath *p, const json_t *list, const char *kind)
{
	enum { NAMES_MAX = 64 }; /* each is summed over all containers; no machine has that many sizes of pages */
	char text[QUANTITY_TEXT_SIZE];
	const char *name;
	size_t n = 0;
	json_t *v;

	json_object_foreach((json_t *)list, name, v) {
		struct quantity own, sum;

		if (strcmp(kind, "limits") == 0 ? !huge_pages(name)
						: !huge_pages(name) && !one_of(name, WORDS("cpu", "memory")))
			continue;
		if (n++ >= NAMES_MAX)
			break;
		if (!parse(list, name, &own) || !container_sum(c->spec, kind, name, &sum) ||
		    quantity_cmp(&own, &sum) >= 0)
			continue;
		quantity_format(&sum, text);
		fe_invalid(c->e, FP_KEY(FP(p, kind), name), get_str(list, name),
			   "must be greater than or equal to aggregate container %s of %s", kind, text);
	}
}

static void check_pod_limits(struct pod_check *c, const struct fpath *p, const json_t *limits)
{
	json_t *container, *v;
	const char *name;
	size_t i;

	json_array_foreach(get(c->spec, "containers"), i, container) {
		const json_t *own = get(get(container, "resources"), "limits");

		json_object_foreach((json_t *)own, name, v) {
			struct quantity a, b;

			if (parse(own, name, &a) && parse(limits, name, &b) && quantity_cmp(&a, &b) > 0)
				fe_invalid(c->e, FP(FP_KEY(FP_INDEX(FP(p, "containers"), i), name), "limits"),
					   get_str(own, name), "must be less than or equal to pod limits of %s",
					   get_str(limits, name));
		}
	}
}

void check_pod_resources(struct pod_check *c, const struct fpath *p)
{
	static const char *const kinds[] = { "limits", "requests" }, *const supported[] = { "cpu", "hugepages-",
											    "memory", NULL };
	const json_t *resources = get(c->spec, "resources");
	const char *name;
	json_t *v;

	if (!resources)
		return;
	if (strcmp(json_str_or(c->spec, "os.name", ""), "windows") == 0)
		fe_forbidden(c->e, p, "may not be set for a windows pod");
	if (json_array_size(get(resources, "claims")) > 0)
		fe_forbidden(c->e, FP(p, "claims"), "claims may not be set for Resources at pod-level");
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const json_t *list = get(resources, kinds[k]);

		json_object_foreach((json_t *)list, name, v) {
			const struct fpath *at = FP_KEY(FP(p, kinds[k]), name);

			if (!one_of(name, WORDS("cpu", "memory")) && !huge_pages(name))
				fe_not_supported(c->e, at, name, supported);
			check_value(c->e, at, name, json_string_value(v) ? json_string_value(v) : "");
		}
		check_against_containers(c, p, list, kinds[k]);
	}
	check_against_limits(c->e, p, get(resources, "requests"), get(resources, "limits"));
	check_pod_limits(c, p, get(resources, "limits"));
}
