/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services, EndpointSlices and Nodes from an API server. The informers keep nothing: the model has what it needs. */
#include "base/mem.h"
#include "kube/informer.h"
#include "kube/object.h"
#include "proxy/source/source.h"

struct source_kube {
	struct kubeconfig config;
	struct kube_client *client;
	struct informer *informers[SOURCE_KIND_MAX];
	struct source_sink sink;
	bool synced[SOURCE_KIND_MAX];
	struct side {
		struct source_kube *s;
		enum source_kind kind;
	} sides[SOURCE_KIND_MAX];
};

static void on_change(const json_t *old, const json_t *new, void *user)
{
	struct side *d = user;
	if (new)
		d->s->sink.set(d->kind, new, d->s->sink.user);
	else
		d->s->sink.del(d->kind, object_namespace(old), object_name(old), d->s->sink.user);
}

static void on_synced(void *user)
{
	struct side *d = user;
	d->s->synced[d->kind] = true;
	for (int i = 0; i < SOURCE_KIND_MAX; i++)
		if (!d->s->synced[i])
			return;
	d->s->sink.synced(d->s->sink.user);
}

static bool wanted(const char *annotation)
{
	return str_starts(annotation, "keelson.dev/") || str_eq(annotation, "endpoints.kubernetes.io/last-change-trigger-time");
}

/* What the proxy and DNS never look at is not carried further than here. */
static json_t *shrink(json_t *object, void *user)
{
	json_t *meta = json_object_get(object, "metadata"), *all = json_object_get(meta, "annotations"), *v;
	const char *key;
	void *next;
	(void)user;
	json_object_del(meta, "managedFields");
	json_object_foreach_safe(all, next, key, v)
		if (!wanted(key))
			json_object_del(all, key);
	return object;
}

struct source_kube *source_kube_new(uv_loop_t *loop, const char *kubeconfig, const struct source_sink *sink, struct err *err)
{
	static const struct {
		const char *api_version, *plural;
	} what[SOURCE_KIND_MAX] = {
		[SOURCE_SERVICE] = { "v1", "services" },
		[SOURCE_SLICE] = { "discovery.k8s.io/v1", "endpointslices" },
		[SOURCE_NODE] = { "v1", "nodes" },
	};
	struct source_kube *s = mem_new(struct source_kube);
	s->sink = *sink;
	if (kubeconfig_load(kubeconfig, &s->config, err) < 0) {
		free(s);
		return NULL;
	}
	s->client = kube_client_new(loop, &s->config, "keelson-proxy", err);
	if (!s->client) {
		kubeconfig_done(&s->config);
		free(s);
		return NULL;
	}
	for (int i = 0; i < SOURCE_KIND_MAX; i++) {
		struct informer_options o = {
			.size = sizeof(o), .api_version = what[i].api_version, .plural = what[i].plural,
			.transform = shrink, .no_cache = true,
		};
		s->sides[i] = (struct side){ s, i };
		struct informer_handler h = { .on_change = on_change, .on_synced = on_synced, .user = &s->sides[i] };
		s->informers[i] = informer_new(s->client, &o);
		informer_add_handler(s->informers[i], &h);
	}
	for (int i = 0; i < SOURCE_KIND_MAX; i++)
		informer_start(s->informers[i]);
	return s;
}

void source_kube_free(struct source_kube *s)
{
	if (!s)
		return;
	for (int i = 0; i < SOURCE_KIND_MAX; i++)
		informer_free(s->informers[i]);
	kube_client_free(s->client);
	kubeconfig_done(&s->config);
	free(s);
}
