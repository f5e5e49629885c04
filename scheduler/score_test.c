/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scores: which node is better and by how much; preemption's choice of victims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "scheduler/preempt.h"
#include "scheduler/testing.h"

/* Scores of one plugin for all nodes in the order they were made. */
static void scores_of(struct snapshot *s, score_fn score, const char *spec, int64_t *ret)
{
	_cleanup_json_ json_t *pod = test_pod("d", "new", "{'app':'web'}", spec);
	_cleanup_(pod_info_freep) struct pod_info *info = pod_info_new(pod);
	struct decision d;

	decision_prepare(&d, s, pod, info);
	score(&d, s->nodes, s->node_count, ret);
	decision_done(&d);
}

static void normalizing(void **state _unused_)
{
	int64_t a[] = { 0, 5, 10 }, b[] = { 0, 5, 10 }, zero[] = { 0, 0 }, none[] = { 0, 0 };

	score_normalize(a, 3, false);
	assert_int_equal(a[1], 50);
	assert_int_equal(a[2], 100);
	score_normalize(b, 3, true);
	assert_int_equal(b[0], 100);
	assert_int_equal(b[2], 0);
	score_normalize(zero, 2, true);
	assert_int_equal(zero[0], 100);
	score_normalize(none, 2, false);
	assert_int_equal(none[0], 0);
}

#define CPU(amount) "{'containers':[{'resources':{'requests':{'cpu':'" amount "','memory':'0'}}}]}"

static void allocation(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	int64_t v[2];

	test_node(s, "idle", NULL, NULL);
	test_node(s, "busy", NULL, NULL);
	test_place(s, "busy", "d", "old", NULL, CPU("2"));
	scores_of(s, score_least_allocated, CPU("1"), v);
	/* (4-1)/4 and (4-3)/4 of the cpu, all of the memory. */
	assert_int_equal(v[0], (75 + 100) / 2);
	assert_int_equal(v[1], (25 + 100) / 2);
	/* Containers that request nothing weigh 100m and 200Mi. */
	scores_of(s, score_least_allocated, "{'containers':[{}]}", v);
	assert_int_equal(v[0], (97 + 97) / 2);
	/* Balanced: cpu 1/4 against memory 1/8 of the idle node, half of the difference. */
	scores_of(s, score_balanced, "{'containers':[{'resources':{'requests':{'cpu':'1','memory':'1Gi'}}}]}", v);
	assert_int_equal(v[0], 93);
	assert_int_equal(v[1], 68);
	scores_of(s, score_balanced, "{'containers':[{}]}", v);
	assert_int_equal(v[0], 0);
	snapshot_free(s);
}

static void preferences(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	int64_t v[3];

	test_node(s, "a", "{'zone':'a','ssd':'y'}", NULL);
	test_node(s, "b", "{'zone':'b','ssd':'y'}", "{'taints':[{'key':'k','effect':'PreferNoSchedule'}]}");
	test_node(s, "c", "{'zone':'c'}", "{'taints':[{'key':'k','effect':'PreferNoSchedule'},{'key':'l','effect':"
					  "'PreferNoSchedule'}]}");
	scores_of(s, score_taints, "{}", v);
	assert_int_equal(v[0], 100);
	assert_int_equal(v[1], 50);
	assert_int_equal(v[2], 0);
	scores_of(s, score_taints, "{'tolerations':[{'key':'l','operator':'Exists'}]}", v);
	assert_int_equal(v[1], v[2]);
	scores_of(s, score_node_affinity,
		  "{'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':["
		  "{'weight':10,'preference':{'matchExpressions':[{'key':'ssd','operator':'Exists'}]}},"
		  "{'weight':30,'preference':{'matchExpressions':[{'key':'zone','operator':'In','values':['b']}]}}]}}}", v);
	assert_int_equal(v[0], 25);
	assert_int_equal(v[1], 100);
	assert_int_equal(v[2], 0);
	snapshot_free(s);
}

static void images(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	_cleanup_json_ json_t *with = test_json("{'status':{'images':[{'names':['reg/x:latest','reg/x@sha256:1'],'sizeBytes':"
						"1048576000}]}}");
	int64_t v[2];

	node_info_set(test_node(s, "has", NULL, NULL), with);
	test_node(s, "lacks", NULL, NULL);
	/* 1000 MiB on one of two nodes count half. */
	scores_of(s, score_images, "{'containers':[{'image':'reg/x'}]}", v);
	assert_int_equal(v[0], 100 * (500 - 23) / (1000 - 23));
	assert_int_equal(v[1], 0);
	scores_of(s, score_images, "{'containers':[{'image':'reg/x:v2'}]}", v);
	assert_int_equal(v[0], 0);
	snapshot_free(s);
}

