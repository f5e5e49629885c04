// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/endpoints.h"

struct world {
	json_t *service, *endpoints, *node;
	struct endpoints_view view;
	struct plan plan;
};

static json_t *node_get(const char *name, void *user)
{
	struct world *w = user;

	return str_eq(name, "n1") ? w->node : NULL;
}

static void world_init(struct world *w, const char *spec)
{
	*w = (struct world){ 0 };
	w->service = from_yamlf("metadata: {name: web, namespace: default, uid: svc-1, labels: {team: a}}\nspec:\n"
				"  selector: {app: web}\n  clusterIP: 10.96.0.9\n  ipFamilies: [IPv4]\n%s",
				spec);
	w->node = from_yaml("metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}");
	w->view = (struct endpoints_view){ .service = w->service, .node_get = node_get, .user = w };
}
#define PORT_80 "  ports: [{port: 80, targetPort: 8080, protocol: TCP}]\n"

static void world_done(struct world *w)
{
	list_free(&w->view.pods);
	list_free(&w->view.slices);
	json_decref(w->service);
	json_decref(w->endpoints);
	json_decref(w->node);
	plan_done(&w->plan);
}

enum { READY = 1, TERMINATING = 2, FAILED = 4, HAS_NO_IP = 8, OTHER_LABELS = 16 };

static json_t *add_pod(struct world *w, int n, int flags, const char *spec)
{
	json_t *pod = from_yamlf("metadata: {name: p%d, namespace: default, uid: u%d, labels: {app: %s}}\n"
				 "spec: {nodeName: n1%s}\n"
				 "status: {phase: %s, conditions: [{type: Ready, status: '%s'}]}",
				 n, n, flags & OTHER_LABELS ? "other" : "web", spec,
				 flags & FAILED ? "Failed" : "Running", flags & READY ? "True" : "False");
	_cleanup_free_ char *ip = str_printf("10.244.%d.%d", n / 250, n % 250 + 1);

	if (!(flags & HAS_NO_IP)) {
		json_set_str(pod, "status.podIP", ip);
		json_set(pod, "status.podIPs", json_pack("[{s:s}]", "ip", ip));
	}
	if (flags & TERMINATING)
		json_set_str(pod, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z");
	object_list_add(&w->view.pods, pod);
	return pod;
}

/* Makes the plan's slices those that exist, and forgets the plan. */
static void apply_slices(struct world *w)
{
	for (size_t i = 0; i < w->plan.count; i++) {
		const struct write *x = w->plan.items[i];
		const char *last = strrchr(x->path, '/') + 1;

		if (str_eq(x->method, "POST")) {
			json_t *slice = json_deep_copy(x->body);
			_cleanup_free_ char *name = str_printf("web-%zu-%p", i, (void *)x);

			json_set_str(slice, "metadata.name", name);
			json_set_str(slice, "metadata.uid", name);
			object_list_add(&w->view.slices, slice);
			continue;
		}
		for (size_t k = 0; k < w->view.slices.count; k++) {
			json_t **slice = &w->view.slices.items[k];

			if (!str_eq(object_name(*slice), last))
				continue;
			json_decref(*slice);
			if (str_eq(x->method, "PUT"))
				*slice = json_deep_copy(x->body);
			else
				*slice = w->view.slices.items[--w->view.slices.count];
			break;
		}
	}
	plan_done(&w->plan);
}

static size_t endpoints_in(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->view.slices.count; i++)
		n += json_array_size(json_object_get(w->view.slices.items[i], "endpoints"));
	return n;
}

