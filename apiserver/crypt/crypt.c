// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The encryption configuration in force. What always holds: a configuration that cannot read what is stored never replaces one that
 * can (the store says so), and a value is only ever returned whole.
 */
#include "apiserver/crypt/crypt.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apiserver/crypt/seal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

enum { LOOK_EVERY_MS = 1000, FORMS_MAX = 4096 };

struct crypt {
	char *file;
	struct encryption_config *config;
	struct stat seen;  /* of the file that was looked at last */
	bool refused;      /* it is well formed, but what is stored needs another one */
	uv_timer_t *timer; /* own; freed by its closing. NULL: not watched */
	crypt_accept_fn accept;
	crypt_taken_fn taken;
	void *user;
};

/* The keys that were met. Only their fingerprints are kept: what is dropped from the file is dropped from memory. */
static struct form {
	enum encryption_provider provider;
	char *label; /* "secretbox:NAME" */
	uint8_t fingerprint[SHA256_DIGEST_LENGTH];
} forms[FORMS_MAX];
static uint16_t form_count = 1;

static void fingerprint(const struct encryption_key *k, uint8_t out[static SHA256_DIGEST_LENGTH])
{
	SHA256(k->secret, k->len, out);
}

static bool is_form(const struct form *f, const struct encryption_key *k)
{
	uint8_t mine[SHA256_DIGEST_LENGTH];
	const char *name;

	if (f->provider != k->provider || !(name = str_after(f->label, encryption_provider_name(k->provider))) ||
	    !str_eq(name + 1, k->name))
		return false;
	fingerprint(k, mine);
	return memcmp(mine, f->fingerprint, sizeof(mine)) == 0;
}

static uint16_t form_of(const struct encryption_key *k)
{
	if (k->provider == ENCRYPTION_IDENTITY)
		return 0;
	for (uint16_t i = 1; i < form_count; i++)
		if (is_form(&forms[i], k))
			return i;
	/* After thousands of rotations in one process the last number stands for several: then values are rewritten more than need be. */
	uint16_t at = form_count < FORMS_MAX ? form_count++ : FORMS_MAX - 1;

	free(forms[at].label);
	forms[at].provider = k->provider;
	forms[at].label = str_printf("%s:%s", encryption_provider_name(k->provider), k->name);
	fingerprint(k, forms[at].fingerprint);
	return at;
}

const char *crypt_form_name(uint16_t form)
{
	return form ? forms[form].label : "identity";
}

uint16_t crypt_form_count(void)
{
	return form_count;
}

static const struct encryption_rule *rule_of(const struct encryption_config *config, const char *place)
{
	const char *slash = strchr(place, '/');
	char group[256] = "";

	if (slash)
		snprintf(group, sizeof(group), "%.*s", (int)(slash - place), place);
	return encryption_rule_find(config, group, slash ? slash + 1 : place);
}

static const struct encryption_key *first_key(const struct crypt *c, const char *place)
{
	const struct encryption_rule *rule = c ? rule_of(c->config, place) : NULL;

	return rule && rule->keys[0].provider != ENCRYPTION_IDENTITY ? &rule->keys[0] : NULL;
}

bool crypt_is_stale(const struct crypt *c, const char *place, uint16_t form)
{
	const struct encryption_key *k = first_key(c, place);

	return k ? form != form_of(k) : form != 0;
}

bool crypt_encrypts(const struct crypt *c, const char *place)
{
	return first_key(c, place);
}

bool crypt_form_fits(uint16_t form, const struct encryption_config *config, const char *place)
{
	const struct encryption_rule *rule = rule_of(config, place);
	bool fits = !rule && !form;

	for (size_t i = 0; rule && i < rule->count && !fits; i++)
		fits = form ? is_form(&forms[form], &rule->keys[i]) : rule->keys[i].provider == ENCRYPTION_IDENTITY;
	return fits;
}

