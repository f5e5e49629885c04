/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/*
 * Any text as an encryption configuration: refused with a reason, or what its keys seal they open. And any bytes behind a key's
 * prefix as a stored value: refused, or opened within bounds; authenticated providers refuse whatever they have not made.
 */
#include "apiserver/crypt/seal.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_any(const uint8_t *data, size_t size)
{
	static const char bytes[] = "0123456789abcdef0123456789abcdef";

	for (enum encryption_provider p = ENCRYPTION_AESCBC; p < ENCRYPTION_PROVIDER_MAX; p++) {
		struct encryption_key k = { .provider = p, .name = (char *)"k", .len = 32 };

		memcpy(k.secret, bytes, 32);
		struct bytes *plain = seal_open(&k, "secrets:a/b", data, size);

		BUG_ON(plain && (p != ENCRYPTION_AESCBC || plain->len >= size));
		bytes_unref(plain);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_(encryption_config_freep) struct encryption_config *c = encryption_config_parse((const char *)data, size, &err);

	open_any(data, size);
	if (!c) {
		BUG_ON(!err.message);
		return 0;
	}
	BUG_ON(!c->count);
	for (size_t i = 0; i < c->count; i++) {
		const struct encryption_rule *rule = &c->rules[i];

		BUG_ON(!rule->count || !rule->resources.count);
		for (size_t j = 0; j < rule->count; j++) {
			const struct encryption_key *k = &rule->keys[j];
			_cleanup_strbuf_ struct strbuf sealed = { 0 };
			_cleanup_(bytes_unrefp) struct bytes *plain = NULL;

			if (k->provider == ENCRYPTION_IDENTITY)
				continue;
			seal_add(&sealed, k, "secrets:a/b", data, size);
			plain = seal_open(k, "secrets:a/b", sealed.data, sealed.len);
			BUG_ON(!plain || plain->len != size || memcmp(plain->data, data, size) != 0);
		}
	}
	(void)encryption_rule_find(c, "apps", "deployments");
	return 0;
}
