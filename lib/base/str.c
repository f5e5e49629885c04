/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String buffer, lists, number parsing, encodings. Nothing here knows of networks or Kubernetes objects. */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/mem.h"

void strbuf_done(struct strbuf *b)
{
	free(b->data);
	*b = (struct strbuf){ 0 };
}

void strbuf_reset(struct strbuf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void strbuf_reserve(struct strbuf *b, size_t extra)
{
	BUG_ON(extra > SIZE_MAX / 4);
	if (b->len + extra + 1 <= b->cap)
		return;
	MEM_GROW(b->data, b->cap, b->len + extra + 1);
	b->data[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
	strbuf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
	if (s)
		strbuf_add(b, s, strlen(s));
}

void strbuf_addc(struct strbuf *b, char c)
{
	strbuf_reserve(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list ap2;

	va_copy(ap2, ap);
	strbuf_reserve(b, 64);
	int n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);

	BUG_ON(n < 0);
	if ((size_t)n >= b->cap - b->len) {
		strbuf_reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap2);
	}
	va_end(ap2);
	b->len += (size_t)n;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(b, fmt, ap);
	va_end(ap);
}

/* What a character is written as: 0 as it is, 'u' by its number, else behind a backslash. */
static const char json_escapes[256] = {
	[0 ... 8] = 'u', ['\t'] = 't', ['\n'] = 'n', [11 ... 12] = 'u', ['\r'] = 'r', [14 ... 31] = 'u', ['"'] = '"', ['\\'] = '\\',
};

void strbuf_add_json(struct strbuf *b, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t run = 0;

	strbuf_reserve(b, len + 2);
	b->data[b->len++] = '"';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		char escape = json_escapes[c];

		if (!escape)
			continue;
		strbuf_add(b, s + run, i - run);
		run = i + 1;
		if (escape == 'u')
			strbuf_add(b, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
		else
			strbuf_add(b, (char[]){ '\\', escape }, 2);
	}
	strbuf_add(b, s + run, len - run);
	strbuf_addc(b, '"');
}

char *strbuf_take(struct strbuf *b)
{
	if (!b->data)
		return mem_strdup("");
	char *p = b->data;

	*b = (struct strbuf){ 0 };
	return p;
}

char *str_printf(const char *fmt, ...)
{
	char small[256];
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);

	va_end(ap);
	BUG_ON(n < 0);
	char *s = mem_alloc((size_t)n + 1);

	if ((size_t)n < sizeof(small))
		memcpy(s, small, (size_t)n + 1);
	else
		vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

bool str_starts(const char *s, const char *prefix)
{
	return str_after(s, prefix) != NULL;
}

const char *str_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s && strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = s ? strlen(s) : 0, m = strlen(suffix);

	return s && n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int str_to_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (str_empty(s))
		return -EINVAL;
	for (; *s; s++) {
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		uint64_t d = (uint64_t)(*s - '0');

		if (v > (UINT64_MAX - d) / 10)
			return -ERANGE;
		v = v * 10 + d;
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	bool neg = s && *s == '-';
	uint64_t u;
	int r = str_to_u64(neg ? s + 1 : s, neg ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, &u);

	if (r < 0)
		return r;
	int64_t v = neg ? (int64_t)(0 - u) : (int64_t)u;

	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

void strlist_done(struct strlist *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct strlist){ 0 };
}

void strlist_take(struct strlist *l, char *s)
{
	MEM_GROW(l->items, l->cap, l->count + 2);
	l->items[l->count++] = s;
	l->items[l->count] = NULL;
}

void strlist_add(struct strlist *l, const char *s)
{
	strlist_take(l, mem_strdup(s));
}

void strlist_addf(struct strlist *l, const char *fmt, ...)
{
	struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	strlist_take(l, strbuf_take(&b));
}

bool strlist_has(const struct strlist *l, const char *s)
{
	for (size_t i = 0; i < l->count; i++)
		if (str_eq(l->items[i], s))
			return true;
	return false;
}

void strlist_split(struct strlist *l, const char *s, char sep)
{
	while (s && *s) {
		const char *e = strchrnul(s, sep);

		if (e > s)
			strlist_take(l, mem_strndup(s, (size_t)(e - s)));
		s = *e ? e + 1 : e;
	}
}

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void b64_enc(struct strbuf *out, const void *data, size_t len, const char *alphabet, bool pad)
{
	const unsigned char *p = data;

	strbuf_reserve(out, (len + 2) / 3 * 4);
	for (size_t i = 0; i < len; i += 3) {
		size_t n = MIN(len - i, (size_t)3);
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0u);

		for (size_t k = 0; k < 4; k++) {
			if (k <= n)
				strbuf_addc(out, alphabet[v >> (18 - 6 * k) & 63]);
			else if (pad)
				strbuf_addc(out, '=');
		}
	}
}