static void spreading(void **state _unused_)
{
	static const char soft[] = "{'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'zone','whenUnsatisfiable':"
				   "'ScheduleAnyway','labelSelector':{'matchLabels':{'app':'web'}}}]}";
	struct snapshot *s = snapshot_new();
	int64_t v[3];

	test_node(s, "a", "{'zone':'a','kubernetes.io/hostname':'a'}", NULL);
	test_node(s, "b", "{'zone':'b','kubernetes.io/hostname':'b'}", NULL);
	test_node(s, "unlabelled", NULL, NULL);
	test_place(s, "a", "d", "w1", "{'app':'web'}", NULL);
	test_place(s, "a", "d", "w2", "{'app':'web'}", NULL);
	test_place(s, "b", "d", "w3", "{'app':'web'}", NULL);
	scores_of(s, score_spread, soft, v);
	assert_true(v[1] > v[0]);
	assert_int_equal(v[2], 0);
	scores_of(s, score_spread, "{}", v);
	assert_int_equal(v[0], 0);
	assert_int_equal(v[1], 0);
	/* Without constraints of its own a replica keeps away from its siblings' hosts. */
	static const char replica[] = "{'metadata':{'name':'r','namespace':'d','uid':'r','ownerReferences':[{'uid':'rs',"
				      "'controller':true}]},'spec':{}}";
	_cleanup_json_ json_t *pod = test_json(replica);
	_cleanup_(pod_info_freep) struct pod_info *info = pod_info_new(pod);
	struct pod_info *sibling = pod_info_new(pod);
	struct decision d;

	free(sibling->uid);
	sibling->uid = mem_strdup("sibling");
	node_info_add(snapshot_node(s, "b"), sibling);
	decision_prepare(&d, s, pod, info);
	score_spread(&d, s->nodes, s->node_count, v);
	decision_done(&d);
	assert_true(v[0] > v[1]);
	snapshot_free(s);
}

#define PREFER(kind, weight)                                                                                             \
	"{'affinity':{'" kind "':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':" weight                  \
	",'podAffinityTerm':{'topologyKey':'zone','labelSelector':{'matchLabels':{'app':'db'}}}}]}}}"

static void company(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	int64_t v[2];

	test_node(s, "a", "{'zone':'a'}", NULL);
	test_node(s, "b", "{'zone':'b'}", NULL);
	test_place(s, "a", "d", "db", "{'app':'db'}", NULL);
	scores_of(s, score_interpod, PREFER("podAffinity", "5"), v);
	assert_int_equal(v[0], 100);
	assert_int_equal(v[1], 0);
	scores_of(s, score_interpod, PREFER("podAntiAffinity", "5"), v);
	assert_int_equal(v[0], 0);
	assert_int_equal(v[1], 100);
	scores_of(s, score_interpod, "{}", v);
	assert_int_equal(v[0], 0);
	/* What a running pod likes counts too. */
	test_place(s, "b", "d", "friend", NULL,
		   "{'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1,"
		   "'podAffinityTerm':{'topologyKey':'zone','labelSelector':{'matchLabels':{'app':'web'}}}}]}}}");
	scores_of(s, score_interpod, "{}", v);
	assert_int_equal(v[1], 100);
	snapshot_free(s);
}

static void weighing(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	int64_t v[2];

	test_node(s, "idle", NULL, NULL);
	test_node(s, "busy", NULL, NULL);
	test_place(s, "busy", "d", "old", NULL, CPU("3"));
	scores_of(s, decision_score, CPU("500m"), v);
	assert_true(v[0] > v[1]);
	snapshot_free(s);
}

#define PRIO(prio, cpu) "{'priority':" prio ",'containers':[{'resources':{'requests':{'cpu':'" cpu "'}}}]}"

static void find(struct snapshot *s, const char *spec, struct preemption *ret)
{
	_cleanup_json_ json_t *pod = test_pod("d", "new", NULL, spec);
	_cleanup_(pod_info_freep) struct pod_info *info = pod_info_new(pod);

	preempt_find(s, pod, info, s->nodes, s->node_count, ret);
}

static void preempting(void **state _unused_)
{
	struct snapshot *s = snapshot_new();
	struct preemption p;

	test_node(s, "a", NULL, NULL);
	test_node(s, "b", NULL, NULL);
	test_place(s, "a", "d", "a-low", NULL, PRIO("1", "2"));
	test_place(s, "a", "d", "a-mid", NULL, PRIO("5", "2"));
	test_place(s, "b", "d", "b-mid", NULL, PRIO("3", "4"));
	/* On a the lower one suffices, and it is lower than what b would lose. */
	find(s, PRIO("10", "1"), &p);
	assert_string_equal(p.node->name, "a");
	assert_int_equal(p.count, 1);
	assert_string_equal(p.victims[0]->name, "a-low");
	preemption_done(&p);
	/* Three cpus: a would lose both, the more important of them is above b's. */
	find(s, PRIO("10", "3"), &p);
	assert_string_equal(p.node->name, "b");
	preemption_done(&p);
	/* Only what is lower may be taken. */
	find(s, PRIO("1", "1"), &p);
	assert_null(p.node);
	find(s, PRIO("10", "5"), &p);
	assert_null(p.node);
	/* And everything is as it was. */
	assert_int_equal(snapshot_node(s, "a")->pod_count, 2);
	assert_int_equal(snapshot_node(s, "a")->requested.milli_cpu, 4000);
	snapshot_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normalizing), cmocka_unit_test(allocation), cmocka_unit_test(preferences),
		cmocka_unit_test(images),      cmocka_unit_test(spreading),  cmocka_unit_test(company),
		cmocka_unit_test(weighing),    cmocka_unit_test(preempting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
