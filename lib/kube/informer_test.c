/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Informers, events and the client's retries against a scripted API server on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "io/http_server.h"
#include "kube/informer.h"
#include "kube/informer_internal.h"
#include "kube/object.h"

static uv_loop_t loop;
static struct http_server *server;
static struct kube_client *client;
static int port;

/* The script: what a list answers (by the continue token), and the watch that is open. */
static const char *list_body, *list_next_body;
static int list_status;
static struct strlist asked; /* "METHOD path?query" of everything, in order */
static struct strlist bodies;
static struct http_request *watcher;
static const char *watch_error; /* answer of the next watch with 410 */
static int busy_answers;        /* so many 429 first */
static int post_status;

static void watcher_gone(struct http_request *req, void *user _unused_)
{
	if (watcher == req)
		watcher = NULL;
}

static void answer(struct http_request *req, int status, const char *body)
{
	struct http_field fields[] = { { "Content-Type", "application/json" }, { "Retry-After", "0" } };

	http_respond(req, status, fields, status == 429 ? 2 : 1, body, strlen(body));
}

static void handle(struct http_request *req, void *user _unused_)
{
	const char *query = http_query(req);
	size_t len;
	const char *body = http_body(req, &len);

	strlist_addf(&asked, "%s %s?%s", http_method(req), http_path(req), query);
	if (len)
		strlist_take(&bodies, mem_strndup(body, len));
	if (!str_eq(http_method(req), "GET")) {
		if (busy_answers-- > 0)
			answer(req, 429, "{\"kind\":\"Status\"}");
		else
			answer(req, post_status, "{\"kind\":\"Status\",\"reason\":\"R\",\"message\":\"because\"}");
	} else if (strstr(query, "watch=true")) {
		if (watch_error) {
			answer(req, 410, watch_error);
			watch_error = NULL;
			return;
		}
		watcher = req;
		http_set_user(req, NULL, watcher_gone);
		http_stream_begin(req, 200, NULL, 0);
	} else {
		answer(req, list_status, strstr(query, "continue=") ? list_next_body : list_body);
	}
}

static void send_watch(const char *s)
{
	assert_non_null(watcher);
	http_stream_write(watcher, s, strlen(s));
}

/* What handlers saw: "+ key", "~ key old->new", "- key", "synced". */
static struct strlist seen;

static void on_change(const json_t *old, const json_t *new, void *user _unused_)
{
	_cleanup_free_ char *key = object_key(new ? new : old);

	if (!old)
		strlist_addf(&seen, "+ %s %s", key, json_str_or(new, "spec.v", ""));
	else if (!new)
		strlist_addf(&seen, "- %s %s", key, json_str_or(old, "spec.v", ""));
	else
		strlist_addf(&seen, "~ %s %s->%s", key, json_str_or(old, "spec.v", ""), json_str_or(new, "spec.v", ""));
}

static void on_synced(void *user _unused_)
{
	strlist_add(&seen, "synced");
}

/* Each step of the loop is bounded, so that a wrong state ends the test's loop by its runner's time limit only. */
#define RUN_UNTIL(cond)                      \
	while (!(cond))                      \
		uv_run(&loop, UV_RUN_ONCE)

