/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of --encryption-provider-config: EncryptionConfiguration of apiserver.config.k8s.io/v1, which says for each resource
 * by which keys its values may be read in the store, the first of them being the one they are written by. Strictly checked, with
 * Kubernetes' rules.
 */
#ifndef KEELSON_KUBE_ENCRYPTION_H
#define KEELSON_KUBE_ENCRYPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum encryption_provider { ENCRYPTION_IDENTITY, ENCRYPTION_AESCBC, ENCRYPTION_AESGCM, ENCRYPTION_SECRETBOX, ENCRYPTION_PROVIDER_MAX };
const char *encryption_provider_name(enum encryption_provider p); /* "aescbc" */

enum { ENCRYPTION_KEY_MAX_BYTES = 32, ENCRYPTION_MAX_KEYS = 1000, ENCRYPTION_MAX_BYTES = 1 << 20, ENCRYPTION_MAX_NAME = 253 };
struct encryption_key {
	enum encryption_provider provider;
	char *name; /* "" for identity */
	size_t len;
	uint8_t secret[ENCRYPTION_KEY_MAX_BYTES];
};
/* An item of the file's `resources`. The keys of all its providers in their order. */
struct encryption_rule {
	struct strlist resources; /* "secrets", "deployments.apps", "*.apps", "*." (the core group), "*.*" */
	struct encryption_key *keys;
	size_t count;
};
struct encryption_config {
	struct encryption_rule *rules;
	size_t count;
	char hash[sizeof("sha256:") + 64]; /* of the text it was read from */
};
/* JSON or YAML. Own, or NULL with err, which never tells a secret. */
struct encryption_config *encryption_config_parse(const char *text, size_t len, struct err *err);
struct encryption_config *encryption_config_load(const char *file, struct err *err);
/* Overwrites the keys. NULL is fine; returns NULL. */
struct encryption_config *encryption_config_free(struct encryption_config *c);
DEFINE_CLEANUP(struct encryption_config *, encryption_config_free)
/* The first rule for a resource; NULL: there is none, its values are as they are. group "" is the core one. */
const struct encryption_rule *encryption_rule_find(const struct encryption_config *c, const char *group, const char *plural);
bool encryption_key_eq(const struct encryption_key *a, const struct encryption_key *b);

/* Kubernetes' prefix of what a key has encrypted, "k8s:enc:aescbc:v1:NAME:". Own; "" for identity. */
#define ENCRYPTION_PREFIX "k8s:enc:"
char *encryption_key_prefix(const struct encryption_key *k);

#endif
