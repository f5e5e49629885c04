/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three patches by tables, among them the very patches that kubectl and the kubelet send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/patch/patch.h"
#include "base/mem.h"

static json_t *parse(const char *text)
{
	struct err e = {0};
	json_t *v;
	char *quoted = mem_strdup(text);

	for (char *c = quoted; *c; c++)
		if (*c == '\'')
			*c = '"';
	v = json_parse(quoted, strlen(quoted), NULL, &e);
	if (!v)
		fail_msg("%s: %s", text, err_msg(&e));
	free(quoted);
	return v;
}

struct row {
	const char *object, *patch;
	const char *want; /* JSON with ' for ", in order; NULL: an error */
	int status;       /* of the error */
	const char *message;
};

typedef json_t *(*patch_fn)(const json_t *object, const json_t *patch, struct err *err);

static const struct schema_message *message;

static json_t *strategic(const json_t *object, const json_t *patch, struct err *err)
{
	return patch_strategic(message, object, patch, err);
}

static void run(const struct row *rows, size_t count, patch_fn fn)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		_cleanup_json_ json_t *object = parse(row->object), *patch = parse(row->patch), *want = NULL, *got;
		_cleanup_json_ json_t *object_was = json_deep_copy(object), *patch_was = json_deep_copy(patch);
		_cleanup_strbuf_ struct strbuf text = {0};
		_cleanup_err_ struct err e = {0};

		got = fn(object, patch, &e);
		assert_true(json_equal(object, object_was));
		assert_true(json_equal(patch, patch_was));
		if (!row->want) {
			if (got)
				fail_msg("%s + %s: no error", row->object, row->patch);
			assert_int_equal(e.http_status, row->status);
			if (row->message)
				assert_string_equal(e.message, row->message);
			continue;
		}
		if (!got)
			fail_msg("%s + %s: %s", row->object, row->patch, err_msg(&e));
		want = parse(row->want);
		json_write(&text, got);
		if (!json_equal(got, want))
			fail_msg("%s + %s\n got  %s\n want %s", row->object, row->patch, text.data, row->want);
	}
}
#define RUN(rows, fn) run(rows, ARRAY_SIZE(rows), fn)

#define REJECTED NULL, 422, "the server rejected our request due to an error in our request"