static void count(const char *type, const char *place, const char *prefix, bool good)
{
	char labels[512];
	const char *slash = strchr(place, '/');

	snprintf(labels, sizeof(labels), "resource=\"%s%s%.*s\",status=\"%s\",transformation_type=\"%s\",transformer_prefix=\"%s\"",
		 slash ? slash + 1 : place, slash ? "." : "", slash ? (int)(slash - place) : 0, place, good ? "OK" : "Internal", type,
		 prefix);
	metrics_counter_add("apiserver_storage_transformation_operations_total",
			    "Total number of transformations. Successful transformation will have a status 'OK'.", labels, 1);
}

/* "k8s:enc:aescbc:v1:" */
static const char *provider_prefix(const struct encryption_key *k, char out[static 48])
{
	snprintf(out, 48, ENCRYPTION_PREFIX "%s:v1:", encryption_provider_name(k->provider));
	return out;
}

struct bytes *crypt_seal(const struct crypt *c, const char *place, const char *context, const void *data, size_t len,
			 uint16_t *ret_form)
{
	const struct encryption_key *k = first_key(c, place);
	char prefix[48];

	*ret_form = 0;
	if (!k)
		return NULL;
	struct strbuf out = { 0 };

	strbuf_addf(&out, "%s%s:", provider_prefix(k, prefix), k->name);
	seal_add(&out, k, context, data, len);
	struct bytes *sealed = bytes_new(out.data, out.len);

	strbuf_done(&out);
	*ret_form = form_of(k);
	count("to_storage", place, prefix, true);
	return sealed;
}

static bool is_sealed(const void *data, size_t len)
{
	return len >= strlen(ENCRYPTION_PREFIX) && memcmp(data, ENCRYPTION_PREFIX, strlen(ENCRYPTION_PREFIX)) == 0;
}

/* The start of a value up to where the sealed part begins, as far as it is text. */
static void name_prefix(const char *data, size_t len, char out[static 64])
{
	size_t n = 0, colons = 0;

	for (; n < 63 && n < len && data[n] > ' ' && data[n] < 127 && data[n] != '"' && colons < 5; n++) {
		out[n] = data[n];
		colons += data[n] == ':';
	}
	out[n] = '\0';
}

static int open_sealed(const struct encryption_rule *rule, const char *place, const char *context, const char *data, size_t len,
		       struct bytes **ret, uint16_t *ret_form, struct err *err)
{
	const struct encryption_key *met = NULL;
	char start[64], prefix[48];

	for (size_t i = 0; rule && i < rule->count; i++) {
		const struct encryption_key *k = &rule->keys[i];

		if (k->provider == ENCRYPTION_IDENTITY)
			continue;
		_cleanup_free_ char *mine = encryption_key_prefix(k);
		size_t n = strlen(mine);

		if (len < n || memcmp(data, mine, n) != 0)
			continue;
		if (!met)
			met = k;
		*ret = seal_open(k, context, data + n, len - n);
		if (!*ret)
			continue;
		*ret_form = form_of(k);
		count("from_storage", place, provider_prefix(k, prefix), true);
		return 0;
	}
	count("from_storage", place, met ? provider_prefix(met, prefix) : "unknown", false);
	if (met) {
		*ret_form = form_of(met);
		return err_set(err, EBADMSG, "the key \"%s\" of the provider %s does not open it: it is damaged, or another key had that name",
			       met->name, encryption_provider_name(met->provider));
	}
	name_prefix(data, len, start);
	return err_set(err, ENOKEY, "it is encrypted (%s...) by a key that the encryption configuration does not have for %s", start, place);
}

int crypt_open(const struct crypt *c, const char *place, const char *context, const void *data, size_t len, struct bytes **ret,
	       uint16_t *ret_form, struct err *err)
{
	const struct encryption_rule *rule = c ? rule_of(c->config, place) : NULL;
	bool identity = !rule;

	*ret_form = 0;
	if (is_sealed(data, len))
		return open_sealed(rule, place, context, data, len, ret, ret_form, err);
	for (size_t i = 0; rule && i < rule->count; i++)
		identity |= rule->keys[i].provider == ENCRYPTION_IDENTITY;
	if (!identity)
		return err_set(err, ENOKEY, "it is not encrypted, and the encryption configuration has no identity provider for %s", place);
	*ret = bytes_new(data, len);
	return 0;
}

