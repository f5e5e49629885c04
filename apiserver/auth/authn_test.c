// SPDX-License-Identifier: GPL-2.0-or-later
/* Who a request is from, as clients see it: nobody, wrong credentials, impersonation. */
#include "apiserver/registry/registry_fixture.h"

#define REVIEWS "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#define RBAC "/apis/rbac.authorization.k8s.io/v1"

/* Who the server takes a request with these headers for. */
static int who(struct fixture *f, struct http_client *c, struct http_client_header *more, size_t count)
{
	struct http_client_header headers[8] = { { "Content-Type", "application/json" } };
	assert_true(count < ARRAY_SIZE(headers));
	memcpy(headers + 1, more, count * sizeof(*more));
	return ask_headers(f, c, "POST", REVIEWS, headers, count + 1, "{}");
}
#define WHO(f, c, ...)                                                       \
	who(f, c, (struct http_client_header[]){ __VA_ARGS__ },              \
	    sizeof((struct http_client_header[]){ __VA_ARGS__ }) / sizeof(struct http_client_header))

static void has(const struct fixture *f, const char *text)
{
	if (!f->text.data || !strstr(f->text.data, text))
		fail_msg("no %s in %s", text, f->text.data ? f->text.data : "");
}

static void test_nobody(void **state)
{
	struct fixture *f = *state;
	/* Upstream gives self reviews to system:authenticated only. */
	assert_int_equal(WHO(f, f->nobody, { "X-Nothing", "1" }), 403);
	has(f, "User \\\"system:anonymous\\\" cannot create resource \\\"selfsubjectreviews\\\"");
	assert_int_equal(WHO(f, f->nobody, { "Authorization", "Bearer x" }), 401);
	assert_int_equal(WHO(f, f->nobody, { "Authorization", "Basic eDp5" }), 401);
	f->g.options.no_anonymous = true;
	assert_int_equal(WHO(f, f->nobody, { "X-Nothing", "1" }), 401);
	assert_int_equal(ask(f, f->nobody, "GET", "/healthz", NULL, NULL, NULL), 401);
	assert_int_equal(ask(f, f->bob, "GET", "/healthz", NULL, NULL, NULL), 200);
	f->g.options.no_anonymous = false;
}

static void test_impersonation(void **state)
{
	struct fixture *f = *state;
	/* What the server makes at its start, the roles among it, is durable when this is. */
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/namespaces", NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 201);
	assert_int_equal(WHO(f, f->admin, { "Impersonate-User", "eve" }, { "Impersonate-Group", "devs" }, { "Impersonate-Uid", "7" },
			     { "Impersonate-Extra-Acme.com%2fTeam", "x" }), 201);
	has(f, "\"username\":\"eve\",\"uid\":\"7\",\"groups\":[\"devs\",\"system:authenticated\"],\"extra\":{\"acme.com/team\":[\"x\"]}");
	assert_int_equal(WHO(f, f->admin, { "Impersonate-User", "system:serviceaccount:a:b" }), 201);
	has(f, "\"groups\":[\"system:serviceaccounts\",\"system:serviceaccounts:a\",\"system:authenticated\"]");
	assert_int_equal(WHO(f, f->admin, { "Impersonate-User", "system:anonymous" }), 403);
	has(f, "User \\\"system:anonymous\\\" cannot create");
	assert_int_equal(WHO(f, f->admin, { "Impersonate-Group", "devs" }), 400);
	/* Nobody, and somebody without the right. */
	assert_int_equal(WHO(f, f->nobody, { "Impersonate-User", "eve" }), 403);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }), 403);
	has(f, "User \\\"bob\\\" cannot impersonate resource \\\"users\\\" in API group \\\"\\\" at the cluster scope");
}

/* Each thing that is taken on is a right of its own. */
static void test_impersonation_rights(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "POST", RBAC "/clusterroles", NULL, NULL,
			     "{\"metadata\":{\"name\":\"as-eve\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"users\"],"
			     "\"verbs\":[\"impersonate\"],\"resourceNames\":[\"eve\"]},{\"apiGroups\":[\"authentication.k8s.io\"],"
			     "\"resources\":[\"userextras/team\"],\"verbs\":[\"impersonate\"],\"resourceNames\":[\"x\"]}]}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", RBAC "/clusterrolebindings", NULL, NULL,
			     "{\"metadata\":{\"name\":\"as-eve\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
			     "\"ClusterRole\",\"name\":\"as-eve\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
			     "\"User\",\"name\":\"bob\"}]}"), 201);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }), 201);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }, { "Impersonate-Extra-Team", "x" }), 201);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }, { "Impersonate-Extra-Team", "y" }), 403);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }, { "Impersonate-Uid", "7" }), 403);
	has(f, "cannot impersonate resource \\\"uids\\\" in API group \\\"authentication.k8s.io\\\" at the cluster scope");
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "eve" }, { "Impersonate-Group", "system:masters" }), 403);
	assert_int_equal(WHO(f, f->bob, { "Impersonate-User", "system:serviceaccount:a:b" }), 403);
	has(f, "cannot impersonate resource \\\"serviceaccounts\\\" in API group \\\"\\\" in the namespace \\\"a\\\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_impersonation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_impersonation_rights, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
