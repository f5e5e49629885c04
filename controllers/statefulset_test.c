// SPDX-License-Identifier: GPL-2.0-or-later
/* DaemonSets and StatefulSets, run against a toy server that applies plans to objects in memory. */
#include "controllers/deciders_test.h"

#include "controllers/daemonset.h"
#include "controllers/nodefit.h"
#include "controllers/statefulset.h"

struct toy {
	json_t *set;
	bool stateful;
	struct object_list pods, revisions, nodes;
	struct strlist claims;
	unsigned made, stamp;
	size_t most_missing;   /* daemons: pods away or not ready at once, during the last settle() */
	bool gap;              /* stateful: a pod was made while one before it was not ready */
};

static void toy_init(struct toy *t, bool stateful, const char *spec)
{
	*t = (struct toy){ .stateful = stateful };
	t->set = from_yamlf("metadata: {name: x, namespace: default, uid: set-1, generation: 1, resourceVersion: '1'}\n"
			    "spec:\n"
			    "  selector: {matchLabels: {app: x}}\n"
			    "  template:\n"
			    "    metadata: {labels: {app: x}}\n"
			    "    spec: {containers: [{name: c, image: v1}]}\n%s",
			    spec);
}

static void toy_done(struct toy *t)
{
	json_decref(t->set);
	list_free(&t->pods);
	list_free(&t->revisions);
	list_free(&t->nodes);
	strlist_done(&t->claims);
}

static void add_node(struct toy *t, const char *name, const char *more)
{
	object_list_add(&t->nodes,
			from_yamlf("metadata: {name: %s, labels: {kind: %s}}\nspec: {%s}", name, name, more));
}

static void add_created(struct toy *t, struct object_list *l, const json_t *body)
{
	json_t *o = json_deep_copy(body);
	_cleanup_free_ char *uid = str_printf("u%u", ++t->stamp), *name = str_printf("x-%u", t->stamp);
	_cleanup_free_ char *time = str_printf("2027-01-15T07:%02u:%02uZ", t->stamp / 60 % 60, t->stamp % 60);

	json_set_str(o, "metadata.uid", uid);
	if (!*object_name(o))
		json_set_str(o, "metadata.name", name);
	json_set_str(o, "metadata.creationTimestamp", time);
	json_set_str(o, "metadata.resourceVersion", "1");
	object_list_add(l, o);
}

static void remove_from(struct object_list *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (!str_eq(object_name(l->items[i]), name))
			continue;
		json_decref(l->items[i]);
		l->items[i] = l->items[--l->count];
		return;
	}
	fail_msg("%s is not there", name);
}

static void apply(struct toy *t, const struct write *w)
{
	const char *last = strrchr(w->path, '/') + 1, *key;
	json_t *value;

	if (str_eq(w->method, "POST") && str_eq(last, "pods")) {
		t->made++;
		for (size_t i = 0; t->stateful && i < t->pods.count; i++)
			t->gap |= !pod_ready(t->pods.items[i]);
		add_created(t, &t->pods, w->body);
	} else if (str_eq(w->method, "POST") && str_eq(last, "persistentvolumeclaims")) {
		strlist_add(&t->claims, object_name(w->body));
	} else if (str_eq(w->method, "POST")) {
		add_created(t, &t->revisions, w->body);
	} else if (str_eq(w->method, "DELETE")) {
		remove_from(strstr(w->path, "/pods/") ? &t->pods : &t->revisions, last);
	} else if (strstr(w->path, "/controllerrevisions/")) {
		for (size_t i = 0; i < t->revisions.count; i++) {
			if (str_eq(object_name(t->revisions.items[i]), last))
				json_object_set(t->revisions.items[i], "revision",
						json_object_get(w->body, "revision"));
		}
	} else if (str_eq(last, "status")) {
		if (!json_object_get(t->set, "status"))
			json_object_set_new(t->set, "status", json_object());
		json_object_foreach(json_object_get(w->body, "status"), key, value) {
			if (json_is_null(value))
				json_object_del(json_object_get(t->set, "status"), key);
			else
				json_object_set(json_object_get(t->set, "status"), key, value);
		}
	}
}

static bool claim_exists(const char *name, void *user)
{
	const struct toy *t = user;

	return strlist_has(&t->claims, name);
}

static void add_all(struct object_list *to, const struct object_list *from)
{
	for (size_t i = 0; i < from->count; i++)
		object_list_add(to, from->items[i]);
}