static void expect_seen(const char *const *lines, size_t n)
{
	RUN_UNTIL(seen.count >= n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(seen.items[i], lines[i]);
	assert_int_equal(seen.count, n);
	strlist_done(&seen);
}
#define EXPECT_SEEN(...)                                             \
	do {                                                         \
		static const char *const lines[] = { __VA_ARGS__ };  \
		expect_seen(lines, ARRAY_SIZE(lines));               \
	} while (0)

static struct informer *start(const struct informer_options *o)
{
	struct informer *i = informer_new(client, o);

	informer_add_handler(i, &(struct informer_handler){ .on_change = on_change, .on_synced = on_synced });
	informer_start(i);
	return i;
}

#define POD(name, rv, v)                                                                                                  \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"uid\":\"u" name "\",\"resourceVersion\":\"" rv         \
	"\",\"managedFields\":[{}]},\"spec\":{\"v\":\"" v "\"}}"
#define LIST(rv, token, items)                                                                                            \
	"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[" items "],\"metadata\":{\"resourceVersion\":\"" rv         \
	"\",\"continue\":\"" token "\"}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

static const struct informer_options pods = { .size = sizeof(pods), .api_version = "v1", .plural = "pods" };

static int reset(void **state _unused_)
{
	strlist_done(&asked);
	strlist_done(&bodies);
	strlist_done(&seen);
	list_status = 200;
	post_status = 201;
	list_body = LIST("10", "", POD("a", "5", "1") "," POD("b", "6", "1"));
	watch_error = NULL;
	busy_answers = 0;
	return 0;
}

static void end(struct informer *i)
{
	informer_free(i);
	RUN_UNTIL(!watcher);
}

static void lists_and_watches(void **state _unused_)
{
	struct informer *i = start(&pods);

	EXPECT_SEEN("+ d/a 1", "+ d/b 1", "synced");
	assert_int_equal(informer_count(i), 2);
	json_t *a = informer_get(i, "d", "a");

	assert_string_equal(json_str(a, "kind"), "Pod");
	assert_string_equal(json_str(a, "apiVersion"), "v1");
	assert_null(json_at(a, "metadata.managedFields"));
	assert_null(informer_get(i, "d", "zzz"));
	assert_null(informer_get(i, NULL, "a"));
	RUN_UNTIL(watcher);
	assert_non_null(strstr(asked.items[1], "&resourceVersion=10"));
	assert_non_null(strstr(asked.items[1], "allowWatchBookmarks=true"));
	/* Events in one piece, then one in three. */
	send_watch(EVENT("ADDED", POD("c", "11", "1")) EVENT("MODIFIED", POD("a", "12", "2")));
	EXPECT_SEEN("+ d/c 1", "~ d/a 1->2");
	send_watch("{\"type\":\"DELETED\",\"ob");
	for (int n = 0; n < 3; n++)
		uv_run(&loop, UV_RUN_NOWAIT);
	send_watch("ject\":" POD("b", "13", "9"));
	send_watch("}\n");
	EXPECT_SEEN("- d/b 9");
	assert_int_equal(informer_count(i), 2);
	end(i);
}

static void resumes(void **state _unused_)
{
	struct informer *i = start(&pods);

	RUN_UNTIL(watcher);
	strlist_done(&seen);
	/* Cut in the middle of an event: it comes again from the last revision, the bookmark's. */
	send_watch(EVENT("MODIFIED", POD("a", "12", "2"))
		   "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"20\"}}}\n"
		   "{\"type\":\"MODIFIED\",\"object\":{\"meta");
	EXPECT_SEEN("~ d/a 1->2");
	http_abort(watcher);
	RUN_UNTIL(!watcher);
	RUN_UNTIL(watcher);
	assert_int_equal(asked.count, 3);
	assert_non_null(strstr(asked.items[2], "&resourceVersion=20"));
	send_watch(EVENT("MODIFIED", POD("a", "21", "3")));
	EXPECT_SEEN("~ d/a 2->3");
	/* A watch that ends as watches do goes on at once. */
	http_stream_end(watcher);
	watcher = NULL;
	RUN_UNTIL(watcher);
	assert_non_null(strstr(asked.items[3], "&resourceVersion=21"));
	end(i);
}

static void relists_after_410(void **state _unused_)
{
	struct informer *i = start(&pods);

	RUN_UNTIL(watcher);
	strlist_done(&seen);
	list_body = LIST("50", "", POD("a", "5", "1") "," POD("c", "40", "1"));
	send_watch("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n");
	/* a is as it was and not said again; what went away in between is found by its absence. */
	EXPECT_SEEN("+ d/c 1", "- d/b 1");
	RUN_UNTIL(asked.count == 4 && watcher);
	assert_non_null(strstr(asked.items[2], "limit="));
	assert_non_null(strstr(asked.items[3], "&resourceVersion=50"));
	/* The same as an HTTP status. */
	watch_error = "{\"kind\":\"Status\",\"code\":410}";
	list_body = LIST("60", "", POD("a", "5", "1"));
	http_abort(watcher);
	EXPECT_SEEN("- d/c 1");
	RUN_UNTIL(watcher);
	end(i);
}

static void lists_in_pages(void **state _unused_)
{
	list_body = LIST("10", "t/1", POD("a", "5", "1"));
	list_next_body = LIST("10", "", POD("b", "6", "1"));
	struct informer_options o = pods;

	o.ns = "d";
	o.label_selector = "app in (x,y)";
	o.field_selector = "spec.nodeName=n";
	struct informer *i = start(&o);

	EXPECT_SEEN("+ d/a 1", "+ d/b 1", "synced");
	assert_string_equal(asked.items[0], "GET /api/v1/namespaces/d/pods?labelSelector=app%20in%20%28x%2Cy%29&"
					    "fieldSelector=spec.nodeName%3Dn&limit=250");
	assert_true(str_ends(asked.items[1], "&limit=250&continue=t%2F1"));
	RUN_UNTIL(watcher);
	end(i);
}

static void survives_nonsense(void **state _unused_)
{
	static const char *const bad[] = { "", "[]", "{\"items\":[", "{\"metadata\":{}}", LIST("1", "", "{\"metadata\":{}}"),
					   LIST("1", "", "{]"), LIST("1", "", "3") };

	for (size_t n = 0; n < ARRAY_SIZE(bad); n++) {
		list_body = bad[n];
		struct informer *i = start(&pods);

		RUN_UNTIL(asked.count > n);
		for (int k = 0; k < 20; k++)
			uv_run(&loop, UV_RUN_NOWAIT);
		assert_false(informer_synced(i));
		assert_int_equal(informer_count(i), 0);
		informer_free(i);
	}
	/* After a refused list it tries again. */
	list_status = 403;
	list_body = "{\"kind\":\"Status\",\"code\":403}";
	struct informer *i = start(&pods);

	RUN_UNTIL(asked.count == ARRAY_SIZE(bad) + 1);
	reset(NULL);
	EXPECT_SEEN("+ d/a 1", "+ d/b 1", "synced");
	RUN_UNTIL(watcher);
	send_watch("{\"type\":\"WHAT\",\"object\":{}}\n");
	RUN_UNTIL(!watcher);
	RUN_UNTIL(watcher);
	assert_non_null(strstr(asked.items[2], "&resourceVersion=10"));
	end(i);
}

static json_t *shrink(json_t *o, void *user)
{
	const char *drop = user;

	if (str_eq(object_name(o), drop)) {
		json_decref(o);
		return NULL;
	}
	json_unset(o, "metadata.uid");
	return o;
}

static void transforms(void **state _unused_)
{
	struct informer_options o = pods;

	o.transform = shrink;
	o.transform_user = "b";
	struct informer *i = start(&o);

	EXPECT_SEEN("+ d/a 1", "synced");
	assert_string_equal(object_uid(informer_get(i, "d", "a")), "");
	RUN_UNTIL(watcher);
	end(i);
}

static void without_cache(void **state _unused_)
{
	struct informer_options o = pods;

	o.no_cache = true;
	struct informer *i = start(&o);

	EXPECT_SEEN("+ d/a 1", "+ d/b 1", "synced");
	assert_null(informer_get(i, "d", "a"));
	RUN_UNTIL(watcher);
	send_watch(EVENT("MODIFIED", POD("a", "12", "2")));
	EXPECT_SEEN("+ d/a 2");
	list_body = LIST("50", "", POD("a", "12", "2"));
	send_watch("{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n");
	EXPECT_SEEN("- d/b ");
	RUN_UNTIL(watcher);
	end(i);
}

static char *by_v(const json_t *o)
{
	return mem_strdup(json_str(o, "spec.v"));
}

static void indexes(void **state _unused_)
{
	struct informer *i = start(&pods);
	size_t n;

	assert_int_equal(informer_add_index(i, "v", by_v), 0);
	assert_int_equal(informer_add_index(i, "v", by_v), -EEXIST);
	RUN_UNTIL(watcher);
	_cleanup_free_ json_t **ones = informer_by_index(i, "v", "1", &n);

	assert_int_equal(n, 2);
	send_watch(EVENT("MODIFIED", POD("a", "12", "2")) EVENT("DELETED", POD("b", "13", "1")));
	RUN_UNTIL(seen.count == 5);
	assert_null(informer_by_index(i, "v", "1", &n));
	assert_int_equal(n, 0);
	_cleanup_free_ json_t **twos = informer_by_index(i, "v", "2", &n);

	assert_int_equal(n, 1);
	assert_string_equal(object_name(twos[0]), "a");
	/* An index made late covers what is there. */
	assert_int_equal(informer_add_index(i, "w", by_v), 0);
	_cleanup_free_ json_t **late = informer_by_index(i, "w", "2", &n);

	assert_int_equal(n, 1);
	size_t it = 0;

	assert_ptr_equal(informer_next(i, &it), twos[0]);
	assert_null(informer_next(i, &it));
	end(i);
}

static struct informer *to_free;

static void free_it(const json_t *old _unused_, const json_t *new _unused_, void *user _unused_)
{
	strlist_add(&seen, "freed");
	informer_free(to_free);
}

static void freed_from_inside(void **state _unused_)
{
	to_free = informer_new(client, &pods);
	informer_add_handler(to_free, &(struct informer_handler){ .on_change = free_it });
	informer_start(to_free);
	EXPECT_SEEN("freed");
	for (int n = 0; n < 5; n++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(seen.count, 0);
}

static void cache_forgets_the_decoded(void **state _unused_)
{
	struct cache *c = cache_new(false);
	bool existed;
	json_t *old, *v = json_parse(POD("a", "5", "1"), strlen(POD("a", "5", "1")), NULL, NULL);

	assert_true(cache_put(c, "d/a", v, true, true, &existed, &old));
	assert_false(cache_put(c, "d/a", v, true, true, &existed, &old));
	json_decref(v);
	assert_int_equal(cache_decoded(c), 1);
	assert_int_equal(cache_sweep(c, false), 1); /* was just used */
	assert_int_equal(cache_sweep(c, false), 0);
	v = json_incref(cache_get(c, "d/a"));
	assert_string_equal(json_str(v, "spec.v"), "1");
	assert_int_equal(cache_sweep(c, true), 1); /* held by us */
	json_decref(v);
	assert_int_equal(cache_sweep(c, true), 0);
	cache_free(c);
}

static struct kube_result last;
static char last_message[64];

static void on_result(const struct kube_result *r, void *user _unused_)
{
	last = *r;
	snprintf(last_message, sizeof(last_message), "%s/%s", r->reason, r->message);
}

static void calls_retry(void **state _unused_)
{
	_cleanup_json_ json_t *body = json_pack("{s:i}", "a", 1);

	busy_answers = 3;
	last.status = -1;
	kube_do(client, "POST", "/api/v1/x", NULL, body, on_result, NULL);
	RUN_UNTIL(last.status != -1);
	assert_int_equal(last.status, 201);
	assert_int_equal(asked.count, 4);
	assert_string_equal(bodies.items[3], "{\"a\":1}");
	post_status = 409;
	last.status = -1;
	kube_do(client, "POST", "/api/v1/x", NULL, body, on_result, NULL);
	RUN_UNTIL(last.status != -1);
	assert_int_equal(last.status, 409);
	assert_string_equal(last_message, "R/because");
	/* A call that waits for its retry can be cancelled. */
	busy_answers = 1;
	kube_call_cancel(kube_do(client, "POST", "/api/v1/x", NULL, body, on_result, NULL));
}

static void events_aggregate(void **state _unused_)
{
	_cleanup_json_ json_t *pod = json_parse(POD("p", "5", "1"), strlen(POD("p", "5", "1")), NULL, NULL);

	json_set_str(pod, "kind", "Pod");
	kube_event(client, "test", "n1", pod, "Warning", "Failed", "went %s", "wrong");
	RUN_UNTIL(bodies.count == 1);
	_cleanup_json_ json_t *e = json_parse(bodies.items[0], strlen(bodies.items[0]), NULL, NULL);

	assert_string_equal(asked.items[0], "POST /api/v1/namespaces/d/events?");
	assert_true(str_starts(object_name(e), "p."));
	assert_string_equal(json_str(e, "involvedObject.uid"), "up");
	assert_string_equal(json_str(e, "message"), "went wrong");
	assert_string_equal(json_str(e, "source.component"), "test");
	assert_int_equal(json_int(e, "count", 0), 1);
	for (int n = 0; n < 10; n++)
		uv_run(&loop, UV_RUN_NOWAIT);
	/* Two repeats while the first patch is on its way become one more. */
	kube_event(client, "test", "n1", pod, "Warning", "Failed", "went wrong");
	kube_event(client, "test", "n1", pod, "Warning", "Failed", "went wrong");
	kube_event(client, "test", "n1", pod, "Warning", "Failed", "went wrong");
	RUN_UNTIL(bodies.count == 3);
	assert_true(str_starts(asked.items[1], "PATCH /api/v1/namespaces/d/events/p."));
	_cleanup_json_ json_t *patch = json_parse(bodies.items[2], strlen(bodies.items[2]), NULL, NULL);

	assert_int_equal(json_int(patch, "count", 0), 4);
	/* 25 a burst: 21 more are said, the rest is not. */
	size_t before = asked.count;

	for (int n = 0; n < 40; n++)
		kube_event(client, "test", "n1", pod, "Normal", "Other", "number %d", n);
	RUN_UNTIL(asked.count == before + 21);
	for (int n = 0; n < 20; n++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(asked.count, before + 21);
}

static int setup(void **state _unused_)
{
	struct err e = { 0 };

	uv_loop_init(&loop);
	server = http_server_new(&loop, NULL, handle, NULL);
	if (http_server_listen(server, "127.0.0.1:0", NULL, &port, &e) < 0)
		fail_msg("%s", err_msg(&e));
	_cleanup_free_ char *url = str_printf("http://127.0.0.1:%d", port);
	struct kubeconfig config = { .server = url };

	client = kube_client_new(&loop, &config, "test", &e);
	assert_non_null(client);
	return 0;
}

static int teardown(void **state _unused_)
{
	reset(NULL);
	kube_client_free(client);
	http_server_shutdown(server, 0, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

/* Every beginning of a List is refused or split within its bytes; each in a block of its own, for ASan to see. */
static void splits_only_what_is_there(void **state _unused_)
{
	static const char text[] = "{ \"kind\": \"PodList\", \"items\":\n[ {\"a\": \"]\\\"\"}, 2 ] , \"metadata\": {} }";
	_cleanup_strbuf_ struct strbuf rest = { 0 };
	const char *items, *item;
	size_t len, n;

	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		_cleanup_free_ char *copy = mem_dup(text, cut);

		strbuf_reset(&rest);
		if (list_split(copy, cut, &rest, &items, &len) < 0)
			continue;
		if (len)
			assert_true(items >= copy && items + len <= copy + cut);
		while (list_next(&items, &len, &item, &n))
			assert_true(item >= copy && item + n <= copy + cut);
	}
	assert_int_equal(list_split("{\"items\":", 9, &rest, &items, &len), -EINVAL);
	assert_int_equal(list_split("{\"items\": \n", 11, &rest, &items, &len), -EINVAL);
	strbuf_reset(&rest);
	assert_int_equal(list_split(text, sizeof(text) - 1, &rest, &items, &len), 0);
	assert_string_equal(rest.data, "{ \"kind\": \"PodList\", \"items\":\n[] , \"metadata\": {} }");
	assert_true(list_next(&items, &len, &item, &n));
	assert_int_equal(n, 12);
	assert_true(list_next(&items, &len, &item, &n));
	assert_memory_equal(item, "2", n);
	assert_false(list_next(&items, &len, &item, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(lists_and_watches, reset),
		cmocka_unit_test_setup(resumes, reset),
		cmocka_unit_test_setup(relists_after_410, reset),
		cmocka_unit_test_setup(lists_in_pages, reset),
		cmocka_unit_test_setup(survives_nonsense, reset),
		cmocka_unit_test_setup(transforms, reset),
		cmocka_unit_test_setup(without_cache, reset),
		cmocka_unit_test_setup(indexes, reset),
		cmocka_unit_test_setup(freed_from_inside, reset),
		cmocka_unit_test_setup(cache_forgets_the_decoded, reset),
		cmocka_unit_test(splits_only_what_is_there),
		cmocka_unit_test_setup(calls_retry, reset),
		cmocka_unit_test_setup(events_aggregate, reset),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