static void json_patches(void **state _unused_)
{
	static const struct row rows[] = {
		{ "{'a':1}", "[{'op':'add','path':'/b','value':[1,2]}]", "{'a':1,'b':[1,2]}", 0, NULL },
		{ "{'a':1}", "[{'op':'add','path':'/a','value':{'x':null}}]", "{'a':{'x':null}}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'add','path':'/a/1','value':2}]", "{'a':[1,2,3]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'add','path':'/a/-','value':4}]", "{'a':[1,3,4]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'add','path':'/a/2','value':4}]", "{'a':[1,3,4]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'add','path':'/a/3','value':4}]", REJECTED },
		{ "{'a':[1,3]}", "[{'op':'add','path':'/a/-1','value':4}]", "{'a':[1,3,4]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'replace','path':'/a/-1','value':4}]", "{'a':[1,4]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'replace','path':'/a/-','value':4}]", REJECTED },
		{ "{'a':[1,3]}", "[{'op':'remove','path':'/a/0'}]", "{'a':[3]}", 0, NULL },
		{ "{'a':[1,3]}", "[{'op':'remove','path':'/a/2'}]", REJECTED },
		{ "{'a':1}", "[{'op':'remove','path':'/b'}]", REJECTED },
		{ "{'a':1}", "[{'op':'replace','path':'/b','value':1}]", REJECTED },
		{ "{'a':1}", "[{'op':'add','path':'/b/c','value':1}]", REJECTED },
		{ "{'a/b':1,'m~n':2}", "[{'op':'replace','path':'/a~1b','value':3},{'op':'remove','path':'/m~0n'}]",
		  "{'a/b':3}", 0, NULL },
		{ "{'a':{'~1':1}}", "[{'op':'remove','path':'/a/~01'}]", "{'a':{}}", 0, NULL },
		{ "{'a':{'b':1}}", "[{'op':'move','from':'/a/b','path':'/c'}]", "{'a':{},'c':1}", 0, NULL },
		{ "{'a':{'b':1}}", "[{'op':'move','from':'/a','path':'/a/b/c'}]", REJECTED },
		{ "{'a':[1,2,3]}", "[{'op':'move','from':'/a/0','path':'/a/2'}]", "{'a':[2,3,1]}", 0, NULL },
		{ "{'a':{'b':[1]}}", "[{'op':'copy','from':'/a/b','path':'/c'},{'op':'add','path':'/c/-','value':2}]",
		  "{'a':{'b':[1]},'c':[1,2]}", 0, NULL },
		{ "{'a':1}", "[{'op':'copy','from':'/x','path':'/c'}]", REJECTED },
		{ "{'a':1}", "[{'op':'copy','path':'/c'}]", REJECTED },
		{ "{'a':{'x':1,'y':2}}", "[{'op':'test','path':'/a','value':{'y':2,'x':1.0}}]", "{'a':{'x':1,'y':2}}",
		  0, NULL },
		{ "{'a':1}", "[{'op':'test','path':'/a','value':2},{'op':'remove','path':'/a'}]", REJECTED },
		{ "{'a':1}", "[{'op':'test','path':'/b','value':null}]", "{'a':1}", 0, NULL },
		{ "{'a':1}", "[{'op':'test','path':'/b','value':0}]", REJECTED },
		{ "{'a':1}", "[{'op':'frob','path':'/b','value':0}]", REJECTED },
		{ "{'a':1}", "[{'path':'/b','value':0}]", REJECTED },
		{ "{'a':1}", "[{'op':'add','path':'b','value':0}]", REJECTED },
		{ "{'a':1}", "[{'op':'replace','path':'','value':{'z':1}}]", "{'z':1}", 0, NULL },
		{ "{'a':1}", "[]", "{'a':1}", 0, NULL },
		{ "{'a':1}", "{}", NULL, 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch" },
		{ "{'a':1}", "['x']", NULL, 400,
		  "json: cannot unmarshal string into Go value of type jsonpatch.Operation" },
		/* kubectl patch --type=json, the usual ones */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'x'}]}}}}",
		  "[{'op':'replace','path':'/spec/template/spec/containers/0/image','value':'y'}]",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'y'}]}}}}", 0, NULL },
		{ "{'metadata':{'finalizers':['a/b']}}", "[{'op':'remove','path':'/metadata/finalizers'}]",
		  "{'metadata':{}}", 0, NULL },
	};

	RUN(rows, patch_json);
}

static void json_patch_limits(void **state _unused_)
{
	_cleanup_json_ json_t *object = parse("{'a':{}}"), *ops = json_array(), *got = NULL;
	_cleanup_err_ struct err e = {0};

	for (int i = 0; i < 10001; i++)
		json_array_append_new(ops, json_pack("{s:s, s:s, s:i}", "op", "add", "path", "/a", "value", i));
	assert_null(patch_json(object, ops, &e));
	assert_int_equal(e.http_status, 413);
	assert_string_equal(e.message, "The allowed maximum operations in a JSON patch is 10000, got 10001");
	json_array_remove(ops, 0);
	got = patch_json(object, ops, &e);
	assert_int_equal(json_int(got, "a", 0), 10000);

	/* Doubling by copies ends at the limit of bytes, not of memory. */
	json_array_clear(ops);
	json_array_append_new(ops, parse("{'op':'add','path':'/a/x','value':['some text of a few bytes']}"));
	for (int i = 0; i < 64; i++)
		json_array_append_new(ops, parse("{'op':'copy','from':'/a/x','path':'/a/x/-'}"));
	assert_null(patch_json(object, ops, &e));
	assert_int_equal(e.http_status, 422);

	/* Nor can moves build a tree that is deeper than any recursion bears. */
	json_array_clear(ops);
	json_array_append_new(ops, parse("{'op':'add','path':'/a','value':{'x':{}}}"));
	for (int i = 0; i < 3000; i++) {
		json_array_append_new(ops, parse("{'op':'add','path':'/b','value':{}}"));
		json_array_append_new(ops, parse("{'op':'move','from':'/a','path':'/b/x'}"));
		json_array_append_new(ops, parse("{'op':'move','from':'/b','path':'/a'}"));
	}
	assert_null(patch_json(object, ops, &e));
	assert_int_equal(e.http_status, 422);

	/* Many moves that deepen nothing are fine. */
	json_array_clear(ops);
	for (int i = 0; i < 2000; i++) {
		json_array_append_new(ops, parse("{'op':'add','path':'/m','value':{'n':{}}}"));
		json_array_append_new(ops, parse("{'op':'add','path':'/l','value':{}}"));
		json_array_append_new(ops, parse("{'op':'move','from':'/l','path':'/m/n/o'}"));
	}
	json_decref(got);
	got = patch_json(object, ops, &e);
	assert_non_null(got);
}