static size_t step(struct toy *t)
{
	_cleanup_(selector_freep) struct selector *selector =
		selector_from_label_selector(json_at(t->set, "spec.selector"), NULL);
	struct daemonset_view d = { .set = t->set, .selector = selector, .may_manage = true, .now_s = 1800000000 };
	struct statefulset_view s = { .set = t->set, .selector = selector, .may_manage = true, .now_s = 1800000000,
				      .claim_exists = claim_exists, .user = t };
	_cleanup_plan_ struct plan plan = { 0 };
	size_t n;

	add_all(t->stateful ? &s.candidates : &d.candidates, &t->pods);
	add_all(t->stateful ? &s.revisions : &d.revisions, &t->revisions);
	add_all(&d.nodes, &t->nodes);
	if (t->stateful)
		statefulset_decide(&s, &plan);
	else
		daemonset_decide(&d, &plan);
	n = plan.count;
	for (size_t i = 0; i < plan.count; i++)
		apply(t, plan.items[i]);
	object_list_done(&d.candidates);
	object_list_done(&d.revisions);
	object_list_done(&d.nodes);
	object_list_done(&s.candidates);
	object_list_done(&s.revisions);
	return n;
}

/* Nodes run what there is. broken: pods of this image never get ready. */
static void run_pods(struct toy *t, const char *broken)
{
	for (size_t i = 0; i < t->pods.count; i++) {
		bool ok = !str_eq(json_str(t->pods.items[i], "spec.containers[0].image"), broken);
		json_t *pod = t->pods.items[i];

		if (str_empty(json_str(pod, "spec.nodeName")) && nodefit_target(json_object_get(pod, "spec")))
			json_set_str(pod, "spec.nodeName", nodefit_target(json_object_get(pod, "spec")));
		json_set(pod, "status",
			 json_pack("{s:s, s:[{s:s, s:s, s:s}]}", "phase", "Running", "conditions", "type", "Ready",
				   "status", ok ? "True" : "False", "lastTransitionTime", "2027-01-15T07:00:00Z"));
	}
}

static void settle(struct toy *t, const char *broken)
{
	size_t had = t->pods.count;

	t->most_missing = 0;
	for (int i = 0; i < 100; i++) {
		if (!step(t))
			return;
		if (had > t->pods.count)
			t->most_missing = MAX(t->most_missing, had - t->pods.count);
		run_pods(t, broken);
	}
	fail_msg("it never settles");
}

static size_t of_image(const struct toy *t, const char *image)
{
	size_t n = 0;

	for (size_t i = 0; i < t->pods.count; i++)
		n += str_eq(json_str(t->pods.items[i], "spec.containers[0].image"), image);
	return n;
}

static void set_image(struct toy *t, const char *image)
{
	json_set_str(json_at(t->set, "spec.template.spec.containers[0]"), "image", image);
	json_set(t->set, "metadata.generation", json_integer(json_int(t->set, "metadata.generation", 0) + 1));
}

static int64_t status(const struct toy *t, const char *field)
{
	return json_int(json_object_get(t->set, "status"), field, 0);
}

static const json_t *pod_named(const struct toy *t, const char *name)
{
	for (size_t i = 0; i < t->pods.count; i++) {
		if (str_eq(object_name(t->pods.items[i]), name))
			return t->pods.items[i];
	}
	return NULL;
}

#define ROLLING "  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1, maxSurge: 0}}\n"

static void a_daemon_on_every_fitting_node(void **state _unused_)
{
	struct toy t;

	toy_init(&t, false, ROLLING);
	add_node(&t, "a", "");
	add_node(&t, "b", "unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]");
	add_node(&t, "c", "taints: [{key: dedicated, value: gpu, effect: NoSchedule}]");
	add_node(&t, "d", "taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]");
	settle(&t, NULL);
	assert_int_equal(t.pods.count, 3);
	assert_int_equal(status(&t, "desiredNumberScheduled"), 3);
	assert_int_equal(status(&t, "numberAvailable"), 3);
	assert_int_equal(status(&t, "updatedNumberScheduled"), 3);
	assert_int_equal(t.revisions.count, 1);
	assert_string_equal(map_str(object_labels(t.pods.items[0]), REVISION_HASH_LABEL),
			    map_str(object_labels(t.revisions.items[0]), REVISION_HASH_LABEL));
	/* A node comes, one changes its mind, one goes. */
	add_node(&t, "e", "");
	json_set(t.nodes.items[0], "spec.taints", json_pack("[{s:s, s:s}]", "key", "k", "effect", "NoExecute"));
	settle(&t, NULL);
	assert_int_equal(t.pods.count, 3);
	assert_int_equal(status(&t, "numberMisscheduled"), 0);
	toy_done(&t);
}

