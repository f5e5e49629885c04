// SPDX-License-Identifier: GPL-2.0-or-later
/* The audit log: what policies say, how the file is kept, and what is in it after requests. */
#include "apiserver/registry/registry_fixture.h"

#include <dirent.h>

#include "apiserver/audit/audit.h"
#include "base/metrics.h"

#define HEAD "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

/* ---- policy */

static void test_refused_policies(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "rules: [{level: None}]", "apiVersion, kind" },
		{ "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]", "is not \"audit.k8s.io/v1\"" },
		{ HEAD, "rules: is no list" },
		{ HEAD "rules: {}", "rules: is no list" },
		{ HEAD "rules: [{level: Some}]", "rules[0].level: \"Some\" is none of" },
		{ HEAD "rules: [{level: None}, {}]", "rules[1].level: nothing is none of" },
		{ HEAD "rules: [{level: None, user: [a]}]", "rules[0].user: unknown field" },
		{ HEAD "rules: [{level: None, users: a}]", "rules[0].users: is no list" },
		{ HEAD "rules: [{level: None, users: [1]}]", "rules[0].users: item 0 is no string" },
		{ HEAD "rules: [3]", "rules[0]: is no object" },
		{ HEAD "omitStages: [Received]\nrules: [{level: None}]", "omitStages: \"Received\" is none of" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [healthz]}]", "rules[0].nonResourceURLs: \"healthz\" is not" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [/a*b]}]", "a * stands at the end only" },
		{ HEAD "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]", "not both" },
		{ HEAD "rules: [{level: None, resources: [{group: '*'}]}]", "rules[0].resources[0].group" },
		{ HEAD "rules: [{level: None, resources: [{resourceNames: [a]}]}]", "needs resources beside it" },
		{ HEAD "omitManagedFields: 3\nrules: [{level: None}]", "omitManagedFields: is neither" },
		{ HEAD "rules:\n- level: [", "line" },
		{ "", "policy: is no object" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		assert_null(audit_policy_parse(rows[i].text, strlen(rows[i].text), &err));
		if (!strstr(err_msg(&err), rows[i].why))
			fail_msg("row %zu: %s", i, err_msg(&err));
	}
}

static const char policy_text[] = HEAD "omitStages: [RequestReceived]\n"
	"rules:\n"
	"- {level: None, users: ['system:kube-proxy'], verbs: [watch], resources: [{group: '', resources: [endpoints, services/status]}]}\n"
	"- {level: Request, userGroups: [devs], omitStages: [ResponseStarted], omitManagedFields: true}\n"
	"- {level: None, nonResourceURLs: ['/healthz*', /version]}\n"
	"- {level: Metadata, resources: [{group: '', resources: [secrets, configmaps], resourceNames: [boss]}]}\n"
	"- {level: RequestResponse, resources: [{group: apps}], namespaces: [a]}\n"
	"- {level: Request, resources: [{group: '', resources: ['*/status', 'pods/*']}]}\n"
	"- {level: Metadata, namespaces: ['']}\n";

