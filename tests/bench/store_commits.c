// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Durable writes a second through the store, as the API server uses it: store_commits WRITERS SECONDS DIRECTORY, or ETCD-URL with the
 * files of a CA, a certificate and a key. Each writer has one write under way, of 3,000 bytes, each on an object of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/store/store.h"
#include "base/clock.h"
#include "base/str.h"

enum { VALUE_BYTES = 3000, MAX_WRITERS = 1000, MAX_SAMPLES = 10000000 };

struct writer {
	char key[24];
	int64_t began_ns;
};

static struct store *store;
static uv_loop_t loop;
static struct writer writers[MAX_WRITERS];
static char *text;
static int64_t until_ns, *samples;
static size_t sample_count, under_way;

static const char *place_name(uint16_t resource)
{
	return resource == 0 ? "configmaps" : NULL;
}

static int place_find(const char *name)
{
	return str_eq(name, "configmaps") ? 0 : -1;
}

static struct store_object *object_of(const char *key, uint64_t revision, const void *data, size_t len)
{
	return store_object_new(0, key, revision, bytes_new(data, len), 0, 0, 0, NULL, NULL);
}

static struct store_object *restore(uint16_t resource, const char *key, uint64_t revision, struct bytes *json, uint32_t head_len,
				    uint32_t meta_off, uint32_t meta_len, void *user)
{
	(void)user;
	return store_object_new(resource, key, revision, json, head_len, meta_off, meta_len, NULL, NULL);
}

static struct store_object *read_value(uint16_t resource, const char *key, uint64_t revision, const void *data, size_t len)
{
	(void)resource;
	return object_of(key, revision, data, len);
}

static struct store_object *at(struct store_object *o, uint64_t revision)
{
	return object_of(o->key, revision, o->json->data, o->json->len);
}

static struct bytes *value(struct store_object *o)
{
	return bytes_ref(o->json);
}

static void claims(const struct store_object *o, struct strlist *names)
{
	(void)o, (void)names;
}

static void changed(enum store_change change, struct store_object *o, struct store_object *old, void *user)
{
	(void)change, (void)o, (void)old, (void)user;
}

static void committed(void *user)
{
	(void)user;
}

static _noreturn_ void fail(const char *why)
{
	fprintf(stderr, "store_commits: %s\n", why);
	exit(1);
}

static void broken(const char *why, void *user)
{
	(void)user;
	fail(why);
}

static void write_one(struct writer *w);

static void on_done(int status, const char *why, struct store_object *o, void *user)
{
	struct writer *w = user;
	int64_t now = clock_mono_ns();
	(void)o;
	if (status)
		fail(why);
	if (sample_count < MAX_SAMPLES)
		samples[sample_count++] = now - w->began_ns;
	under_way--;
	if (now < until_ns)
		write_one(w);
}

static void write_one(struct writer *w)
{
	struct store_object *latest = store_latest(store, 0, w->key);
	w->began_ns = clock_mono_ns();
	under_way++;
	/* Every value differs, as objects do. */
	snprintf(text, 24, "%020lld", (long long)w->began_ns);
	if (store_put(store, object_of(w->key, store_reserve(store), text, VALUE_BYTES), latest ? latest->revision : 0, on_done, w))
		fail("the write was refused");
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	const struct store_hooks hooks = { .place_name = place_name, .place_find = place_find, .restore = restore, .changed = changed,
		.committed = committed, .broken = broken, .read = read_value, .at = at, .value = value, .claims = claims };
	_cleanup_err_ struct err err = { 0 };
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
	if (argc < 4 || argc > 7 || !count || count > MAX_WRITERS || seconds <= 0)
		fail("usage: store_commits WRITERS SECONDS DIRECTORY | ETCD-URL [CA CERTIFICATE KEY]");
	const struct etcd_options o = { .servers = argv[3], .ca_file = argc > 4 ? argv[4] : NULL, .cert_file = argc > 5 ? argv[5] : NULL,
		.key_file = argc > 6 ? argv[6] : NULL, .prefix = "/bench", .compaction_interval = "0" };
	uv_loop_init(&loop);
	int rc = str_starts(argv[3], "http") ? store_open_etcd(&loop, &o, &hooks, &store, &err) :
					       store_open(&loop, argv[3], &hooks, &store, &err);
	if (rc)
		fail(err_msg(&err));
	text = mem_alloc(VALUE_BYTES + 1);
	memset(text, 'x', VALUE_BYTES);
	samples = mem_new_n(int64_t, MAX_SAMPLES);
	int64_t begin = clock_mono_ns();
	until_ns = begin + (int64_t)(seconds * 1e9);
	for (size_t i = 0; i < count; i++) {
		snprintf(writers[i].key, sizeof(writers[i].key), "ns/w%zu", i);
		write_one(&writers[i]);
	}
	while (under_way)
		uv_run(&loop, UV_RUN_ONCE);
	double took = (double)(clock_mono_ns() - begin) / 1e9;
	qsort(samples, sample_count, sizeof(*samples), compare);
	printf("%zu writers: %.0f writes/s, p50 %.2f ms, p99 %.2f ms\n", count, (double)sample_count / took,
	       (double)samples[sample_count / 2] / 1e6, (double)samples[sample_count * 99 / 100] / 1e6);
	store_close(store);
	return 0;
}
