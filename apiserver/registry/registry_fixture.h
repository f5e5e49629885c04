/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the API as clients see it share: a server on a loopback port, HTTPS with certificates, one request after
 * another. */
#ifndef KEELSON_APISERVER_REGISTRY_FIXTURE_H
#define KEELSON_APISERVER_REGISTRY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "apiserver/auth/authz.h"
#include "apiserver/auth/token.h"
#include "apiserver/http/handler.h"
#include "base/file.h"
#include "io/http_client.h"
#include "io/tls.h"

struct fixture {
	char dir[64], url[64];
	const char *ranges; /* of Services; NULL: 10.96.0.0/24 */
	const char *old_public; /* public keys of ServiceAccount tokens besides our own; NULL */
	uv_loop_t loop;
	struct registry g;
	struct http_server *http;
	struct http_client *admin, *bob, *nobody;
	bool done;
	int status;
	json_t *answer;
	struct strbuf text;
};

static _unused_ char *in_dir(const struct fixture *f, const char *name)
{
	return str_printf("%s/%s", f->dir, name);
}

static _unused_ void issue(const struct fixture *f, const char *cn, const char *org, enum pki_use use, const char *file)
{
	const char *orgs[] = { org, NULL }, *sans[] = { "127.0.0.1", NULL };
	_cleanup_free_ char *ca = in_dir(f, "ca.crt"), *ca_key = in_dir(f, "ca.key");
	_cleanup_free_ char *crt = str_printf("%s/%s.crt", f->dir, file), *key = str_printf("%s/%s.key", f->dir, file);
	const struct pki_request r = { .cn = cn, .orgs = org ? orgs : NULL, .sans = use == PKI_SERVER ? sans : NULL, .use = use,
		.days = 1 };
	struct err err = { 0 };
	bool self = use == PKI_CA;
	assert_int_equal(pki_issue(&r, self ? NULL : ca, self ? NULL : ca_key, crt, key, &err), 0);
}

static _unused_ struct http_client *client(struct fixture *f, const char *who)
{
	_cleanup_free_ char *ca = in_dir(f, "ca.crt"), *crt = who ? str_printf("%s/%s.crt", f->dir, who) : NULL;
	_cleanup_free_ char *key = who ? str_printf("%s/%s.key", f->dir, who) : NULL;
	const struct http_client_options o = { .size = sizeof(o), .ca_file = ca, .cert_file = crt, .key_file = key,
		.user_agent = "registry-test" };
	struct err err = { 0 };
	struct http_client *c = http_client_new(&f->loop, &o, &err);
	assert_non_null(c);
	return c;
}

static _unused_ void start(struct fixture *f)
{
	_cleanup_free_ char *data = in_dir(f, "data"), *sa = in_dir(f, "sa.key"), *pub = in_dir(f, "sa.pub");
	_cleanup_free_ char *crt = in_dir(f, "server.crt"), *key = in_dir(f, "server.key"), *ca = in_dir(f, "ca.crt");
	const struct http_server_options so = { .size = sizeof(so), .max_body_bytes = HANDLER_MAX_BODY,
		.on_refused = handler_refused };
	struct registry_options o = { .node_port_min = 30000, .node_port_max = 30010, .advertise_address = "192.0.2.1",
		.cluster_domain = "cluster.local", .issuer = "https://issuer", .ca_pem = "PEM", .cluster_cidr = "10.244.0.0/16",
		.cluster_dns = "10.96.0.10", .pod_network = "auto", .node_cidr_mask = 24, .node_cidr_mask_ipv6 = 64 };
	struct err err = { 0 };
	int port;
	memset(&f->g, 0, sizeof(f->g));
	ip_ranges_parse(f->ranges ? f->ranges : "10.96.0.0/24", &o.service_ranges, &o.service_primary);
	f->g.keys = token_keys_load(sa, (const char *const[]){ pub, f->old_public, NULL }, &err);
	f->g.authz = authorizer_new(AUTHZ_RBAC);
	assert_non_null(f->g.keys);
	assert_int_equal(registry_open(&f->g, &f->loop, data, &o, &err), 0);
	SSL_CTX *tls = tls_server_new(crt, key, ca, &err);
	assert_non_null(tls);
	f->http = http_server_new(&f->loop, &so, handler_request, &f->g);
	assert_int_equal(http_server_listen(f->http, "127.0.0.1:0", tls, &port, &err), 0);
	SSL_CTX_free(tls);
	f->g.options.port = (unsigned)port;
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d", port);
	bootstrap_objects(&f->g);
	f->g.ready = true;
	/* What is made at the start is made in one transaction, or a few: the last of it is there. */
	while (!store_get(f->g.store, f->g.services->id, "default/kubernetes"))
		uv_run(&f->loop, UV_RUN_ONCE);
	f->admin = client(f, "admin");
	f->bob = client(f, "bob");
	f->nobody = client(f, NULL);
}