static void merge_patches(void **state _unused_)
{
	static const struct row rows[] = {
		/* RFC 7396, appendix A */
		{ "{'a':'b'}", "{'a':'c'}", "{'a':'c'}", 0, NULL },
		{ "{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}", 0, NULL },
		{ "{'a':'b'}", "{'a':null}", "{}", 0, NULL },
		{ "{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}", 0, NULL },
		{ "{'a':['b']}", "{'a':'c'}", "{'a':'c'}", 0, NULL },
		{ "{'a':'c'}", "{'a':['b']}", "{'a':['b']}", 0, NULL },
		{ "{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}", 0, NULL },
		{ "{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}", 0, NULL },
		{ "{'e':null}", "{'a':1}", "{'e':null,'a':1}", 0, NULL },
		{ "{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}", 0, NULL },
		{ "{'a':1}", "['c']", NULL, 400,
		  "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}" },
		/* kubectl patch --type=merge, kubectl scale of client-go */
		{ "{'spec':{'replicas':1,'paused':true}}", "{'spec':{'replicas':3}}",
		  "{'spec':{'replicas':3,'paused':true}}", 0, NULL },
		{ "{'metadata':{'finalizers':['x/y']}}", "{'metadata':{'finalizers':null}}", "{'metadata':{}}", 0,
		  NULL },
	};

	RUN(rows, patch_merge);
}