static void daemons_follow_selectors(void **state _unused_)
{
	struct toy t;

	toy_init(&t, false, ROLLING);
	json_set(t.set, "spec.template.spec.nodeSelector", json_pack("{s:s}", "kind", "b"));
	add_node(&t, "a", "");
	add_node(&t, "b", "");
	settle(&t, NULL);
	assert_int_equal(t.pods.count, 1);
	assert_string_equal(json_str(t.pods.items[0], "spec.nodeName"), "b");
	toy_done(&t);
}

static void daemons_roll_within_max_unavailable(void **state _unused_)
{
	struct toy t;

	toy_init(&t, false, ROLLING);
	for (int i = 0; i < 6; i++) {
		_cleanup_free_ char *name = str_printf("n%d", i);

		add_node(&t, name, "");
	}
	settle(&t, NULL);
	set_image(&t, "v2");
	settle(&t, NULL);
	assert_int_equal(of_image(&t, "v2"), 6);
	assert_int_equal(t.most_missing, 1);
	/* A broken image takes one node and stops there; undoing repairs it. */
	set_image(&t, "bad");
	settle(&t, "bad");
	assert_int_equal(of_image(&t, "bad"), 1);
	assert_int_equal(status(&t, "numberUnavailable"), 1);
	set_image(&t, "v2");
	settle(&t, "bad");
	assert_int_equal(of_image(&t, "v2"), 6);
	assert_int_equal(t.revisions.count, 3);
	toy_done(&t);
}

static void daemons_surge(void **state _unused_)
{
	struct toy t;

	toy_init(&t, false,
		 "  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}\n");
	for (int i = 0; i < 3; i++) {
		_cleanup_free_ char *name = str_printf("n%d", i);

		add_node(&t, name, "");
	}
	settle(&t, NULL);
	set_image(&t, "v2");
	settle(&t, NULL);
	assert_int_equal(of_image(&t, "v2"), 3);
	assert_int_equal(t.pods.count, 3);
	assert_int_equal(t.most_missing, 0);
	toy_done(&t);
}

static void failed_daemons_are_replaced(void **state _unused_)
{
	struct toy t;

	toy_init(&t, false, ROLLING);
	add_node(&t, "a", "");
	settle(&t, NULL);
	json_set_str(t.pods.items[0], "status.phase", "Failed");
	settle(&t, NULL);
	assert_int_equal(t.made, 2);
	assert_int_equal(t.pods.count, 1);
	toy_done(&t);
}

#define STATEFUL                                                                                       \
	"  replicas: 3\n  serviceName: svc\n  podManagementPolicy: OrderedReady\n"                     \
	"  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}\n"                     \
	"  volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {}}}]\n"

static void stateful_pods_come_in_order(void **state _unused_)
{
	struct toy t;
	const json_t *pod;

	toy_init(&t, true, STATEFUL);
	step(&t); /* the revision */
	step(&t);
	assert_int_equal(t.pods.count, 1);
	assert_string_equal(object_name(t.pods.items[0]), "x-0");
	step(&t);
	step(&t);
	assert_int_equal(t.pods.count, 1); /* the first is not ready */
	run_pods(&t, NULL);
	settle(&t, NULL);
	assert_int_equal(t.pods.count, 3);
	assert_false(t.gap);
	assert_int_equal(t.claims.count, 3);
	assert_true(strlist_has(&t.claims, "data-x-2"));
	pod = pod_named(&t, "x-2");
	assert_string_equal(json_str(pod, "spec.hostname"), "x-2");
	assert_string_equal(json_str(pod, "spec.subdomain"), "svc");
	assert_string_equal(json_str(pod, "spec.volumes[0].persistentVolumeClaim.claimName"), "data-x-2");
	assert_string_equal(map_str(object_labels(pod), "statefulset.kubernetes.io/pod-name"), "x-2");
	assert_string_equal(map_str(object_labels(pod), "apps.kubernetes.io/pod-index"), "2");
	assert_string_equal(map_str(object_labels(pod), REVISION_HASH_LABEL), object_name(t.revisions.items[0]));
	assert_int_equal(status(&t, "readyReplicas"), 3);
	assert_int_equal(status(&t, "currentReplicas"), 3);
	/* Down again: the highest first. */
	json_set(t.set, "spec.replicas", json_integer(1));
	step(&t);
	assert_null(pod_named(&t, "x-2"));
	assert_non_null(pod_named(&t, "x-1"));
	settle(&t, NULL);
	assert_int_equal(t.pods.count, 1);
	assert_non_null(pod_named(&t, "x-0"));
	toy_done(&t);
}

static void parallel_does_not_wait(void **state _unused_)
{
	struct toy t;

	toy_init(&t, true, STATEFUL);
	json_set_str(t.set, "spec.podManagementPolicy", "Parallel");
	step(&t);
	step(&t);
	assert_int_equal(t.pods.count, 3);
	toy_done(&t);
}