static void test_judging(void **state)
{
	static const char *const none[] = { NULL }, *const devs[] = { "x", "devs", NULL };
	static const struct identity proxy = { .name = "system:kube-proxy", .groups = none }, dev = { .name = "d", .groups = devs },
				     eve = { .name = "eve", .groups = none };
	static const struct {
		struct audit_subject s;
		enum audit_level level;
	} rows[] = {
		{ { &proxy, "watch", true, "", "endpoints", "", "", "", "" }, AUDIT_NONE },
		{ { &proxy, "watch", true, "", "services", "status", "", "", "" }, AUDIT_NONE },
		{ { &proxy, "list", true, "", "endpoints", "", "", "", "" }, AUDIT_METADATA },
		{ { &dev, "get", true, "", "endpoints", "", "n", "", "" }, AUDIT_REQUEST },
		{ { &dev, "get", false, "", "", "", "", "", "/healthz" }, AUDIT_REQUEST },
		{ { &eve, "get", false, "", "", "", "", "", "/healthz/etcd" }, AUDIT_NONE },
		{ { &eve, "get", false, "", "", "", "", "", "/versions" }, AUDIT_NONE },
		{ { &eve, "get", true, "", "secrets", "", "n", "boss", "" }, AUDIT_METADATA },
		{ { &eve, "get", true, "", "secrets", "", "n", "other", "" }, AUDIT_NONE },
		{ { &eve, "get", true, "apps", "deployments", "scale", "a", "x", "" }, AUDIT_REQUEST_RESPONSE },
		{ { &eve, "get", true, "apps", "deployments", "", "b", "x", "" }, AUDIT_NONE },
		{ { &eve, "get", true, "", "nodes", "status", "", "x", "" }, AUDIT_REQUEST },
		{ { &eve, "get", true, "", "pods", "log", "b", "x", "" }, AUDIT_REQUEST },
		{ { &eve, "get", true, "", "podtemplates", "", "b", "x", "" }, AUDIT_NONE },
		{ { &eve, "list", true, "", "nodes", "", "", "", "" }, AUDIT_METADATA },
		{ { NULL, "get", true, "", "endpoints", "", "n", "", "" }, AUDIT_NONE },
		{ { NULL, "list", true, "", "nodes", "", "", "", "" }, AUDIT_METADATA },
	};
	_cleanup_err_ struct err err = { 0 };
	struct audit_policy *p = audit_policy_parse(policy_text, strlen(policy_text), &err);
	(void)state;
	if (!p)
		fail_msg("%s", err_msg(&err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (audit_policy_judge(p, &rows[i].s).level != rows[i].level)
			fail_msg("row %zu: %d", i, audit_policy_judge(p, &rows[i].s).level);
	struct audit_verdict v = audit_policy_judge(p, &rows[3].s);
	assert_int_equal(v.omit_stages, 1 << AUDIT_RECEIVED | 1 << AUDIT_STARTED);
	assert_true(v.omit_managed_fields);
	assert_int_equal(audit_policy_judge(p, &rows[2].s).omit_stages, 1 << AUDIT_RECEIVED);
	audit_policy_free(p);
}

/* ---- the file */

static size_t files_in(const char *dir)
{
	size_t n = 0;
	DIR *d = opendir(dir);
	struct dirent *e;
	assert_non_null(d);
	while ((e = readdir(d)))
		n += str_starts(e->d_name, "audit");
	closedir(d);
	return n;
}

static void test_rotation(void **state)
{
	char dir[] = "/tmp/audit-test-XXXXXX", line[100];
	uv_loop_t loop;
	_cleanup_err_ struct err err = { 0 };
	(void)state;
	assert_non_null(mkdtemp(dir));
	uv_loop_init(&loop);
	_cleanup_free_ char *path = str_printf("%s/audit.log", dir), *ancient = str_printf("%s/audit-2001-01-01T00-00-00.000.log", dir);
	_cleanup_free_ char *foreign = str_printf("%s/audit-notes.log", dir);
	struct audit_log_options o = { .path = path, .max_bytes = 1000, .max_backups = 3, .buffer_bytes = 5000 };
	assert_int_equal(file_write_atomic(ancient, "x\n", 2, 0600), 0);
	assert_int_equal(file_write_atomic(foreign, "x\n", 2, 0600), 0);
	struct audit_log *l = audit_log_open(&loop, &o, &err);
	assert_non_null(l);
	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	/* Five files' worth at once: whole lines, none larger than it may be, three renamed ones kept. */
	for (int i = 0; i < 50; i++)
		assert_true(audit_log_add(l, line, sizeof(line)));
	assert_false(audit_log_add(l, line, sizeof(line)));
	audit_log_close(l);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(files_in(dir), 5);
	assert_true(file_exists(foreign));
	assert_false(file_exists(ancient));
	_cleanup_strbuf_ struct strbuf text = { 0 }, metrics = { 0 };
	assert_int_equal(file_read(path, 1 << 20, &text), 0);
	assert_int_equal(text.len, 1000);
	metrics_write(&metrics);
	assert_non_null(strstr(metrics.data, "apiserver_audit_error_total{plugin=\"log\"} 1\n"));
	/* What is there is gone on with. */
	o.max_bytes = 1 << 20;
	o.max_backups = 0;
	l = audit_log_open(&loop, &o, &err);
	assert_true(audit_log_add(l, "b\n", 2));
	audit_log_close(l);
	uv_run(&loop, UV_RUN_DEFAULT);
	strbuf_reset(&text);
	assert_int_equal(file_read(path, 1 << 20, &text), 0);
	assert_int_equal(text.len, 1002);
	/* By age alone. */
	o.max_age_days = 1;
	assert_int_equal(file_write_atomic(ancient, "x\n", 2, 0600), 0);
	l = audit_log_open(&loop, &o, &err);
	assert_true(audit_log_add(l, "b\n", 2));
	audit_log_close(l);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_false(file_exists(ancient));
	assert_int_equal(files_in(dir), 5);
	o.path = "/nowhere/audit.log";
	assert_null(audit_log_open(&loop, &o, &err));
	assert_non_null(strstr(err_msg(&err), "/nowhere/audit.log"));
	assert_int_equal(uv_loop_close(&loop), 0);
	file_rm_rf(dir);
	metrics_reset();
}

/* ---- events */

static char *audit_file(const struct fixture *f)
{
	return in_dir(f, "audit.log");
}

static void begin(struct fixture *f, const char *policy)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *path = audit_file(f);
	struct audit_policy *p = audit_policy_parse(policy, strlen(policy), &err);
	if (!p)
		fail_msg("%s", err_msg(&err));
	struct audit_log *l = audit_log_open(&f->loop, &(struct audit_log_options){ .path = path }, &err);
	assert_non_null(l);
	f->g.audit = audit_new(p, l);
}

/* Ends the log: its events. Own. */
static json_t *end(struct fixture *f)
{
	_cleanup_free_ char *path = audit_file(f);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_t *events = json_array();
	f->g.audit = audit_free(f->g.audit);
	assert_int_equal(file_read(path, 8 << 20, &text), 0);
	for (char *p = text.data, *eol; p && (eol = strchr(p, '\n')); p = eol + 1) {
		struct err err = { 0 };
		json_t *v = json_parse(p, (size_t)(eol - p), NULL, &err);
		if (!v)
			fail_msg("%s: %.*s", err_msg(&err), (int)(eol - p), p);
		json_array_append_new(events, v);
	}
	return events;
}

static void check(const json_t *event, const char *path, const char *want)
{
	const char *got = json_str(event, path);
	if (!str_eq(got, want)) {
		_cleanup_strbuf_ struct strbuf b = { 0 };
		json_write(&b, event);
		fail_msg("%s is %s, not %s: %s", path, got, want, b.data);
	}
}

#define CM "/api/v1/namespaces/default/configmaps"
#define ALL(level) HEAD "rules: [{level: " level "}]"

static void test_events(void **state)
{
	struct fixture *f = *state;
	begin(f, ALL("Metadata"));
	assert_int_equal(ask(f, f->admin, "POST", CM "?dryRun=", NULL, NULL, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"secret\":\"x\"}}"), 201);
	assert_int_equal(ask(f, f->bob, "GET", CM "/a", NULL, NULL, NULL), 403);
	struct http_client_header headers[] = { { "Audit-ID", "my-id" }, { "X-Forwarded-For", "192.0.2.7, nonsense, 2001:db8::1" },
		{ "User-Agent", "caf\xe9 \"x\"" }, { "Impersonate-User", "eve" }, { "Impersonate-Extra-k", "v" } };
	assert_int_equal(ask_headers(f, f->admin, "GET", "/version?q=1", headers, ARRAY_SIZE(headers), NULL), 200);
	struct http_client_header wrong[] = { { "Authorization", "Bearer x" } };
	assert_int_equal(ask_headers(f, f->nobody, "DELETE", CM "/a", wrong, 1, NULL), 401);
	_cleanup_json_ json_t *all = end(f);
	assert_int_equal(json_array_size(all), 8);
	const json_t *e = json_array_get(all, 0);
	check(e, "stage", "RequestReceived");
	assert_null(json_at(e, "responseStatus"));
	e = json_array_get(all, 1);
	check(e, "kind", "Event");
	check(e, "apiVersion", "audit.k8s.io/v1");
	check(e, "level", "Metadata");
	check(e, "stage", "ResponseComplete");
	check(e, "auditID", json_str(json_array_get(all, 0), "auditID"));
	check(e, "requestURI", CM "?dryRun=");
	check(e, "verb", "create");
	check(e, "user.username", "kubernetes-admin");
	check(e, "user.groups[0]", "system:masters");
	check(e, "sourceIPs[0]", "127.0.0.1");
	check(e, "objectRef.resource", "configmaps");
	check(e, "objectRef.namespace", "default");
	check(e, "objectRef.name", "a");
	check(e, "objectRef.apiVersion", "v1");
	assert_int_equal(json_int(e, "responseStatus.code", 0), 201);
	assert_null(json_at(e, "requestObject"));
	assert_null(json_at(e, "responseObject"));
	assert_string_equal(json_string_value(json_object_get(json_object_get(e, "annotations"), "authorization.k8s.io/decision")), "allow");
	assert_int_equal(strlen(json_str(e, "stageTimestamp")), strlen("2006-01-02T15:04:05.000000Z"));
	e = json_array_get(all, 3);
	check(e, "responseStatus.reason", "Forbidden");
	assert_int_equal(json_int(e, "responseStatus.code", 0), 403);
	assert_string_equal(json_string_value(json_object_get(json_object_get(e, "annotations"), "authorization.k8s.io/decision")), "forbid");
	e = json_array_get(all, 5);
	check(e, "auditID", "my-id");
	check(e, "requestURI", "/version?q=1");
	check(e, "verb", "get");
	check(e, "userAgent", "caf? \"x\"");
	check(e, "user.username", "kubernetes-admin");
	check(e, "impersonatedUser.username", "eve");
	check(e, "impersonatedUser.extra.k[0]", "v");
	check(e, "sourceIPs[0]", "192.0.2.7");
	check(e, "sourceIPs[1]", "2001:db8::1");
	check(e, "sourceIPs[2]", "127.0.0.1");
	assert_null(json_at(e, "objectRef"));
	e = json_array_get(all, 7);
	assert_int_equal(json_object_size(json_at(e, "user")), 0);
	assert_int_equal(json_int(e, "responseStatus.code", 0), 401);
}

static void test_objects(void **state)
{
	struct fixture *f = *state;
	begin(f, HEAD "omitStages: [RequestReceived]\nrules: [{level: Request, verbs: [patch], omitManagedFields: true}, {level: RequestResponse}]");
	assert_int_equal(ask(f, f->admin, "POST", CM, "application/yaml", "application/yaml", "metadata: {name: b}\ndata: {k: v}"), 201);
	assert_int_equal(ask(f, f->admin, "PATCH", CM "/b", MERGE, NULL, "{\"data\":{\"k\":\"w\"}}"), 200);
	assert_int_equal(ask(f, f->admin, "GET", CM "/b", NULL, "application/vnd.kubernetes.protobuf", NULL), 200);
	assert_int_equal(ask(f, f->admin, "GET", CM "?pretty=true", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "POST", CM, NULL, NULL, "{\"metadata\":"), 400);
	assert_int_equal(ask(f, f->bob, "POST", CM, NULL, NULL, "{\"metadata\":{\"name\":\"c\"}}"), 403);
	_cleanup_json_ json_t *all = end(f);
	assert_int_equal(json_array_size(all), 6);
	const json_t *e = json_array_get(all, 0);
	check(e, "requestObject.data.k", "v");
	check(e, "responseObject.kind", "ConfigMap");
	check(e, "responseObject.metadata.name", "b");
	assert_non_null(json_at(e, "responseObject.metadata.managedFields"));
	e = json_array_get(all, 1);
	check(e, "requestObject.data.k", "w");
	assert_null(json_at(e, "responseObject"));
	check(json_array_get(all, 2), "responseObject.data.k", "w");
	check(json_array_get(all, 3), "responseObject.kind", "ConfigMapList");
	check(json_array_get(all, 4), "responseStatus.reason", "BadRequest");
	/* Who may not is not listened to. */
	assert_null(json_at(json_array_get(all, 5), "requestObject"));
}

static int on_watch_data(int status, const void *data, size_t len, void *user)
{
	(void)status, (void)data, (void)len, (void)user;
	return 0;
}

static void test_watch_and_none(void **state)
{
	struct fixture *f = *state;
	begin(f, HEAD "rules: [{level: None, verbs: [list]}, {level: None, nonResourceURLs: ['*']}, {level: Metadata}]");
	assert_int_equal(ask(f, f->admin, "GET", CM, NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "GET", "/version", NULL, NULL, NULL), 200);
	_cleanup_free_ char *url = str_printf("%s%s?watch=true&timeoutSeconds=1", f->url, CM);
	const struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = 20000 };
	f->done = false;
	http_client_call(f->admin, &r, on_watch_data, on_done, f);
	while (!f->done)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(ask(f, f->admin, "GET", CM "?watch=true&resourceVersion=x", NULL, NULL, NULL), 400);
	_cleanup_json_ json_t *all = end(f);
	assert_int_equal(json_array_size(all), 5);
	check(json_array_get(all, 0), "verb", "watch");
	check(json_array_get(all, 0), "stage", "RequestReceived");
	check(json_array_get(all, 1), "stage", "ResponseStarted");
	check(json_array_get(all, 2), "stage", "ResponseComplete");
	assert_int_equal(json_int(json_array_get(all, 2), "responseStatus.code", 0), 200);
	check(json_array_get(all, 4), "stage", "ResponseComplete");
	assert_int_equal(json_int(json_array_get(all, 4), "responseStatus.code", 0), 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_policies),
		cmocka_unit_test(test_judging),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_and_none, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
