// SPDX-License-Identifier: GPL-2.0-or-later
/* The providers. AES is OpenSSL's, secretbox libsodium's. */
#include "apiserver/crypt/seal.h"

#include <openssl/evp.h>
#include <sodium.h>

enum { CBC_IV = 16, CBC_BLOCK = 16, GCM_NONCE = 12, GCM_TAG = 16 };

static const EVP_CIPHER *cipher_of(const struct encryption_key *k)
{
	bool gcm = k->provider == ENCRYPTION_AESGCM;

	switch (k->len) {
	case 16: return gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
	case 24: return gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
	default: return gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
	}
}

/* OpenSSL's calls fail here for want of memory only. */
static void must(int ok)
{
	BUG_ON(ok != 1);
}

static EVP_CIPHER_CTX *begin(const struct encryption_key *k, const uint8_t *iv, const char *context, bool encrypt)
{
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
	int n;

	BUG_ON(!x);
	must(EVP_CipherInit_ex(x, cipher_of(k), NULL, k->secret, iv, encrypt));
	if (k->provider == ENCRYPTION_AESGCM)
		must(EVP_CipherUpdate(x, NULL, &n, (const uint8_t *)context, (int)strlen(context)));
	return x;
}

static void seal_aes(struct strbuf *out, const struct encryption_key *k, const char *context, const void *data, size_t len)
{
	bool gcm = k->provider == ENCRYPTION_AESGCM;
	size_t iv_len = gcm ? GCM_NONCE : CBC_IV;
	int n = 0, last = 0;

	strbuf_reserve(out, iv_len + len + MAX((size_t)CBC_BLOCK, (size_t)GCM_TAG));
	uint8_t *at = (uint8_t *)out->data + out->len;

	rand_bytes(at, iv_len);
	EVP_CIPHER_CTX *x = begin(k, at, context, true);

	at += iv_len;
	must(EVP_CipherUpdate(x, at, &n, data, (int)len));
	must(EVP_CipherFinal_ex(x, at + n, &last));
	at += n + last;
	if (gcm) {
		must(EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, at));
		at += GCM_TAG;
	}
	EVP_CIPHER_CTX_free(x);
	out->len = (size_t)(at - (uint8_t *)out->data);
	*at = '\0';
}

static struct bytes *open_aes(const struct encryption_key *k, const char *context, const uint8_t *data, size_t len)
{
	bool gcm = k->provider == ENCRYPTION_AESGCM, good;
	size_t iv_len = gcm ? GCM_NONCE : CBC_IV, tail = gcm ? GCM_TAG : 0;
	int n = 0, last = 0;

	if (len < iv_len + tail || len > INT32_MAX || (!gcm && (len == iv_len || (len - iv_len) % CBC_BLOCK)))
		return NULL;
	size_t inner = len - iv_len - tail;
	_cleanup_(bytes_unrefp) struct bytes *plain = bytes_new_uninit(inner + CBC_BLOCK);
	EVP_CIPHER_CTX *x = begin(k, data, context, false);

	good = EVP_CipherUpdate(x, (uint8_t *)plain->data, &n, data + iv_len, (int)inner) == 1;
	if (good && gcm)
		good = EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, (void *)(data + iv_len + inner)) == 1;
	good = good && EVP_CipherFinal_ex(x, (uint8_t *)plain->data + n, &last) == 1;
	EVP_CIPHER_CTX_free(x);
	return good ? bytes_new(plain->data, (size_t)(n + last)) : NULL;
}

static void seal_secretbox(struct strbuf *out, const struct encryption_key *k, const void *data, size_t len)
{
	strbuf_reserve(out, crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + len);
	uint8_t *nonce = (uint8_t *)out->data + out->len;

	rand_bytes(nonce, crypto_secretbox_NONCEBYTES);
	BUG_ON(crypto_secretbox_easy(nonce + crypto_secretbox_NONCEBYTES, data, len, nonce, k->secret) != 0);
	out->len += crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + len;
	out->data[out->len] = '\0';
}

static struct bytes *open_secretbox(const struct encryption_key *k, const uint8_t *data, size_t len)
{
	const size_t extra = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;

	if (len < extra || len > INT32_MAX)
		return NULL;
	struct bytes *plain = bytes_new_uninit(len - extra);

	if (crypto_secretbox_open_easy((uint8_t *)plain->data, data + crypto_secretbox_NONCEBYTES,
				       len - crypto_secretbox_NONCEBYTES, data, k->secret) == 0)
		return plain;
	return bytes_unref(plain);
}

/* libsodium picks the code for this processor. */
static void start_sodium(void)
{
	static bool done;

	if (!done)
		BUG_ON(sodium_init() < 0);
	done = true;
}

void seal_add(struct strbuf *out, const struct encryption_key *k, const char *context, const void *data, size_t len)
{
	BUG_ON(k->provider == ENCRYPTION_IDENTITY || len > INT32_MAX / 2);
	if (k->provider != ENCRYPTION_SECRETBOX) {
		seal_aes(out, k, context, data, len);
		return;
	}
	start_sodium();
	seal_secretbox(out, k, data, len);
}

struct bytes *seal_open(const struct encryption_key *k, const char *context, const void *data, size_t len)
{
	BUG_ON(k->provider == ENCRYPTION_IDENTITY);
	if (k->provider != ENCRYPTION_SECRETBOX)
		return open_aes(k, context, data, len);
	start_sodium();
	return open_secretbox(k, data, len);
}
