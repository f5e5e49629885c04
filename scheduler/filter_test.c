/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each filter by tables: a pod's spec, a node, what comes out and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "scheduler/explain.h"
#include "scheduler/testing.h"

/* Runs all filters of a pod on a node; reason NULL: it fits. */
static void expect_in(struct snapshot *s, const json_t *pod, const char *node, enum fit fit, const char *reason)
{
	_cleanup_strlist_ struct strlist reasons = { 0 };
	_cleanup_(pod_info_freep) struct pod_info *info = pod_info_new(pod);
	struct decision d;
	unsigned wake = 0;

	decision_prepare(&d, s, pod, info);
	enum fit got = decision_filter(&d, snapshot_node(s, node), &reasons, &wake);

	decision_done(&d);
	if (got != fit)
		fail_msg("fit is %d, not %d: %s", got, fit, reasons.count ? reasons.items[0] : "no reason");
	assert_int_equal(reasons.count > 0, reason != NULL);
	if (reason)
		assert_string_equal(reasons.items[0], reason);
	assert_int_equal(wake != 0, fit != FIT_OK);
}

static void expect(struct snapshot *s, const char *spec, const char *node, enum fit fit, const char *reason)
{
	_cleanup_json_ json_t *pod = test_pod("d", "new", "{'app':'web'}", spec);

	expect_in(s, pod, node, fit, reason);
}

static void unschedulable_and_name(void **state _unused_)
{
	struct snapshot *s = snapshot_new();

	test_node(s, "n", NULL, "{'unschedulable':true}");
	test_node(s, "m", NULL, NULL);
	expect(s, "{}", "n", FIT_NEVER, "node(s) were unschedulable");
	expect(s, "{'tolerations':[{'operator':'Exists'}]}", "n", FIT_OK, NULL);
	expect(s, "{'tolerations':[{'key':'node.kubernetes.io/unschedulable','operator':'Exists','effect':'NoSchedule'}]}", "n",
	       FIT_OK, NULL);
	expect(s, "{'nodeName':'n'}", "m", FIT_NEVER, "node(s) didn't match the requested node name");
	snapshot_free(s);
}

static void taints(void **state _unused_)
{
	static const char refused[] = "node(s) had untolerated taint(s)";
	struct snapshot *s = snapshot_new();

	test_node(s, "n", NULL, "{'taints':[{'key':'k','value':'v','effect':'NoSchedule'},"
				"{'key':'soft','effect':'PreferNoSchedule'}]}");
	test_node(s, "e", NULL, "{'taints':[{'key':'k','effect':'NoExecute'}]}");
	expect(s, "{}", "n", FIT_NEVER, refused);
	expect(s, "{}", "e", FIT_NEVER, refused);
	expect(s, "{'tolerations':[{'key':'k','value':'v'}]}", "n", FIT_OK, NULL);
	expect(s, "{'tolerations':[{'key':'k','operator':'Equal','value':'w'}]}", "n", FIT_NEVER, refused);
	expect(s, "{'tolerations':[{'key':'k','operator':'Exists','effect':'NoExecute'}]}", "n", FIT_NEVER, refused);
	expect(s, "{'tolerations':[{'key':'k','operator':'Exists','effect':'NoExecute'}]}", "e", FIT_OK, NULL);
	expect(s, "{'tolerations':[{'operator':'Equal','value':'v'}]}", "n", FIT_NEVER, refused);
	expect(s, "{'tolerations':[{'operator':'Exists'}]}", "n", FIT_OK, NULL);
	snapshot_free(s);
}

#define REQUIRED(terms)                                                                                                  \
	"{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[" terms     \
	"]}}}}"
#define EXPR(key, op, values) "{'matchExpressions':[{'key':'" key "','operator':'" op "','values':[" values "]}]}"