/* The file */

/* Whether it is another one than at the last look. It is looked at before it is read: what changes meanwhile is seen next time. */
static bool look(struct crypt *c)
{
	struct stat st = { 0 }, old = c->seen;

	if (stat(c->file, &st) < 0)
		st = (struct stat){ 0 };
	c->seen = st;
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) && st.st_mode != old.st_mode)
		log_warn("%s has the mode %04o: others than its owner may read or change the keys; chmod 600 it", c->file, st.st_mode & 07777);
	return st.st_ino != old.st_ino || st.st_size != old.st_size || st.st_mtim.tv_sec != old.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != old.st_mtim.tv_nsec || st.st_ctim.tv_sec != old.st_ctim.tv_sec ||
	       st.st_ctim.tv_nsec != old.st_ctim.tv_nsec;
}

static void tell_config(const struct crypt *c)
{
	static char *told;
	char *labels = str_printf("hash=\"%s\"", c->config->hash);
	const char *name = "apiserver_encryption_config_controller_last_config_info",
		   *help = "Information about the last applied encryption configuration with hash as label.";

	if (told)
		metrics_gauge_set(name, help, told, 0);
	metrics_gauge_set(name, help, labels, 1);
	free(told);
	told = labels;
}

struct crypt *crypt_new(const char *file, struct err *err)
{
	struct crypt *c = mem_new(struct crypt);

	c->file = mem_strdup(file);
	look(c);
	c->config = encryption_config_load(file, err);
	if (!c->config)
		return crypt_free(c);
	tell_config(c);
	return c;
}

static void on_timer_closed(uv_handle_t *h)
{
	free(h);
}

struct crypt *crypt_free(struct crypt *c)
{
	if (!c)
		return NULL;
	if (c->timer)
		uv_close((uv_handle_t *)c->timer, on_timer_closed);
	encryption_config_free(c->config);
	free(c->file);
	free(c);
	return NULL;
}

static void tell_reload(bool good)
{
	const char *labels = good ? "status=\"success\"" : "status=\"failure\"";

	metrics_counter_add("apiserver_encryption_config_controller_automatic_reloads_total",
			    "Total number of reload successes and failures of encryption configuration.", labels, 1);
	metrics_gauge_set("apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
			  "Timestamp of the last successful or failed automatic reload of encryption configuration.", labels,
			  (double)clock_wall_us() / 1e6);
}

/* again: it was refused before, which need not be said again. */
static void reload(struct crypt *c, bool again)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_(encryption_config_freep) struct encryption_config *next = encryption_config_load(c->file, &err);

	c->refused = false;
	if (next && str_eq(next->hash, c->config->hash))
		return;
	if (!next || c->accept(next, &err, c->user) < 0) {
		c->refused = next;
		if (again)
			return;
		log_error("the encryption configuration was not taken, the former one stays in force: %s", err_msg(&err));
		tell_reload(false);
		return;
	}
	encryption_config_free(c->config);
	c->config = TAKE(next);
	log_info("the encryption configuration was taken file=%s", c->file);
	tell_reload(true);
	tell_config(c);
	c->taken(c->user);
}

static void on_timer(uv_timer_t *timer)
{
	struct crypt *c = timer->data;
	bool changed = look(c);

	if (changed || c->refused)
		reload(c, !changed);
}

void crypt_watch(struct crypt *c, uv_loop_t *loop, crypt_accept_fn accept, crypt_taken_fn taken, void *user)
{
	c->accept = accept;
	c->taken = taken;
	c->user = user;
	c->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, c->timer);
	c->timer->data = c;
	uv_timer_start(c->timer, on_timer, LOOK_EVERY_MS, LOOK_EVERY_MS);
}