static int b64_val(unsigned char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

static int b64_dec(struct strbuf *out, const char *s, size_t len, bool url)
{
	size_t start = out->len, n = len;

	if (!url) {
		if (len % 4)
			return -EINVAL;
		while (n && len - n < 2 && s[n - 1] == '=')
			n--;
	}
	if (n % 4 == 1)
		return -EINVAL;
	strbuf_reserve(out, n / 4 * 3 + 3);
	for (size_t i = 0; i < n; i += 4) {
		size_t m = MIN(n - i, (size_t)4);
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < m ? b64_val((unsigned char)s[i + k], url) : 0;

			if (d < 0) {
				out->len = start;
				return -EINVAL;
			}
			v = v << 6 | (uint32_t)d;
		}
		unsigned char raw[3] = { (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v };

		strbuf_add(out, raw, m - 1);
	}
	return 0;
}

void base64_encode(struct strbuf *out, const void *data, size_t len)
{
	b64_enc(out, data, len, b64_std, true);
}

void base64url_encode(struct strbuf *out, const void *data, size_t len)
{
	b64_enc(out, data, len, b64_url, false);
}

int base64_decode(struct strbuf *out, const char *s, size_t len)
{
	return b64_dec(out, s, len, false);
}

int base64url_decode(struct strbuf *out, const char *s, size_t len)
{
	return b64_dec(out, s, len, true);
}

void hex_encode(struct strbuf *out, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		strbuf_addc(out, digits[p[i] >> 4]);
		strbuf_addc(out, digits[p[i] & 15]);
	}
}

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(struct strbuf *out, const char *s, size_t len, bool plus_is_space)
{
	size_t start = out->len;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '%') {
			int hi = len - i > 2 ? hex_val(s[i + 1]) : -1, lo = hi >= 0 ? hex_val(s[i + 2]) : -1;

			if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
				out->len = start;
				return -EINVAL;
			}
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		strbuf_addc(out, c);
	}
	return 0;
}

void url_encode(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (isalnum(c) || strchr("-._~", c))
			strbuf_addc(out, (char)c);
		else
			strbuf_addf(out, "%%%02X", c);
	}
}

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

uint64_t hash_str(const char *s)
{
	return hash_bytes(s, strlen(s), 0);
}

static void rand_from_kernel(void *out, size_t len)
{
	char *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		BUG_ON(n <= 0);
		p += n;
		len -= (size_t)n;
	}
}

/* Identifiers and seeds are small and many: bytes for them are fetched ahead, a system call each would cost more than the rest.
 * A byte is wiped when it is given out; a forked child begins with none. */
static _Thread_local struct {
	unsigned char bytes[512];
	size_t left;
} rand_ahead;

static void rand_forget(void)
{
	rand_ahead.left = 0;
}

static void rand_watch_forks(void)
{
	BUG_ON(pthread_atfork(NULL, NULL, rand_forget));
}

void rand_bytes(void *out, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (len > sizeof(rand_ahead.bytes) / 8) {
		rand_from_kernel(out, len);
		return;
	}
	if (rand_ahead.left < len) {
		pthread_once(&once, rand_watch_forks);
		rand_from_kernel(rand_ahead.bytes, sizeof(rand_ahead.bytes));
		rand_ahead.left = sizeof(rand_ahead.bytes);
	}
	rand_ahead.left -= len;
	memcpy(out, rand_ahead.bytes + rand_ahead.left, len);
	explicit_bzero(rand_ahead.bytes + rand_ahead.left, len);
}

void rand_suffix(char *out, size_t len)
{
	/* 27 characters without vowels and look-alikes, so that no word appears. */
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

	for (size_t i = 0; i < len; i++) {
		unsigned char r;

		do
			rand_bytes(&r, 1);
		while (r >= 243); /* 9 * 27: no modulo bias */
		out[i] = alphabet[r % 27];
	}
	out[len] = '\0';
}

void rand_uuid(char out[37])
{
	unsigned char u[16];

	rand_bytes(u, sizeof(u));
	u[6] = (unsigned char)((u[6] & 0x0f) | 0x40);
	u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
	for (size_t i = 0, at = 0; i < sizeof(u); i++) {
		static const char hex[] = "0123456789abcdef";

		out[at++] = hex[u[i] >> 4];
		out[at++] = hex[u[i] & 15];
		if (i == 3 || i == 5 || i == 7 || i == 9)
			out[at++] = '-';
	}
	out[36] = '\0';
}