static void node_affinity(void **state _unused_)
{
	static const struct {
		const char *spec;
		bool fits;
	} cases[] = {
		{ "{'nodeSelector':{'zone':'a'}}", true },
		{ "{'nodeSelector':{'zone':'a','x':'y'}}", false },
		{ REQUIRED(EXPR("zone", "In", "'b','a'")), true },
		{ REQUIRED(EXPR("zone", "In", "'b'")), false },
		{ REQUIRED(EXPR("zone", "NotIn", "'b'")), true },
		{ REQUIRED(EXPR("absent", "NotIn", "'b'")), true },
		{ REQUIRED(EXPR("zone", "NotIn", "'a'")), false },
		{ REQUIRED(EXPR("zone", "Exists", "")), true },
		{ REQUIRED(EXPR("absent", "Exists", "")), false },
		{ REQUIRED(EXPR("absent", "DoesNotExist", "")), true },
		{ REQUIRED(EXPR("zone", "DoesNotExist", "")), false },
		{ REQUIRED(EXPR("gen", "Gt", "'6'")), true },
		{ REQUIRED(EXPR("gen", "Gt", "'7'")), false },
		{ REQUIRED(EXPR("gen", "Lt", "'8'")), true },
		{ REQUIRED(EXPR("zone", "Lt", "'8'")), false },
		{ REQUIRED(EXPR("zone", "Other", "'a'")), false },
		{ REQUIRED(EXPR("zone", "In", "'b'") "," EXPR("zone", "In", "'a'")), true },
		{ REQUIRED("{}"), false },
		{ REQUIRED(""), false },
		{ REQUIRED("{'matchFields':[{'key':'metadata.name','operator':'In','values':['n']}]}"), true },
		{ REQUIRED("{'matchFields':[{'key':'metadata.name','operator':'In','values':['m']}]}"), false },
	};
	struct snapshot *s = snapshot_new();

	test_node(s, "n", "{'zone':'a','gen':'7'}", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(s, cases[i].spec, "n", cases[i].fits ? FIT_OK : FIT_NEVER,
		       cases[i].fits ? NULL : "node(s) didn't match Pod's node affinity/selector");
	snapshot_free(s);
}

#define PORT(members) "{'containers':[{'ports':[{'containerPort':80," members "}]}]}"

static void ports(void **state _unused_)
{
	static const char busy[] = "node(s) didn't have free ports for the requested pod ports";
	struct snapshot *s = snapshot_new();

	test_node(s, "n", NULL, NULL);
	test_place(s, "n", "d", "old", NULL, PORT("'hostPort':8080,'hostIP':'127.0.0.1'"));
	expect(s, PORT("'hostPort':8080"), "n", FIT_NO, busy);
	expect(s, PORT("'hostPort':8080,'hostIP':'127.0.0.1'"), "n", FIT_NO, busy);
	expect(s, PORT("'hostPort':8080,'hostIP':'127.0.0.2'"), "n", FIT_OK, NULL);
	expect(s, PORT("'hostPort':8080,'protocol':'UDP'"), "n", FIT_OK, NULL);
	expect(s, PORT("'hostPort':8081"), "n", FIT_OK, NULL);
	expect(s, PORT("'name':'x'"), "n", FIT_OK, NULL);
	snapshot_free(s);
}

#define REQUESTS(list) "'resources':{'requests':{" list "}}"

static void resources(void **state _unused_)
{
	struct snapshot *s = snapshot_new();

	test_node(s, "n", NULL, NULL);
	test_place(s, "n", "d", "old", NULL, "{'containers':[{" REQUESTS("'cpu':'3','memory':'1Gi','nvidia.com/gpu':'1'") "}]}");
	expect(s, "{'containers':[{" REQUESTS("'cpu':'1'") "}]}", "n", FIT_OK, NULL);
	expect(s, "{'containers':[{" REQUESTS("'cpu':'1001m'") "}]}", "n", FIT_NO, "Insufficient cpu");
	expect(s, "{'containers':[{" REQUESTS("'cpu':'4001m'") "}]}", "n", FIT_NEVER, "Insufficient cpu");
	expect(s, "{'containers':[{" REQUESTS("'memory':'7Gi'") "}]}", "n", FIT_OK, NULL);
	expect(s, "{'containers':[{" REQUESTS("'memory':'7169Mi'") "}]}", "n", FIT_NO, "Insufficient memory");
	expect(s, "{'containers':[{" REQUESTS("'nvidia.com/gpu':'2'") "}]}", "n", FIT_NO, "Insufficient nvidia.com/gpu");
	expect(s, "{'containers':[{" REQUESTS("'example.com/x':'1'") "}]}", "n", FIT_NEVER, "Insufficient example.com/x");
	expect(s, "{'containers':[{" REQUESTS("'example.com/x':'0'") "}]}", "n", FIT_OK, NULL);
	expect(s, "{'containers':[{" REQUESTS("'ephemeral-storage':'1'") "}]}", "n", FIT_NEVER, "Insufficient ephemeral-storage");
	/* Overhead counts; init containers by the maximum; sidecars with everything started after them. */
	expect(s, "{'overhead':{'cpu':'1'},'containers':[{" REQUESTS("'cpu':'1m'") "}]}", "n", FIT_NO, "Insufficient cpu");
	expect(s, "{'initContainers':[{" REQUESTS("'cpu':'1'") "},{" REQUESTS("'cpu':'1'") "}],'containers':[{"
	       REQUESTS("'cpu':'1'") "}]}", "n", FIT_OK, NULL);
	expect(s, "{'initContainers':[{" REQUESTS("'cpu':'1001m'") "}],'containers':[{}]}", "n", FIT_NO, "Insufficient cpu");
	expect(s, "{'initContainers':[{'restartPolicy':'Always'," REQUESTS("'cpu':'500m'") "}],'containers':[{"
	       REQUESTS("'cpu':'501m'") "}]}", "n", FIT_NO, "Insufficient cpu");
	expect(s, "{'initContainers':[{'restartPolicy':'Always'," REQUESTS("'cpu':'500m'") "},{" REQUESTS("'cpu':'501m'")
	       "}],'containers':[{}]}", "n", FIT_NO, "Insufficient cpu");
	/* An init container that ran before the sidecar does not add to it. */
	expect(s, "{'initContainers':[{" REQUESTS("'cpu':'900m'") "},{'restartPolicy':'Always'," REQUESTS("'cpu':'500m'")
	       "}],'containers':[{}]}", "n", FIT_OK, NULL);
	for (int i = 0; i < 9; i++) {
		char name[8] = { 'p', (char)('0' + i), 0 };

		test_place(s, "n", "d", name, NULL, NULL);
	}
	expect(s, "{}", "n", FIT_NO, "Too many pods");
	/* Taken out again, everything is as before. */
	for (size_t i = 0; i < 10; i++)
		pod_info_free(node_info_take(snapshot_node(s, "n"), snapshot_node(s, "n")->pods[0]->uid));
	assert_int_equal(snapshot_node(s, "n")->requested.milli_cpu, 0);
	assert_int_equal(resources_other(&snapshot_node(s, "n")->requested, "nvidia.com/gpu"), 0);
	snapshot_free(s);
}

#define SPREAD(members)                                                                                                  \
	"{'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone','whenUnsatisfiable':'DoNotSchedule',"           \
	"'labelSelector':{'matchLabels':{'app':'web'}}" members "}]}"

static void spread(void **state _unused_)
{
	static const char refused[] = "node(s) didn't match pod topology spread constraints";
	static const char unlabelled[] = "node(s) didn't match pod topology spread constraints (missing required label)";
	struct snapshot *s = snapshot_new();

	test_node(s, "a1", "{'zone':'a'}", NULL);
	test_node(s, "a2", "{'zone':'a'}", NULL);
	test_node(s, "b1", "{'zone':'b','big':'y'}", NULL);
	test_node(s, "none", NULL, NULL);
	expect(s, SPREAD(""), "none", FIT_NEVER, unlabelled);
	test_place(s, "a1", "d", "w1", "{'app':'web'}", NULL);
	test_place(s, "b1", "other", "w2", "{'app':'web'}", NULL); /* another namespace */
	test_place(s, "b1", "d", "w3", "{'app':'db'}", NULL);
	expect(s, SPREAD(""), "a1", FIT_NO, refused);
	expect(s, SPREAD(""), "a2", FIT_NO, refused); /* the domain counts, not the node */
	expect(s, SPREAD(""), "b1", FIT_OK, NULL);
	/* Fewer domains than minDomains: the least is 0. */
	test_place(s, "b1", "d", "w4", "{'app':'web'}", NULL);
	expect(s, SPREAD(""), "a1", FIT_OK, NULL);
	expect(s, SPREAD(",'minDomains':3"), "a1", FIT_NO, refused);
	/* Nodes that the pod cannot use do not count, unless it says so. */
	test_place(s, "b1", "d", "w5", "{'app':'web'}", NULL);
	_cleanup_json_ json_t *only_b = test_pod("d", "new", "{'app':'web'}", SPREAD(""));

	json_set_str(only_b, "spec.nodeSelector.big", "y");
	expect_in(s, only_b, "b1", FIT_OK, NULL);
	_cleanup_json_ json_t *ignoring = test_pod("d", "new", "{'app':'web'}", SPREAD(",'nodeAffinityPolicy':'Ignore'"));

	json_set_str(ignoring, "spec.nodeSelector.big", "y");
	expect_in(s, ignoring, "b1", FIT_NO, refused);
	/* matchLabelKeys narrows to pods with the same value. */
	_cleanup_json_ json_t *keyed = test_pod("d", "new", "{'app':'web','hash':'2'}", SPREAD(",'matchLabelKeys':['hash']"));

	expect_in(s, keyed, "b1", FIT_OK, NULL);
	snapshot_free(s);
}

#define AFFINITY(kind, members)                                                                                          \
	"{'affinity':{'" kind "':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'zone',"              \
	"'labelSelector':{'matchLabels':{'app':'db'}}" members "}]}}}"

static void interpod(void **state _unused_)
{
	static const char no_friend[] = "node(s) didn't match pod affinity rules";
	static const char enemy[] = "node(s) didn't match pod anti-affinity rules";
	static const char unwelcome[] = "node(s) didn't satisfy existing pods anti-affinity rules";
	struct snapshot *s = snapshot_new();

	test_node(s, "a", "{'zone':'a'}", NULL);
	test_node(s, "b", "{'zone':'b'}", NULL);
	test_node(s, "none", NULL, NULL);
	expect(s, AFFINITY("podAffinity", ""), "a", FIT_NEVER, no_friend);
	test_place(s, "a", "d", "db", "{'app':'db'}", NULL);
	expect(s, AFFINITY("podAffinity", ""), "a", FIT_OK, NULL);
	expect(s, AFFINITY("podAffinity", ""), "b", FIT_NEVER, no_friend);
	expect(s, AFFINITY("podAffinity", ""), "none", FIT_NEVER, no_friend);
	expect(s, AFFINITY("podAntiAffinity", ""), "a", FIT_NO, enemy);
	expect(s, AFFINITY("podAntiAffinity", ""), "b", FIT_OK, NULL);
	expect(s, AFFINITY("podAntiAffinity", ""), "none", FIT_OK, NULL);
	/* Namespaces: others only when named or chosen by their labels. */
	expect(s, AFFINITY("podAffinity", ",'namespaces':['x']"), "a", FIT_NEVER, no_friend);
	map_set(s->namespaces, "d", test_json("{'team':'t'}"));
	expect(s, AFFINITY("podAffinity", ",'namespaceSelector':{'matchLabels':{'team':'t'}}"), "a", FIT_OK, NULL);
	expect(s, AFFINITY("podAffinity", ",'namespaceSelector':{'matchLabels':{'team':'u'}}"), "a", FIT_NEVER, no_friend);
	/* The first of a group that wants its own kind goes anywhere; the second follows it. */
	_cleanup_json_ json_t *self = test_pod("e", "new", "{'app':'db'}", AFFINITY("podAffinity", ""));

	expect_in(s, self, "b", FIT_OK, NULL);
	expect_in(s, self, "none", FIT_NEVER, no_friend);
	test_place(s, "b", "e", "first", "{'app':'db'}", NULL);
	expect_in(s, self, "b", FIT_OK, NULL);
	expect_in(s, self, "a", FIT_NEVER, no_friend);
	/* A running pod that shuns the newcomer. */
	_cleanup_json_ json_t *shunned = test_pod("d", "new", "{'app':'db'}", NULL);

	test_place(s, "b", "d", "shy", NULL, AFFINITY("podAntiAffinity", ""));
	expect_in(s, shunned, "b", FIT_NO, unwelcome);
	expect_in(s, shunned, "a", FIT_OK, NULL);
	snapshot_free(s);
}

static void explanations(void **state _unused_)
{
	struct explanation x = { 0 };
	_cleanup_strlist_ struct strlist cpu = { 0 }, both = { 0 };
	_cleanup_strbuf_ struct strbuf b = { 0 };

	explanation_write(&x, 0, NULL, false, &b);
	assert_string_equal(b.data, "no nodes available to schedule pods");
	strlist_add(&cpu, "Insufficient cpu");
	strlist_add(&both, "Too many pods");
	strlist_add(&both, "Insufficient cpu");
	x.nodes = 3;
	explanation_add(&x, &cpu);
	explanation_add(&x, &both);
	strbuf_reset(&b);
	explanation_write(&x, 2, NULL, false, &b);
	assert_string_equal(b.data, "0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu. preemption: 0/3 nodes are "
				    "available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for "
				    "incoming pod.");
	strbuf_reset(&b);
	explanation_write(&x, 2, "not eligible due to preemptionPolicy=Never.", false, &b);
	assert_true(str_ends(b.data, "2 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."));
	strbuf_reset(&b);
	explanation_write(&x, 2, NULL, true, &b);
	assert_string_equal(b.data, "0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.");
	explanation_done(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unschedulable_and_name), cmocka_unit_test(taints),   cmocka_unit_test(node_affinity),
		cmocka_unit_test(ports),                  cmocka_unit_test(resources), cmocka_unit_test(spread),
		cmocka_unit_test(interpod),               cmocka_unit_test(explanations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