static void strategic_deployments(void **state _unused_)
{
	static const struct row rows[] = {
		/* kubectl scale */
		{ "{'spec':{'replicas':1}}", "{'spec':{'replicas':3}}", "{'spec':{'replicas':3}}", 0, NULL },
		/* kubectl label, and removing one */
		{ "{'metadata':{'labels':{'a':'b'}}}", "{'metadata':{'labels':{'c':'d'}}}",
		  "{'metadata':{'labels':{'a':'b','c':'d'}}}", 0, NULL },
		{ "{'metadata':{'labels':{'a':'b','c':'d'}}}", "{'metadata':{'labels':{'a':null}}}",
		  "{'metadata':{'labels':{'c':'d'}}}", 0, NULL },
		{ "{'metadata':{'name':'x'}}", "{'metadata':{'labels':{'a':null,'b':'c'}}}",
		  "{'metadata':{'name':'x','labels':{'b':'c'}}}", 0, NULL },
		/* kubectl set image */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'x'},{'name':'b','image':'y'}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/containers':[{'name':'a'},{'name':'b'}],"
		  "'containers':[{'image':'z','name':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'x'},{'name':'b','image':'z'}]}}}}",
		  0, NULL },
		/* kubectl apply: a container goes, another comes, ports merge by containerPort */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'TCP'"
		  "}]},{'name':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/"
		  "containers':[{'name':'c'},{'name':'a'}],'containers':["
		  "{'$patch':'delete','name':'b'},{'name':'c','image':'i'},{'name':'a','$setElementOrder/"
		  "ports':[{'containerPort':80},"
		  "{'containerPort':443}],'ports':[{'containerPort':80,'name':'http'},{'containerPort':443}]}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'i'},{'name':'a','ports':[{'"
		  "containerPort':80,"
		  "'protocol':'TCP','name':'http'},{'containerPort':443}]}]}}}}",
		  0, NULL },
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'TCP'"
		  "}]},{'name':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/"
		  "containers':[{'name':'c'},{'name':'a'}],'containers':["
		  "{'name':'c','image':'i'},{'name':'a','$setElementOrder/ports':[{'containerPort':80},"
		  "{'containerPort':443}],'ports':[{'containerPort':443},{'$patch':'delete','containerPort':81}]},"
		  "{'$patch':'delete','name':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'i'},{'name':'a','ports':[{'"
		  "containerPort':80,"
		  "'protocol':'TCP'},{'containerPort':443}]}]}}}}",
		  0, NULL },
		/* kubectl rollout undo replaces the whole template (JSON patch in new versions, this in old ones) */
		{ "{'spec':{'template':{'metadata':{'labels':{'a':'b','x':'y'}},'spec':{'containers':[{'name':'a','"
		  "image':'x'}],"
		  "'hostNetwork':true}}}}",
		  "{'spec':{'template':{'$patch':'replace','metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'"
		  "name':'a','image':'w'}]}}}}",
		  "{'spec':{'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'a','image':'w'}]"
		  "}}}}",
		  0, NULL },
		/* env by name; the value of one changes its source */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'X','value':'1'},{'name':'Y','"
		  "value':'2'}]}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'X','value':null,'valueFrom':{"
		  "'fieldRef':"
		  "{'fieldPath':'spec.nodeName'}}}]}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'X','valueFrom':{'fieldRef':{'"
		  "fieldPath':"
		  "'spec.nodeName'}}},{'name':'Y','value':'2'}]}]}}}}",
		  0, NULL },
		/* kubectl apply of a changed strategy sends $retainKeys */
		{ "{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'"
		  "}}}}",
		  "{'spec':{'strategy':{'$retainKeys':['type'],'rollingUpdate':null,'type':'Recreate'}}}",
		  "{'spec':{'strategy':{'type':'Recreate'}}}", 0, NULL },
		{ "{'spec':{'strategy':{'type':'RollingUpdate'}}}",
		  "{'spec':{'strategy':{'$retainKeys':['type'],'rollingUpdate':{}}}}", NULL, 400,
		  "invalid patch format of retainKeys" },
		{ "{'spec':{'strategy':{'type':'RollingUpdate'}}}", "{'spec':{'strategy':{'$retainKeys':'type'}}}",
		  NULL, 400, "invalid patch format of retainKeys" },
		/* volumes by name with retainKeys: the source is exchanged */
		{ "{'spec':{'template':{'spec':{'volumes':[{'name':'v','emptyDir':{}}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/"
		  "volumes':[{'name':'v'}],'volumes':[{'$retainKeys':['name','configMap'],"
		  "'name':'v','configMap':{'name':'c'},'emptyDir':null}]}}}}",
		  "{'spec':{'template':{'spec':{'volumes':[{'name':'v','configMap':{'name':'c'}}]}}}}", 0, NULL },
		/* tolerations have no merge key: the list is replaced, nothing of the old one stays */
		{ "{'spec':{'template':{'spec':{'tolerations':[{'key':'a'},{'key':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'tolerations':[{'key':'c'}]}}}}",
		  "{'spec':{'template':{'spec':{'tolerations':[{'key':'c'}]}}}}", 0, NULL },
		/* so are command and args, which are primitive */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a','args':['1','2']}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','args':['3']}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','args':['3']}]}}}}", 0, NULL },
		/* a list that was not there loses its directives */
		{ "{'spec':{'template':{'spec':{}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/"
		  "volumes':[{'name':'v'}],'volumes':[{'$retainKeys':['name'],'name':'v',"
		  "'secret':null},{'$patch':'delete','name':'w'}]}}}}",
		  "{'spec':{'template':{'spec':{'volumes':[{'name':'v'}]}}}}", 0, NULL },
		/* without an order, what the patch adds stands in front of what only the server has */
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a'},{'name':'b'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'n','image':'i'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'n','image':'i'},{'name':'a'},{'name':'b'}]}}}}",
		  0, NULL },
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'image':'i'}]}}}}", NULL, 400,
		  "map: map[image:i] does not contain declared merge key: name" },
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a'}]}}}}",
		  "{'spec':{'template':{'spec':{'containers':[{'name':'a','$patch':'frob'}]}}}}", NULL, 400,
		  "unknown patch type: frob in map: map[$patch:frob name:a]" },
		{ "{'spec':{'replicas':1}}", "{'spec':{'$patch':'frob'}}", NULL, 400,
		  "unknown patch type: frob in map: map[$patch:frob]" },
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a'}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/"
		  "containers':[{'name':'b'}],'containers':[{'name':'a'}]}}}}",
		  NULL, 400,
		  "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n" },
		{ "{'spec':{'template':{'spec':{'containers':[{'name':'a'}]}}}}",
		  "{'spec':{'template':{'spec':{'$setElementOrder/containers':'x'}}}}", NULL, 400,
		  "expected a []interface {}, but received a string" },
		{ "{'spec':{'replicas':1}}", "[1]", NULL, 400,
		  "json: cannot unmarshal array into Go value of type map[string]interface {}" },
		/* an int-or-string may change its type; a field may change from nothing */
		{ "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':'25%'}}}}",
		  "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':1}}}}",
		  "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':1}}}}", 0, NULL },
	};

	message = schema_message_by_name("io.k8s.api.apps.v1.Deployment");
	RUN(rows, strategic);
}

