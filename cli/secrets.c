/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson secrets: which keys the Secrets in the store are encrypted by, and their rotation. What always holds while it rotates: the
 * file has every key that a stored Secret needs. Each step can be done again, so that a rotation that was interrupted is gone on with
 * by the next one: more than one key in the file tells that there was one.
 */
#include "cli/secrets.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/command.h"
#include "kube/encryption.h"
#include "kube/object.h"

enum { KEY_BYTES = 32, WAIT_MS = 60000, POLL_MS = 100, ROUNDS = 20, PAGE = 100 };

char *secrets_file(const struct cluster *c)
{
	return cluster_path(c, "pki/encryption.yaml");
}

/* A key has a name that no other had: it is told by it in the store. */
static void new_key(struct encryption_key *k)
{
	char now[CLOCK_RFC3339_SIZE], tail[5];

	*k = (struct encryption_key){ .provider = ENCRYPTION_SECRETBOX, .len = KEY_BYTES };
	clock_format_rfc3339(clock_wall_s(), now);
	rand_suffix(tail, 4);
	k->name = str_printf("key-%.10s-%s", now, tail);
	rand_bytes(k->secret, KEY_BYTES);
}

/* The keys of secretbox in their order, and identity behind them. */
static int write_file(const char *path, const struct encryption_key *const *keys, size_t count, struct err *err)
{
	struct strbuf text = { 0 };

	/* Grown at once: no copy is left behind in memory. */
	strbuf_reserve(&text, 1024 + count * (ENCRYPTION_MAX_NAME + 128));
	strbuf_adds(&text, "# The keys of keelson secrets. Without this file the Secrets in the store are lost; with it, whoever has the store reads them.\n"
		    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
		    "- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n");
	for (size_t i = 0; i < count; i++) {
		strbuf_addf(&text, "      - name: %s\n        secret: ", keys[i]->name);
		base64_encode(&text, keys[i]->secret, keys[i]->len);
		strbuf_addc(&text, '\n');
	}
	strbuf_adds(&text, "  - identity: {}\n");
	int r = file_write_atomic(path, text.data, text.len, 0600);

	OPENSSL_cleanse(text.data, text.cap);
	strbuf_done(&text);
	return r < 0 ? err_set(err, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static void key_done(struct encryption_key *k)
{
	free(k->name);
	OPENSSL_cleanse(k, sizeof(*k));
}

int secrets_prepare(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = secrets_file(c), *store = cluster_path(c, "store/objects.db"), *etcd = cluster_path(c, "etcd/member");
	_cleanup_(key_done) struct encryption_key key = { 0 };
	const struct encryption_key *const keys[] = { &key };

	if (file_exists(path))
		return 0;
	if (file_exists(store) || file_exists(etcd))
		return err_set(err, ENOENT, "%s is missing; the Secrets in the store can only be read by the keys it had. Put it back, for "
			       "example from a backup", path);
	new_key(&key);
	return write_file(path, keys, 1, err);
}

/* What the API server tells of itself */

struct told {
	uint64_t by_key[ENCRYPTION_MAX_KEYS]; /* Secrets, by the keys of the file in their order, identity being one */
	uint64_t by_none;                     /* by keys that are not in the file */
	bool has_config;                      /* the file as it is now is in force */
};

/* By others than the first. */
static uint64_t by_former(const struct told *t, const struct encryption_rule *rule)
{
	uint64_t sum = t->by_none;

	for (size_t i = 1; i < rule->count; i++)
		sum += t->by_key[i];
	return sum;
}

/* The place in the file of the key that a line of keelson_apiserver_stored_objects is of; rule->count: it is not there. */
static size_t key_of(const char *line, const struct encryption_rule *rule)
{
	size_t i = 0;

	for (; i < rule->count; i++) {
		const struct encryption_key *k = &rule->keys[i];
		_cleanup_free_ char *label = k->provider == ENCRYPTION_IDENTITY ? mem_strdup("key=\"identity\"") :
					     str_printf("key=\"%s:%s\"", encryption_provider_name(k->provider), k->name);

		if (strstr(line, label))
			break;
	}
	return i;
}

/* The value of a line of /metrics that begins with this name and has all these labels. */
static bool metric_of(const char *line, const char *name, const char *label1, const char *label2, uint64_t *ret)
{
	const char *rest = str_after(line, name), *value = strrchr(line, ' ');

	return rest && *rest == '{' && strstr(rest, label1) && strstr(rest, label2) && value && str_to_u64(value + 1, UINT64_MAX, ret) == 0;
}

static int ask(struct api *api, const struct encryption_config *config, struct told *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	_cleanup_free_ char *hash = str_printf("hash=\"%s\"", config->hash);
	const struct encryption_rule *rule = &config->rules[0];
	int r = api_text(api, "/metrics", &text, err);

	if (r < 0)
		return r;
	*ret = (struct told){ 0 };
	strlist_split(&lines, text.data ? text.data : "", '\n');
	for (size_t i = 0; i < lines.count; i++) {
		uint64_t n;

		if (metric_of(lines.items[i], "apiserver_encryption_config_controller_last_config_info", hash, "", &n))
			ret->has_config |= n == 1;
		if (!metric_of(lines.items[i], "keelson_apiserver_stored_objects", "resource=\"secrets\"", "key=", &n))
			continue;
		size_t at = key_of(lines.items[i], rule);

		*(at < rule->count ? &ret->by_key[at] : &ret->by_none) += n;
	}
	return 0;
}

/* Until the API server works by the file as it is. */
static int wait_taken(struct api *api, const struct encryption_config *config, struct err *err)
{
	int64_t end = clock_mono_ms() + WAIT_MS;
	struct told told = { 0 };
	int r;

	do {
		r = ask(api, config, &told, err);
		if (r == 0 && told.has_config)
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
	} while (clock_mono_ms() < end);
	return r < 0 ? r : err_set(err, ETIMEDOUT, "the API server has not taken the new keys in %d s; see keelson logs apiserver, then run it "
				   "again", WAIT_MS / 1000);
}

/* A patch that changes nothing: what is encrypted by a former key is written by the first one. */
static int rewrite_one(struct api *api, const json_t *secret, struct err *err)
{
	_cleanup_json_ json_t *nothing = json_object();
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	_cleanup_free_ char *path = kube_path("v1", "secrets", json_str_or(secret, "metadata.namespace", ""),
					      json_str_or(secret, "metadata.name", ""), NULL);

	/* One that was deleted meanwhile needs no key. */
	if (api_patch(api, path, nothing, &answer) || answer.status == 404)
		return 0;
	return err_set(err, EIO, "cannot write the Secret %s/%s again: %s", json_str_or(secret, "metadata.namespace", ""),
		       json_str_or(secret, "metadata.name", ""), answer.message);
}

static int rewrite_all(struct api *api, struct err *err)
{
	_cleanup_free_ char *token = NULL;
	int r = 0;

	do {
		_cleanup_api_answer_ struct api_answer answer = { 0 };
		_cleanup_strbuf_ struct strbuf path = { 0 };
		const json_t *secret;
		size_t i;

		strbuf_addf(&path, "/api/v1/secrets?limit=%d", PAGE);
		if (token) {
			strbuf_adds(&path, "&continue=");
			url_encode(&path, token);
		}
		if (!api_call(api, "GET", path.data, NULL, &answer))
			return err_set(err, EIO, "cannot list the Secrets: %s", answer.message);
		json_array_foreach(json_object_get(answer.object, "items"), i, secret) {
			r = rewrite_one(api, secret, err);
			if (r < 0)
				return r;
		}
		free(token);
		token = mem_strdup(json_str(answer.object, "metadata.continue"));
	} while (!str_empty(token));
	return 0;
}

/* The commands */

/* The file has the shape that `keelson up` gives it. */
static int check_shape(const char *path, const struct encryption_config *config, struct err *err)
{
	const struct encryption_rule *rule = &config->rules[0];
	bool ours = config->count == 1 && rule->resources.count == 1 && str_eq(rule->resources.items[0], "secrets") && rule->count >= 2 &&
		    rule->keys[rule->count - 1].provider == ENCRYPTION_IDENTITY;

	for (size_t i = 0; ours && i + 1 < rule->count; i++)
		ours = rule->keys[i].provider == ENCRYPTION_SECRETBOX;
	return ours ? 0 : err_set(err, EINVAL, "%s was changed by hand; its keys are rotated by hand, too: see keelson(8), ROTATION", path);
}

static struct encryption_config *load(const char *path, struct err *err)
{
	struct encryption_config *config = encryption_config_load(path, err);

	if (config && check_shape(path, config, err) < 0)
		return encryption_config_free(config);
	return config;
}

static int write_and_wait(struct api *api, const char *path, const struct encryption_key *const *keys, size_t count,
			  struct encryption_config **config, struct err *err)
{
	int r = write_file(path, keys, count, err);

	if (r < 0)
		return r;
	encryption_config_free(TAKE(*config));
	*config = load(path, err);
	return *config ? wait_taken(api, *config, err) : -EIO;
}

/* Step 1: the new key stands in front. */
static int add_key(struct api *api, const char *path, struct encryption_config **config, struct err *err)
{
	const struct encryption_rule *rule = &(*config)->rules[0];
	_cleanup_(key_done) struct encryption_key key = { 0 };
	const struct encryption_key *keys[2] = { &key, &rule->keys[0] };

	if (rule->count > 2) {
		printf("an earlier rotation was interrupted: it is gone on with, to the key %s\n", rule->keys[0].name);
		return wait_taken(api, *config, err);
	}
	new_key(&key);
	int r = write_and_wait(api, path, keys, 2, config, err);

	if (r == 0)
		printf("new key %s\n", key.name);
	return r;
}

/* Step 2: every Secret is written by it. Those that were written by a former one meanwhile, again. */
static int move_secrets(struct api *api, const struct encryption_config *config, struct err *err)
{
	struct told told = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		int r = rewrite_all(api, err);

		if (r == 0)
			r = ask(api, config, &told, err);
		if (r < 0)
			return r;
		if (!by_former(&told, &config->rules[0])) {
			printf("%llu Secrets written by it\n", (unsigned long long)told.by_key[0]);
			return 0;
		}
	}
	return err_set(err, EBUSY, "%llu Secrets are still stored under former keys, which stay in the file; run it again",
		       (unsigned long long)by_former(&told, &config->rules[0]));
}

/* Step 3: the former ones are dropped. */
static int drop_keys(struct api *api, const char *path, struct encryption_config **config, struct err *err)
{
	_cleanup_(key_done) struct encryption_key first = (*config)->rules[0].keys[0];
	const struct encryption_key *const keys[] = { &first };

	first.name = mem_strdup(first.name);
	int r = write_and_wait(api, path, keys, 1, config, err);

	if (r == 0)
		puts("former keys dropped");
	return r;
}

static int rotate(const struct cluster *c, struct api *api, const char *path, struct err *err)
{
	_cleanup_(encryption_config_freep) struct encryption_config *config = NULL;

	if (c->etcd_servers)
		return err_set(err, EINVAL, "other API servers may use that etcd, too, and each has a file of its own; their keys are rotated by "
			       "hand: see keelson(8), ROTATION");
	config = load(path, err);
	if (!config)
		return -EINVAL;
	int r = add_key(api, path, &config, err);

	if (r == 0)
		r = move_secrets(api, config, err);
	return r < 0 ? r : drop_keys(api, path, &config, err);
}

static int status(struct api *api, const char *path, struct err *err)
{
	_cleanup_(encryption_config_freep) struct encryption_config *config = load(path, err);
	struct told told = { 0 };
	int r = config ? ask(api, config, &told, err) : -EINVAL;

	if (r < 0)
		return r;
	const struct encryption_rule *rule = &config->rules[0];

	printf("%-36s %-7s %s\n", "KEY", "WRITES", "SECRETS");
	for (size_t i = 0; i < rule->count; i++) {
		const struct encryption_key *k = &rule->keys[i];

		printf("%-36s %-7s %llu\n", k->provider == ENCRYPTION_IDENTITY ? "(not encrypted)" : k->name, i ? "no" : "yes",
		       (unsigned long long)told.by_key[i]);
	}
	if (!told.has_config)
		puts("the API server has not taken the file as it is now; see keelson logs apiserver");
	if (rule->count > 2)
		puts("a rotation was interrupted; keelson secrets rotate goes on with it");
	return 0;
}

static int run(const struct cluster *c, bool rotates, struct err *err)
{
	_cleanup_free_ char *admin = cluster_path(c, "admin.kubeconfig"), *path = secrets_file(c);
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	int r = 0;

	if (c->server)
		return err_set(err, EINVAL, "this node has joined the cluster of %s; the keys are there", c->server);
	if (!c->encrypts)
		return err_set(err, ENOENT, "this cluster was made without encryption of Secrets");
	r = cluster_enter_netns(c, err);
	if (r == 0)
		r = kubeconfig_load(admin, &config, err);
	if (r == 0)
		r = api_open(&api, &config, err);
	if (r < 0)
		return r;
	return rotates ? rotate(c, &api, path, err) : status(&api, path, err);
}

int command_secrets(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' }, { 0 } };
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o != 's')
			return command_usage("secrets", "wrong option");
		free(state);
		state = command_absolute(optarg);
	}
	const char *verb = optind < argc ? argv[optind] : "";
	bool rotates = str_eq(verb, "rotate");

	if ((!rotates && !str_eq(verb, "status")) || optind + 1 != argc)
		return command_usage("secrets", "what to do is one of: status, rotate");
	int r = command_load_state(state, &c);

	if (r >= 0)
		return r;
	/* No backup may be between a key and what it has encrypted. */
	if (rotates && command_lock(c.state, &lock, &err) < 0)
		return command_fail(&err);
	return run(&c, rotates, &err) < 0 ? command_fail(&err) : 0;
}