static void stateful_pods_roll_from_the_top(void **state _unused_)
{
	struct toy t;

	toy_init(&t, true, STATEFUL);
	settle(&t, NULL);
	set_image(&t, "v2");
	settle(&t, NULL);
	assert_int_equal(of_image(&t, "v2"), 3);
	assert_int_equal(t.most_missing, 1);
	assert_false(t.gap);
	assert_string_equal(json_str(t.set, "status.currentRevision"), json_str(t.set, "status.updateRevision"));
	assert_int_equal(status(&t, "updatedReplicas"), 3);
	/* A broken one stops the rollout at the top. */
	set_image(&t, "bad");
	settle(&t, "bad");
	assert_int_equal(of_image(&t, "bad"), 1);
	assert_string_equal(json_str(pod_named(&t, "x-2"), "spec.containers[0].image"), "bad");
	assert_string_not_equal(json_str(t.set, "status.currentRevision"), json_str(t.set, "status.updateRevision"));
	toy_done(&t);
}

static void the_partition_holds(void **state _unused_)
{
	struct toy t;

	toy_init(&t, true, STATEFUL);
	settle(&t, NULL);
	json_set(t.set, "spec.updateStrategy.rollingUpdate.partition", json_integer(2));
	set_image(&t, "v2");
	settle(&t, NULL);
	assert_int_equal(of_image(&t, "v2"), 1);
	assert_string_equal(json_str(pod_named(&t, "x-2"), "spec.containers[0].image"), "v2");
	/* A pod lost below the partition comes back with the old template. */
	remove_from(&t.pods, "x-0");
	settle(&t, NULL);
	assert_string_equal(json_str(pod_named(&t, "x-0"), "spec.containers[0].image"), "v1");
	toy_done(&t);
}

static void ordinals(void **state _unused_)
{
	assert_int_equal(statefulset_ordinal("web", "web-0"), 0);
	assert_int_equal(statefulset_ordinal("web", "web-12"), 12);
	assert_int_equal(statefulset_ordinal("web", "web-01"), -1);
	assert_int_equal(statefulset_ordinal("web", "web-"), -1);
	assert_int_equal(statefulset_ordinal("web", "web-x"), -1);
	assert_int_equal(statefulset_ordinal("web", "other-1"), -1);
	assert_int_equal(statefulset_ordinal("web", "web2-1"), -1);
}

static void affinity_terms(void **state _unused_)
{
	static const struct {
		const char *terms;
		bool selects;
	} rows[] = {
		{ "[{matchExpressions: [{key: zone, operator: In, values: [a, b]}]}]", true },
		{ "[{matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}]", false },
		{ "[{matchExpressions: [{key: none, operator: NotIn, values: [a]}]}]", true },
		{ "[{matchExpressions: [{key: zone, operator: Exists}]}]", true },
		{ "[{matchExpressions: [{key: none, operator: Exists}]}]", false },
		{ "[{matchExpressions: [{key: none, operator: DoesNotExist}]}]", true },
		{ "[{matchExpressions: [{key: cores, operator: Gt, values: ['4']}]}]", true },
		{ "[{matchExpressions: [{key: cores, operator: Lt, values: ['4']}]}]", false },
		{ "[{matchFields: [{key: metadata.name, operator: In, values: [n1]}]}]", true },
		{ "[{matchFields: [{key: metadata.name, operator: In, values: [n2]}]}]", false },
		{ "[{}]", false },
		{ "[{}, {matchExpressions: [{key: zone, operator: Exists}]}]", true },
	};
	_cleanup_json_ json_t *node = from_yaml("metadata: {name: n1, labels: {zone: a, cores: '8'}}");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *spec = from_yamlf("affinity: {nodeAffinity: "
							 "{requiredDuringSchedulingIgnoredDuringExecution: "
							 "{nodeSelectorTerms: %s}}}",
							 rows[i].terms);

		if (nodefit_selects(spec, node) != rows[i].selects)
			fail_msg("%s", rows[i].terms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemon_on_every_fitting_node),
		cmocka_unit_test(daemons_follow_selectors),
		cmocka_unit_test(daemons_roll_within_max_unavailable),
		cmocka_unit_test(daemons_surge),
		cmocka_unit_test(failed_daemons_are_replaced),
		cmocka_unit_test(stateful_pods_come_in_order),
		cmocka_unit_test(parallel_does_not_wait),
		cmocka_unit_test(stateful_pods_roll_from_the_top),
		cmocka_unit_test(the_partition_holds),
		cmocka_unit_test(ordinals),
		cmocka_unit_test(affinity_terms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