static void strategic_order(void **state _unused_)
{
	static const struct row rows[] = {
		/* the patch's order holds, server-only items keep theirs and stand before what they stood before */
		{ "{'spec':{'containers':[{'name':'1'},{'name':'s1'},{'name':'2'},{'name':'s2'},{'name':'3'}]}}",
		  "{'spec':{'$setElementOrder/containers':[{'name':'3'},{'name':'1'},{'name':'2'}]}}",
		  "{'spec':{'containers':[{'name':'s1'},{'name':'s2'},{'name':'3'},{'name':'1'},{'name':'2'}]}}", 0,
		  NULL },
		{ "{'spec':{'containers':[{'name':'1'},{'name':'s1'},{'name':'2'}]}}",
		  "{'spec':{'$setElementOrder/"
		  "containers':[{'name':'1'},{'name':'n'},{'name':'2'}],'containers':[{'name':'n'}]}}",
		  "{'spec':{'containers':[{'name':'1'},{'name':'n'},{'name':'s1'},{'name':'2'}]}}", 0, NULL },
		{ "{'metadata':{'finalizers':['a','s','b']}}",
		  "{'metadata':{'$setElementOrder/"
		  "finalizers':['b','a','c'],'finalizers':['c'],'$deleteFromPrimitiveList/finalizers':['s']}}",
		  "{'metadata':{'finalizers':['b','a','c']}}", 0, NULL },
	};

	message = schema_message_by_name("io.k8s.api.core.v1.Pod");
	RUN(rows, strategic);
}

