// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/auth/front_proxy.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"

enum { CA_MAX_BYTES = 1 << 20, MAX_VALUES = 100 };

struct front_proxy {
	X509_STORE *store;
	STACK_OF(X509) *authorities;
	struct strlist allowed, usernames, uids, groups, extras;
};

static int read_authorities(struct front_proxy *f, const char *file, struct err *err)
{
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	int rc = file_read(file, CA_MAX_BYTES, &pem);
	if (rc < 0)
		return err_set(err, -rc, "read --requestheader-client-ca-file %s: %s", file, strerror(-rc));
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
		X509_STORE_add_cert(f->store, cert);
		sk_X509_push(f->authorities, cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	return sk_X509_num(f->authorities) ? 0 : err_set(err, EINVAL, "--requestheader-client-ca-file %s holds no certificate (PEM)", file);
}

static void split(struct strlist *out, const char *text, const char *fallback)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	strlist_split(&parts, text ? text : fallback, ',');
	for (size_t i = 0; i < parts.count; i++)
		if (*parts.items[i])
			strlist_add(out, parts.items[i]);
}

struct front_proxy *front_proxy_new(const struct front_proxy_options *o, struct err *err)
{
	struct front_proxy *f = mem_new(struct front_proxy);
	f->store = X509_STORE_new();
	f->authorities = sk_X509_new_null();
	split(&f->allowed, o->allowed_names, "");
	split(&f->usernames, o->username_headers, "X-Remote-User");
	split(&f->uids, o->uid_headers, "X-Remote-Uid");
	split(&f->groups, o->group_headers, "X-Remote-Group");
	split(&f->extras, o->extra_prefixes, "X-Remote-Extra-");
	return read_authorities(f, o->client_ca_file, err) < 0 ? front_proxy_free(f) : f;
}

struct front_proxy *front_proxy_free(struct front_proxy *f)
{
	if (!f)
		return NULL;
	X509_STORE_free(f->store);
	sk_X509_pop_free(f->authorities, X509_free);
	strlist_done(&f->allowed);
	strlist_done(&f->usernames);
	strlist_done(&f->uids);
	strlist_done(&f->groups);
	strlist_done(&f->extras);
	free(f);
	return NULL;
}

void front_proxy_announce(const struct front_proxy *f, SSL_CTX *server)
{
	for (int i = 0; i < sk_X509_num(f->authorities); i++)
		SSL_CTX_add_client_CA(server, sk_X509_value(f->authorities, i));
}

/* A client certificate of the proxies' CA, with an allowed name. */
static bool is_proxy(const struct front_proxy *f, X509 *cert)
{
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	char name[256] = "";
	bool good = false;
	if (check && X509_STORE_CTX_init(check, f->store, cert, NULL) == 1) {
		X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_CLIENT);
		good = X509_verify_cert(check) == 1;
	}
	X509_STORE_CTX_free(check);
	ERR_clear_error();
	if (!good || !f->allowed.count)
		return good;
	int len = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
	return len > 0 && strlen(name) == (size_t)len && strlist_has(&f->allowed, name);
}

/* The first of the headers that has a value, or NULL. */
static const char *first_of(const struct strlist *names, struct call *c)
{
	for (size_t i = 0; i < names->count; i++) {
		const char *value = http_header(c->req, names->items[i]);
		if (!str_empty(value))
			return arena_strdup(c->arena, value);
	}
	return NULL;
}

/* What follows the prefix in the header's name, lower case and unescaped; NULL: another header. */
static const char *extra_key(struct call *c, const struct strlist *prefixes, const char *header)
{
	for (size_t i = 0; i < prefixes->count; i++) {
		size_t len = strlen(prefixes->items[i]);
		_cleanup_strbuf_ struct strbuf b = { 0 };
		if (strncasecmp(header, prefixes->items[i], len) != 0 || !header[len])
			continue;
		if (url_decode(&b, header + len, strlen(header + len), false) < 0 || memchr(b.data, 0, b.len))
			return NULL;
		char *key = arena_strdup(c->arena, b.data);
		for (char *p = key; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		return key;
	}
	return NULL;
}

bool front_proxy_identity(const struct front_proxy *f, struct call *c, struct identity *ret)
{
	X509 *cert = f ? http_peer_cert(c->req) : NULL;
	const char *name = cert ? first_of(&f->usernames, c) : NULL, *uid, *header, *value;
	size_t groups = 0, extras = 0;
	if (!name || !is_proxy(f, cert))
		return false;
	const char **group_list = arena_alloc(c->arena, (MAX_VALUES + 2) * sizeof(*group_list));
	const char **keys = arena_alloc(c->arena, (MAX_VALUES + 1) * sizeof(*keys));
	const char **values = arena_alloc(c->arena, (MAX_VALUES + 1) * sizeof(*values));
	for (size_t i = 0; http_header_at(c->req, i, &header, &value); i++) {
		bool is_group = false;
		for (size_t g = 0; g < f->groups.count; g++)
			is_group |= strcasecmp(header, f->groups.items[g]) == 0;
		const char *key = is_group ? NULL : extra_key(c, &f->extras, header);
		if (is_group && groups < MAX_VALUES)
			group_list[groups++] = arena_strdup(c->arena, value);
		if (key && extras < MAX_VALUES) {
			keys[extras] = key;
			values[extras++] = arena_strdup(c->arena, value);
		}
	}
	uid = first_of(&f->uids, c);
	*ret = (struct identity){ .name = name, .uid = uid ? uid : "", .groups = group_list, .extra_keys = keys, .extra_values = values };
	if (!identity_in_group(ret, "system:authenticated"))
		group_list[groups] = "system:authenticated";
	return true;
}