static void a_slice_says_what_pods_are(void **state _unused_)
{
	struct world w;
	const json_t *slice, *e;

	world_init(&w, PORT_80);
	add_pod(&w, 1, READY, "");
	add_pod(&w, 2, FAILED, "");
	add_pod(&w, 3, READY | HAS_NO_IP, "");
	add_pod(&w, 4, READY | OTHER_LABELS, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	slice = w.plan.items[0]->body;
	assert_string_equal(json_str(slice, "addressType"), "IPv4");
	assert_string_equal(json_str(slice, "metadata.generateName"), "web-");
	assert_string_equal(map_str(object_labels(slice), SLICE_SERVICE_LABEL), "web");
	assert_string_equal(map_str(object_labels(slice), SLICE_MANAGED_BY), SLICE_MANAGER);
	assert_string_equal(map_str(object_labels(slice), "team"), "a");
	assert_null(map_str(object_labels(slice), ENDPOINTS_HEADLESS_LABEL));
	assert_string_equal(json_str(slice, "metadata.ownerReferences[0].kind"), "Service");
	assert_int_equal(json_int(slice, "ports[0].port", 0), 8080);
	assert_string_equal(json_str(slice, "ports[0].name"), "");
	assert_int_equal(json_array_size(json_object_get(slice, "endpoints")), 1);
	e = json_at(slice, "endpoints[0]");
	assert_string_equal(json_str(e, "addresses[0]"), "10.244.0.2");
	assert_string_equal(json_str(e, "nodeName"), "n1");
	assert_string_equal(json_str(e, "zone"), "z1");
	assert_string_equal(json_str(e, "targetRef.uid"), "u1");
	world_done(&w);
}

static void conditions(void **state _unused_)
{
	static const struct {
		int flags;
		bool publish, ready, serving, terminating;
	} rows[] = {
		{ READY, false, true, true, false },
		{ 0, false, false, false, false },
		{ READY | TERMINATING, false, false, true, true },
		{ TERMINATING, false, false, false, true },
		{ 0, true, true, false, false },
		{ TERMINATING, true, true, false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world w;
		const json_t *c;

		world_init(&w, rows[i].publish ? PORT_80 "  publishNotReadyAddresses: true\n" : PORT_80);
		add_pod(&w, 1, rows[i].flags, "");
		endpointslice_decide(&w.view, &w.plan);
		c = json_at(w.plan.items[0]->body, "endpoints[0].conditions");
		assert_int_equal(json_bool(c, "ready", !rows[i].ready), rows[i].ready);
		assert_int_equal(json_bool(c, "serving", !rows[i].serving), rows[i].serving);
		assert_int_equal(json_bool(c, "terminating", !rows[i].terminating), rows[i].terminating);
		world_done(&w);
	}
}

static void named_ports_may_differ_between_pods(void **state _unused_)
{
	struct world w;

	world_init(&w, "  ports: [{name: http, port: 80, targetPort: web, protocol: TCP}]\n");
	add_pod(&w, 1, READY, ", containers: [{ports: [{name: web, containerPort: 8080}]}]");
	add_pod(&w, 2, READY, ", containers: [{ports: [{name: web, containerPort: 9090, protocol: TCP}]}]");
	add_pod(&w, 3, READY, ", containers: [{ports: [{name: web, containerPort: 9090, protocol: UDP}]}]");
	add_pod(&w, 4, READY,
		", initContainers: [{restartPolicy: Always, ports: [{name: web, containerPort: 8080}]}]");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 3); /* 8080 twice, 9090, and one without the port */
	apply_slices(&w);
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	assert_int_equal(endpoints_in(&w), 4);
	world_done(&w);
}

static void a_hundred_a_slice_and_few_writes(void **state _unused_)
{
	struct world w;

	world_init(&w, PORT_80);
	for (int i = 0; i < 250; i++)
		add_pod(&w, i, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 3);
	apply_slices(&w);
	for (size_t i = 0; i < 3; i++)
		assert_true(json_array_size(json_object_get(w.view.slices.items[i], "endpoints")) <=
			    SLICE_MAX_ENDPOINTS);
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	/* One pod more is one update; one pod less too. */
	add_pod(&w, 250, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	assert_string_equal(w.plan.items[0]->method, "PUT");
	apply_slices(&w);
	assert_int_equal(endpoints_in(&w), 251);
	json_decref(w.view.pods.items[--w.view.pods.count]);
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	apply_slices(&w);
	assert_int_equal(endpoints_in(&w), 250);
	/* A pod replaced by another: its slice takes the new one. */
	json_decref(w.view.pods.items[--w.view.pods.count]);
	add_pod(&w, 300, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	world_done(&w);
}

static void an_empty_slice_remains_and_strangers_are_left_alone(void **state _unused_)
{
	struct world w;
	json_t *manual;

	world_init(&w, PORT_80);
	manual = from_yaml("{metadata: {name: mine, namespace: default, labels: {kubernetes.io/service-name: web}}, "
			   "addressType: IPv4, endpoints: [{addresses: [1.2.3.4]}], ports: []}");
	object_list_add(&w.view.slices, manual);
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	assert_int_equal(json_array_size(json_object_get(w.plan.items[0]->body, "endpoints")), 0);
	apply_slices(&w);
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	add_pod(&w, 1, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 1);
	assert_string_equal(w.plan.items[0]->method, "PUT"); /* the empty one is reused */
	assert_int_equal(json_int(w.plan.items[0]->body, "ports[0].port", 0), 8080);
	apply_slices(&w);
	assert_int_equal(w.view.slices.count, 2);
	assert_int_equal(endpoints_in(&w), 2);
	json_decref(w.view.pods.items[--w.view.pods.count]);
	endpointslice_decide(&w.view, &w.plan);
	apply_slices(&w);
	assert_int_equal(w.view.slices.count, 2);
	assert_int_equal(endpoints_in(&w), 1);
	world_done(&w);
}

static void no_selector_no_slices(void **state _unused_)
{
	struct world w;

	world_init(&w, PORT_80);
	json_object_del(json_object_get(w.service, "spec"), "selector");
	add_pod(&w, 1, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	endpoints_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	world_done(&w);
}

static void both_families(void **state _unused_)
{
	struct world w;
	json_t *pod;

	world_init(&w, PORT_80);
	json_set(w.service, "spec.ipFamilies", json_pack("[s,s]", "IPv4", "IPv6"));
	pod = add_pod(&w, 1, READY, "");
	json_array_append_new(json_at(pod, "status.podIPs"), json_pack("{s:s}", "ip", "fd00::1"));
	add_pod(&w, 2, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 2);
	apply_slices(&w);
	assert_int_equal(endpoints_in(&w), 3);
	world_done(&w);
}

static void headless_hostnames(void **state _unused_)
{
	struct world w;
	const json_t *slice, *object;

	world_init(&w, "");
	json_set_str(w.service, "spec.clusterIP", "None");
	add_pod(&w, 1, READY, ", hostname: db-0, subdomain: web");
	add_pod(&w, 2, READY, ", hostname: db-1, subdomain: elsewhere");
	endpointslice_decide(&w.view, &w.plan);
	slice = w.plan.items[0]->body;
	assert_string_equal(map_str(object_labels(slice), ENDPOINTS_HEADLESS_LABEL), "");
	assert_int_equal(json_array_size(json_object_get(slice, "ports")), 0);
	assert_int_equal(json_array_size(json_object_get(slice, "endpoints")), 2);
	plan_done(&w.plan);
	endpoints_decide(&w.view, &w.plan);
	object = w.plan.items[0]->body;
	assert_int_equal(json_array_size(json_at(object, "subsets[0].addresses")), 2);
	assert_string_equal(json_str(object, "subsets[0].addresses[0].hostname"), "db-0");
	assert_null(json_str(object, "subsets[0].addresses[1].hostname"));
	world_done(&w);
}

static void endpoints_object(void **state _unused_)
{
	struct world w;
	const json_t *o;

	world_init(&w, PORT_80);
	add_pod(&w, 3, READY, "");
	add_pod(&w, 1, READY, "");
	add_pod(&w, 2, 0, "");
	add_pod(&w, 4, READY | TERMINATING, "");
	endpoints_decide(&w.view, &w.plan);
	assert_string_equal(w.plan.items[0]->method, "POST");
	o = w.plan.items[0]->body;
	assert_string_equal(object_name(o), "web");
	assert_string_equal(map_str(object_labels(o), ENDPOINTS_MANAGED_BY), "endpoint-controller");
	assert_int_equal(json_array_size(json_object_get(o, "subsets")), 1);
	assert_string_equal(json_str(o, "subsets[0].addresses[0].ip"), "10.244.0.2");
	assert_string_equal(json_str(o, "subsets[0].addresses[1].ip"), "10.244.0.4");
	assert_int_equal(json_array_size(json_at(o, "subsets[0].addresses")), 2);
	assert_string_equal(json_str(o, "subsets[0].notReadyAddresses[0].ip"), "10.244.0.3");
	assert_int_equal(json_int(o, "subsets[0].ports[0].port", 0), 8080);
	assert_null(json_str(o, "subsets[0].ports[0].name"));
	w.endpoints = json_deep_copy(o);
	plan_done(&w.plan);
	w.view.endpoints = w.endpoints;
	endpoints_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	add_pod(&w, 5, READY, "");
	endpoints_decide(&w.view, &w.plan);
	assert_string_equal(w.plan.items[0]->method, "PUT");
	world_done(&w);
}

static void endpoints_are_cut_at_a_thousand(void **state _unused_)
{
	struct world w;
	const json_t *o;

	world_init(&w, PORT_80);
	for (int i = 0; i < 1100; i++)
		add_pod(&w, i, i < 50 ? 0 : READY, "");
	endpoints_decide(&w.view, &w.plan);
	o = w.plan.items[0]->body;
	assert_int_equal(json_array_size(json_at(o, "subsets[0].addresses")), 1000);
	assert_null(json_at(o, "subsets[0].notReadyAddresses"));
	assert_string_equal(map_str(object_annotations(o), "endpoints.kubernetes.io/over-capacity"), "truncated");
	world_done(&w);
}

static void endpoints_by_hand_are_mirrored(void **state _unused_)
{
	struct world w;
	const json_t *slice;

	world_init(&w, PORT_80);
	json_object_del(json_object_get(w.service, "spec"), "selector");
	w.endpoints = from_yaml(
		"metadata: {name: web, namespace: default, uid: e1, labels: {a: b}}\n"
		"subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], notReadyAddresses: [{ip: 10.0.0.2}], "
		"ports: [{port: 9376}]}]");
	w.view.endpoints = w.endpoints;
	endpointslice_mirror_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "POST", ""), 2);
	slice = plan_find(&w.plan, "POST", "", 0)->body;
	assert_string_equal(map_str(object_labels(slice), SLICE_MANAGED_BY), SLICE_MIRROR_MANAGER);
	assert_string_equal(map_str(object_labels(slice), "a"), "b");
	assert_string_equal(json_str(slice, "metadata.ownerReferences[0].kind"), "Endpoints");
	assert_string_equal(json_str(slice, "ports[0].name"), "");
	apply_slices(&w);
	assert_int_equal(endpoints_in(&w), 3);
	endpointslice_mirror_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	/* A selector, a label, or no Service end it. */
	json_set(w.service, "spec.selector", json_pack("{s:s}", "app", "web"));
	endpointslice_mirror_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 2);
	plan_done(&w.plan);
	json_object_del(json_object_get(w.service, "spec"), "selector");
	json_set_str(w.endpoints, "metadata.labels", NULL);
	json_set(w.endpoints, "metadata.labels", json_pack("{s:s}", SLICE_SKIP_MIRROR, "true"));
	endpointslice_mirror_decide(&w.view, &w.plan);
	assert_int_equal(plan_count_of(&w.plan, "DELETE", ""), 2);
	assert_false(endpoints_mirrored(w.endpoints, NULL));
	world_done(&w);
}

static void hints(void **state _unused_)
{
	static const struct {
		const char *spec;
		int flags;
		const char *zone, *node;
	} rows[] = {
		{ "", READY, NULL, NULL },
		{ "  trafficDistribution: PreferClose\n", READY, "z1", NULL },
		{ "  trafficDistribution: PreferSameZone\n", READY, "z1", NULL },
		{ "  trafficDistribution: PreferSameNode\n", READY, "z1", "n1" },
		{ "  trafficDistribution: PreferSameNode\n", 0, NULL, NULL },
		{ "  trafficDistribution: PreferClose\n", READY | TERMINATING, NULL, NULL },
		{ "  trafficDistribution: PreferClose\n  publishNotReadyAddresses: true\n", 0, "z1", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *spec = str_printf("%s%s", PORT_80, rows[i].spec);
		const json_t *e;
		struct world w;

		world_init(&w, spec);
		add_pod(&w, 1, rows[i].flags, "");
		endpointslice_decide(&w.view, &w.plan);
		e = json_at(w.plan.items[0]->body, "endpoints[0]");
		assert_true(str_eq(json_str(e, "hints.forZones[0].name"), rows[i].zone));
		assert_true(str_eq(json_str(e, "hints.forNodes[0].name"), rows[i].node));
		world_done(&w);
	}
}

static void pods_of_a_missing_node_are_nowhere(void **state _unused_)
{
	struct world w;

	world_init(&w, PORT_80);
	add_pod(&w, 1, READY, "");
	json_set_str(add_pod(&w, 2, READY, ""), "spec.nodeName", "gone");
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(json_array_size(json_object_get(w.plan.items[0]->body, "endpoints")), 1);
	assert_true(w.plan.requeue_after_ms > 0);
	plan_done(&w.plan);
	json_set(w.service, "spec.publishNotReadyAddresses", json_true());
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(json_array_size(json_object_get(w.plan.items[0]->body, "endpoints")), 2);
	world_done(&w);
}

static void trigger_times(void **state _unused_)
{
	struct endpoints_triggers *t = endpoints_triggers_new();
	struct world w;
	json_t *a, *b;

	world_init(&w, PORT_80);
	json_set_str(w.service, "metadata.creationTimestamp", "1970-01-01T00:00:05Z");
	a = add_pod(&w, 1, READY, "");
	b = add_pod(&w, 2, READY, "");
	json_set_str(json_array_get(json_at(a, "status.conditions"), 0), "lastTransitionTime", "1970-01-01T00:00:10Z");
	assert_int_equal(endpoints_triggers_next_s(t, "k", w.service, &w.view.pods), 5);
	assert_int_equal(endpoints_triggers_next_s(t, "k", w.service, &w.view.pods), 0);
	json_set_str(json_array_get(json_at(a, "status.conditions"), 0), "lastTransitionTime", "1970-01-01T00:00:30Z");
	json_set_str(json_array_get(json_at(b, "status.conditions"), 0), "lastTransitionTime", "1970-01-01T00:00:20Z");
	assert_int_equal(endpoints_triggers_next_s(t, "k", w.service, &w.view.pods), 20);
	assert_int_equal(endpoints_triggers_next_s(t, "k", w.service, &w.view.pods), 0);
	w.view.trigger_time = "1970-01-01T00:00:20Z";
	endpointslice_decide(&w.view, &w.plan);
	assert_string_equal(map_str(object_annotations(w.plan.items[0]->body), ENDPOINTS_TRIGGER_TIME), "1970-01-01T00:00:20Z");
	apply_slices(&w);
	/* It says nothing about what the endpoints are: no write for its sake, but none keeps an old one. */
	w.view.trigger_time = NULL;
	endpointslice_decide(&w.view, &w.plan);
	assert_int_equal(w.plan.count, 0);
	add_pod(&w, 3, READY, "");
	endpointslice_decide(&w.view, &w.plan);
	assert_null(map_str(object_annotations(w.plan.items[0]->body), ENDPOINTS_TRIGGER_TIME));
	world_done(&w);
	endpoints_triggers_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slice_says_what_pods_are),
		cmocka_unit_test(conditions),
		cmocka_unit_test(named_ports_may_differ_between_pods),
		cmocka_unit_test(a_hundred_a_slice_and_few_writes),
		cmocka_unit_test(an_empty_slice_remains_and_strangers_are_left_alone),
		cmocka_unit_test(no_selector_no_slices),
		cmocka_unit_test(both_families),
		cmocka_unit_test(headless_hostnames),
		cmocka_unit_test(endpoints_object),
		cmocka_unit_test(endpoints_are_cut_at_a_thousand),
		cmocka_unit_test(endpoints_by_hand_are_mirrored),
		cmocka_unit_test(hints),
		cmocka_unit_test(pods_of_a_missing_node_are_nowhere),
		cmocka_unit_test(trigger_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