static void strategic_other_kinds(void **state _unused_)
{
	static const struct row pods[] = {
		{ "{'metadata':{'finalizers':['a/x','b/y']}}",
		  "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a/x']}}", "{'metadata':{'finalizers':['b/y']}}",
		  0, NULL },
		{ "{'metadata':{'finalizers':['a/x']}}", "{'metadata':{'finalizers':['a/x','c/z']}}",
		  "{'metadata':{'finalizers':['a/x','c/z']}}", 0, NULL },
		{ "{'metadata':{}}", "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a/x']}}", "{'metadata':{}}",
		  0, NULL },
		{ "{'metadata':{}}", "{'metadata':{'$deleteFromPrimitiveList':['a/x']}}", NULL, 400,
		  "invalid patch format of primitive list" },
		{ "{'metadata':{}}", "{'metadata':{'$setElementOrder':['a/x']}}", NULL, 400,
		  "invalid patch format of setElementOrder list" },
		{ "{'metadata':{'ownerReferences':[{'uid':'1','kind':'A'},{'uid':'2','kind':'B'}]}}",
		  "{'metadata':{'ownerReferences':[{'$patch':'delete','uid':'1'}],'uid':'9'}}",
		  "{'metadata':{'ownerReferences':[{'uid':'2','kind':'B'}],'uid':'9'}}", 0, NULL },
		/* the kubelet's pod status: conditions by type, container statuses replaced */
		{ "{'status':{'phase':'Pending','conditions':[{'type':'PodScheduled','status':'True'},{'type':'Ready','"
		  "status':'False',"
		  "'reason':'r'}],'containerStatuses':[{'name':'a','ready':false}]}}",
		  "{'metadata':{'uid':'u'},'status':{'$setElementOrder/"
		  "conditions':[{'type':'Initialized'},{'type':'Ready'},"
		  "{'type':'PodScheduled'}],'conditions':[{'status':'True','type':'Initialized'},{'reason':null,'"
		  "status':'True','type':'Ready'}],"
		  "'containerStatuses':[{'name':'a','ready':true}],'phase':'Running','podIPs':[{'ip':'10.0.0.1'}]}}",
		  "{'metadata':{'uid':'u'},'status':{'phase':'Running','conditions':[{'type':'Initialized','status':'"
		  "True'},{'type':'Ready',"
		  "'status':'True'},{'type':'PodScheduled','status':'True'}],'containerStatuses':[{'name':'a','ready':"
		  "true}],"
		  "'podIPs':[{'ip':'10.0.0.1'}]}}",
		  0, NULL },
		{ "{'spec':{'nodeSelector':{'a':'b'}}}", "{'spec':{'nodeSelector':{'$patch':'replace','c':'d'}}}",
		  "{'spec':{'nodeSelector':{'c':'d'}}}", 0, NULL },
		{ "{'spec':{'nodeSelector':{'a':'b'}}}", "{'spec':{'nodeSelector':{'$patch':'delete'}}}",
		  "{'spec':{'nodeSelector':{}}}", 0, NULL },
		{ "{'spec':{'securityContext':{'runAsUser':1}}}", "{'spec':{'securityContext':null}}", "{'spec':{}}", 0,
		  NULL },
	};
	static const struct row nodes[] = {
		/* the kubelet replaces its addresses as a whole */
		{ "{'status':{'addresses':[{'type':'InternalIP','address':'1'},{'type':'Hostname','address':'h'}]}}",
		  "{'status':{'addresses':[{'type':'InternalIP','address':'2'},{'$patch':'replace'}]}}",
		  "{'status':{'addresses':[{'type':'InternalIP','address':'2'}]}}", 0, NULL },
		/* kubectl cordon, uncordon */
		{ "{'spec':{}}", "{'spec':{'unschedulable':true}}", "{'spec':{'unschedulable':true}}", 0, NULL },
		{ "{'spec':{'unschedulable':true}}", "{'spec':{'unschedulable':null}}", "{'spec':{}}", 0, NULL },
		{ "{'status':{'capacity':{'cpu':'1'}}}", "{'status':{'capacity':{'memory':'1Gi'}}}",
		  "{'status':{'capacity':{'cpu':'1','memory':'1Gi'}}}", 0, NULL },
	};
	static const struct row services[] = {
		{ "{'spec':{'ports':[{'port':80,'protocol':'TCP','name':'a'}],'selector':{'app':'x'}}}",
		  "{'spec':{'$setElementOrder/"
		  "ports':[{'port':80},{'port':81}],'ports':[{'port':81,'name':'b'}],'selector':{'app':'y'}}}",
		  "{'spec':{'ports':[{'port':80,'protocol':'TCP','name':'a'},{'port':81,'name':'b'}],'selector':{'app':"
		  "'y'}}}",
		  0, NULL },
	};
	static const struct row revisions[] = {
		/* any JSON merges as such, and keeps what looks like a directive */
		{ "{'data':{'spec':{'a':[1],'b':1}}}", "{'data':{'spec':{'a':[2],'$patch':'x','b':null}}}",
		  "{'data':{'spec':{'a':[2],'$patch':'x'}}}", 0, NULL },
	};

	message = schema_message_by_name("io.k8s.api.core.v1.Pod");
	RUN(pods, strategic);
	message = schema_message_by_name("io.k8s.api.core.v1.Node");
	RUN(nodes, strategic);
	message = schema_message_by_name("io.k8s.api.core.v1.Service");
	RUN(services, strategic);
	message = schema_message_by_name("io.k8s.api.apps.v1.ControllerRevision");
	RUN(revisions, strategic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_patches),    cmocka_unit_test(json_patch_limits),
		cmocka_unit_test(merge_patches),   cmocka_unit_test(strategic_deployments),
		cmocka_unit_test(strategic_order), cmocka_unit_test(strategic_other_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