static _unused_ void on_gone(void *user)
{
	((struct fixture *)user)->http = NULL;
}

static _unused_ void stop(struct fixture *f)
{
	f->g.stopping = true;
	watch_hub_stop(f->g.hub);
	http_server_shutdown(f->http, 100, on_gone, f);
	http_client_free(f->admin);
	http_client_free(f->bob);
	http_client_free(f->nobody);
	while (f->http)
		uv_run(&f->loop, UV_RUN_ONCE);
	registry_close(&f->g);
	token_keys_free(f->g.keys);
	authorizer_free(f->g.authz);
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static _unused_ int setup_with(void **state, const char *ranges)
{
	struct fixture *f = mem_new(struct fixture);
	struct err err = { 0 };
	f->ranges = ranges;
	snprintf(f->dir, sizeof(f->dir), "/tmp/apiserver-registry-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	issue(f, "ca", NULL, PKI_CA, "ca");
	issue(f, "kube-apiserver", NULL, PKI_SERVER, "server");
	issue(f, "kubernetes-admin", "system:masters", PKI_CLIENT, "admin");
	issue(f, "bob", NULL, PKI_CLIENT, "bob");
	_cleanup_free_ char *sa = in_dir(f, "sa.key"), *pub = in_dir(f, "sa.pub");
	assert_int_equal(pki_signing_key(sa, pub, &err), 0);
	start(f);
	*state = f;
	return 0;
}

static _unused_ int setup(void **state)
{
	return setup_with(state, NULL);
}

static _unused_ int teardown(void **state)
{
	struct fixture *f = *state;
	stop(f);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	json_decref(f->answer);
	strbuf_done(&f->text);
	file_rm_rf(f->dir);
	free(f);
	return 0;
}

static _unused_ void on_done(const struct http_answer *a, void *user)
{
	struct fixture *f = user;
	f->done = true;
	f->status = a->status;
	json_decref(f->answer);
	f->answer = a->body_len ? json_parse(a->body, a->body_len, NULL, NULL) : NULL;
	strbuf_reset(&f->text);
	strbuf_add(&f->text, a->body, a->body_len);
	if (!a->status)
		print_error("transport: %s\n", a->error);
}

static _unused_ int ask_headers(struct fixture *f, struct http_client *c, const char *method, const char *path,
				struct http_client_header *headers, size_t count, const char *body)
{
	_cleanup_free_ char *url = str_printf("%s%s", f->url, path);
	const struct http_call_request r = { .method = method, .url = url, .headers = headers, .header_count = count, .body = body,
		.body_len = body ? strlen(body) : 0, .timeout_ms = 20000 };
	f->done = false;
	http_client_call(c, &r, NULL, on_done, f);
	while (!f->done)
		uv_run(&f->loop, UV_RUN_ONCE);
	return f->status;
}

static _unused_ int ask(struct fixture *f, struct http_client *c, const char *method, const char *path, const char *type, const char *accept,
	       const char *body)
{
	struct http_client_header headers[] = { { "Content-Type", type ? type : "application/json" },
						{ "Accept", accept ? accept : "application/json" } };
	return ask_headers(f, c, method, path, headers, ARRAY_SIZE(headers), body);
}

#define MERGE "application/merge-patch+json"
#define JSONP "application/json-patch+json"
#define SMP "application/strategic-merge-patch+json"

struct step {
	const char *method, *path, *type, *body;
	int status;
	const char *contains, *lacks; /* in the answer's text; NULL: not looked at */
};

static _unused_ void walk(struct fixture *f, const struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		int status = ask(f, f->admin, s->method, s->path, s->type, NULL, s->body);
		const char *text = f->text.data ? f->text.data : "";
		bool ok = status == s->status && (!s->contains || strstr(text, s->contains)) && (!s->lacks || !strstr(text, s->lacks));
		if (!ok)
			fail_msg("step %zu %s %s: got %d %s", i, s->method, s->path, status, text);
	}
}
#define WALK(f, steps) walk(f, steps, ARRAY_SIZE(steps))

#endif
