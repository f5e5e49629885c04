/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request, one answer; without a proxy set ids do. */
#include "proxy/trace/names.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http_client.h"
#include "kube/json.h"

enum { TIMEOUT_MS = 2000, BODY_MAX = 64 << 20 };

struct fetch {
	struct names *names;
	struct err *err;
	int result;
	bool done;
};

static void on_done(const struct http_answer *a, void *user)
{
	struct fetch *f = user;
	f->done = true;
	if (a->status == 200)
		f->result = names_parse(f->names, a->body, a->body_len, f->err);
	else
		f->result = err_set(f->err, EIO, "%s", a->error ? a->error : "it does not know /debug/services");
}

int names_fetch(struct names *n, const char *address, struct err *err)
{
	const struct http_client_options options = { .size = sizeof(options), .connect_timeout_ms = TIMEOUT_MS };
	struct fetch f = { n, err, -EIO, false };
	_cleanup_free_ char *url = str_printf("http://%s/debug/services", address);
	const struct http_call_request request = {
		.method = "GET", .url = url, .timeout_ms = TIMEOUT_MS, .max_body_bytes = BODY_MAX,
	};
	uv_loop_t loop;
	*n = (struct names){ 0 };
	uv_loop_init(&loop);
	struct http_client *c = http_client_new(&loop, &options, err);
	if (c && http_client_call(c, &request, NULL, on_done, &f))
		while (!f.done && uv_run(&loop, UV_RUN_ONCE))
			;
	http_client_free(c);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return f.result;
}

int names_parse(struct names *n, const char *text, size_t len, struct err *err)
{
	_cleanup_json_ json_t *doc = json_parse_peer(text, len, NULL, err);
	json_t *list = json_object_get(doc, "services"), *v;
	size_t i;
	*n = (struct names){ 0 };
	if (!json_is_array(list))
		return err_set(err, EINVAL, "the answer has no list of Services");
	n->v = mem_new_n(struct name, json_array_size(list) + 1);
	json_array_foreach(list, i, v)
		n->v[n->count++] = (struct name){
			.text = mem_strdup(json_str_or(v, "name", "")),
			.set = (uint32_t)json_int(v, "set", 0),
			.local_set = (uint32_t)json_int(v, "localSet", 0),
			.port = (uint16_t)json_int(v, "port", 0),
		};
	return 0;
}

void names_done(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->v[i].text);
	free(n->v);
	*n = (struct names){ 0 };
}

const char *names_find(const struct names *n, uint32_t set_id)
{
	for (size_t i = 0; set_id && i < n->count; i++)
		if (n->v[i].set == set_id || n->v[i].local_set == set_id)
			return n->v[i].text;
	return NULL;
}

/* "ns/name" means all its ports; behind a colon stands a port's name or number. */
static bool is_meant(const struct name *v, const char *wanted)
{
	size_t len = strcspn(wanted, ":");
	if (strncmp(v->text, wanted, len) != 0 || v->text[len] != ':')
		return false;
	char number[8];
	snprintf(number, sizeof(number), "%u", v->port);
	return !wanted[len] || str_eq(v->text + len, wanted + len) || str_eq(number, wanted + len + 1);
}

int names_resolve(const struct names *n, struct expression *x, struct err *err)
{
	x->set_count = 0;
	for (size_t i = 0; i < n->count; i++) {
		if (!is_meant(&n->v[i], x->service))
			continue;
		uint32_t ids[] = { n->v[i].set, n->v[i].local_set };
		for (size_t k = 0; k < ARRAY_SIZE(ids); k++)
			if (ids[k] && x->set_count < EXPRESSION_SETS_MAX)
				x->sets[x->set_count++] = ids[k];
	}
	return x->set_count ? 0 : err_set(err, ENOENT, "the proxy knows no Service (port) %s", x->service);
}
