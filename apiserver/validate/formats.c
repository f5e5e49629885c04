/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String formats of the API and the messages for what breaks them. A check is linear in the string and allocates only
 * for messages. */
#include "apiserver/validate/validate_internal.h"

#include <arpa/inet.h>
#include <ctype.h>

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define QUALIFIED_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? for len bytes. extra: further characters allowed inside. */
static bool label_shape(const char *s, size_t len, const char *extra)
{
	if (len == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_lower_alnum(s[i]) && s[i] != '-' && !strchr(extra, s[i]))
			return false;
	return true;
}

/* Labels joined by dots, without limits of length. underscore: "_" may begin a label and stand inside. */
static bool subdomain_shape(const char *s, bool underscore)
{
	for (;;) {
		const char *dot = strchrnul(s, '.');

		if (underscore && *s == '_')
			s++;
		if (!label_shape(s, (size_t)(dot - s), underscore ? "_" : ""))
			return false;
		if (!*dot)
			return true;
		s = dot + 1;
	}
}

void fmt_dns_label(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 63)
		strlist_add(msgs, "must be no more than 63 characters");
	if (label_shape(s, strlen(s), ""))
		return;
	if (subdomain_shape(s, false))
		strlist_add(msgs, "must not contain dots");
	else
		strlist_add(
			msgs,
			"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
			"must "
			"start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
			"validation is '" LABEL_RE "')");
}

void fmt_dns_subdomain(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 253)
		strlist_add(msgs, "must be no more than 253 characters");
	if (!subdomain_shape(s, false))
		strlist_add(msgs,
			    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
			    "'.', "
			    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
			    "validation is '" LABEL_RE "(\\." LABEL_RE ")*')");
}

void fmt_dns_subdomain_underscore(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 253)
		strlist_add(msgs, "must be no more than 253 characters");
	if (!subdomain_shape(s, true))
		strlist_add(msgs,
			    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', "
			    "'-' or "
			    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
			    "used for "
			    "validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')");
}

void fmt_dns1035_label(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 63)
		strlist_add(msgs, "must be no more than 63 characters");
	if (!label_shape(s, strlen(s), "") || isdigit((unsigned char)*s))
		strlist_add(
			msgs,
			"a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
			"alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
			"regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
}

void fmt_wildcard_subdomain(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 253)
		strlist_add(msgs, "must be no more than 253 characters");
	if (!str_starts(s, "*.") || !subdomain_shape(s + 2, false))
		strlist_add(msgs, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
				  "subdomain, which must "
				  "consist of lower case alphanumeric characters, '-' or '.' and end with an "
				  "alphanumeric character "
				  "(e.g. '*.example.com', regex used for validation is '\\*\\." LABEL_RE "(\\." LABEL_RE
				  ")*')");
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool qualified_shape(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

static void prefix_part(const char *s, size_t len, struct strlist *msgs)
{
	_cleanup_free_ char *prefix = mem_strndup(s, len);
	_cleanup_strlist_ struct strlist sub = {0};

	if (len == 0) {
		strlist_add(msgs, "prefix part must be non-empty");
		return;
	}
	fmt_dns_subdomain(prefix, &sub);
	for (size_t i = 0; i < sub.count; i++)
		strlist_addf(msgs, "prefix part %s",
			     str_starts(sub.items[i], "must be no more") ? "must be no more than 253 bytes"
									 : sub.items[i]);
}

void fmt_qualified_name(const char *s, struct strlist *msgs)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;

	if (slash && strchr(name, '/')) {
		strlist_add(
			msgs,
			"a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start "
			"and end "
			"with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
			"validation is '" QUALIFIED_RE "') with an optional DNS subdomain prefix and '/' (e.g. "
			"'example.com/MyName')");
		return;
	}
	if (slash)
		prefix_part(s, (size_t)(slash - s), msgs);
	if (!*name)
		strlist_add(msgs, "name part must be non-empty");
	else if (strlen(name) > 63)
		strlist_add(msgs, "name part must be no more than 63 bytes");
	if (!qualified_shape(name))
		strlist_add(msgs, "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
				  "and end with an "
				  "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
				  "validation is "
				  "'" QUALIFIED_RE "')");
}

void fmt_label_value(const char *s, struct strlist *msgs)
{
	if (strlen(s) > 63)
		strlist_add(msgs, "must be no more than 63 bytes");
	if (*s && !qualified_shape(s))
		strlist_add(msgs, "a valid label must be an empty string or consist of alphanumeric characters, '-', "
				  "'_' or '.', and "
				  "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
				  "or '12345', "
				  "regex used for validation is '(" QUALIFIED_RE ")?')");
}

void fmt_path_segment(const char *s, struct strlist *msgs)
{
	if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
		strlist_addf(msgs, "may not be '%s'", s);
		return;
	}
	if (strchr(s, '/'))
		strlist_add(msgs, "may not contain '/'");
	if (strchr(s, '%'))
		strlist_add(msgs, "may not contain '%'");
}

void fmt_port_name(const char *s, struct strlist *msgs)
{
	bool letter = false, shape = *s;

	for (const char *p = s; *p; p++) {
		letter |= *p >= 'a' && *p <= 'z';
		shape &= is_lower_alnum(*p) || *p == '-';
	}
	if (strlen(s) > 15)
		strlist_add(msgs, "must be no more than 15 characters");
	if (!shape)
		strlist_add(msgs, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
	if (!letter)
		strlist_add(msgs, "must contain at least one letter (a-z)");
	if (strstr(s, "--"))
		strlist_add(msgs, "must not contain consecutive hyphens");
	if (*s && (*s == '-' || s[strlen(s) - 1] == '-'))
		strlist_add(msgs, "must not begin or end with a hyphen");
}

void fmt_env_name(const char *s, struct strlist *msgs)
{
	bool shape = true;

	for (const char *p = s; *p; p++)
		shape &= *p >= 0x20 && *p < 0x7f && *p != '=';
	if (!*s)
		strlist_add(msgs, "environment variable name must be non-empty");
	if (!shape)
		strlist_add(msgs, "a valid environment variable name must consist only of printable ASCII characters "
				  "other than '='");
}

void fmt_config_key(const char *s, struct strlist *msgs)
{
	bool shape = *s;

	for (const char *p = s; *p; p++)
		shape &= is_alnum(*p) || strchr("-._", *p);
	if (strlen(s) > 253)
		strlist_add(msgs, "must be no more than 253 characters");
	if (!shape)
		strlist_add(msgs, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
				  "'key.name',  or "
				  "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
	if (strcmp(s, ".") == 0)
		strlist_add(msgs, "must not be '.'");
	else if (strcmp(s, "..") == 0)
		strlist_add(msgs, "must not be '..'");
	else if (str_starts(s, ".."))
		strlist_add(msgs, "must not start with '..'");
}

void fmt_percent(const char *s, struct strlist *msgs)
{
	size_t digits = strspn(s, "0123456789");

	if (digits == 0 || strcmp(s + digits, "%") != 0)
		strlist_add(msgs, "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
				  "'1%',  or '93%', "
				  "regex used for validation is '[0-9]+%')");
}

void fmt_http_header(const char *s, struct strlist *msgs)
{
	bool shape = *s;

	for (const char *p = s; *p; p++)
		shape &= is_alnum(*p) || *p == '-';
	if (!shape)
		strlist_add(msgs, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
				  "'X-Header-Name', regex "
				  "used for validation is '[-A-Za-z0-9]+')");
}

/* An address of either family, "" when it is none. Leading zeros, which inet_pton refuses, are reported and read as
 * decimal. */
struct ip {
	int family;
	unsigned char bytes[16];
	bool leading_zeros, mapped;
};

static bool ipv4_parse(const char *s, unsigned char out[4], bool *ret_zeros)
{
	bool zeros = false;

	for (int i = 0; i < 4; i++) {
		size_t n = strspn(s, "0123456789");
		unsigned value = 0;

		if (n == 0)
			return false;
		zeros |= n > 1 && *s == '0';
		for (size_t k = 0; k < n && value < 1000; k++)
			value = value * 10 + (unsigned)(s[k] - '0');
		if (value > 255 || s[n] != (i < 3 ? '.' : '\0'))
			return false;
		out[i] = (unsigned char)value;
		s += n + 1;
	}
	*ret_zeros = zeros;
	return true;
}

static bool ip_parse(const char *s, struct ip *ret)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct ip ip = {0};

	if (ipv4_parse(s, ip.bytes, &ip.leading_zeros)) {
		ip.family = 4;
	} else if (inet_pton(AF_INET6, s, ip.bytes) == 1) {
		ip.family = 6;
		ip.mapped = memcmp(ip.bytes, mapped, sizeof(mapped)) == 0;
	} else {
		return false;
	}
	*ret = ip;
	return true;
}

static void ip_write(const struct ip *ip, char out[static INET6_ADDRSTRLEN])
{
	inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->bytes, out, INET6_ADDRSTRLEN);
}

int ip_family(const char *s)
{
	_cleanup_free_ char *address = mem_strndup(s, strcspn(s, "/"));
	struct ip ip;

	return ip_parse(address, &ip) ? ip.mapped ? 4 : ip.family : 0;
}

bool ip_canonical(const char *s, char out[static INET6_ADDRSTRLEN])
{
	struct ip ip;

	if (!ip_parse(s, &ip))
		return false;
	if (ip.mapped) {
		ip.family = 4;
		memmove(ip.bytes, ip.bytes + 12, 4);
	}
	ip_write(&ip, out);
	return true;
}

void fmt_ip(const char *s, struct strlist *msgs)
{
	struct ip ip;

	if (!ip_parse(s, &ip))
		strlist_add(msgs, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	else if (ip.leading_zeros)
		strlist_add(msgs, "must not have leading 0s");
	else if (ip.mapped)
		strlist_add(msgs, "must not be an IPv4-mapped IPv6 address");
}

void fmt_ip_canonical(const char *s, struct strlist *msgs)
{
	char text[INET6_ADDRSTRLEN];
	size_t before = msgs->count;
	struct ip ip;

	fmt_ip(s, msgs);
	if (msgs->count > before || !ip_parse(s, &ip))
		return;
	ip_write(&ip, text);
	if (strcmp(text, s) != 0)
		strlist_addf(msgs, "must be in canonical form (\"%s\")", text);
}

static bool cidr_parse(const char *s, struct ip *ret_ip, int *ret_bits, bool *ret_zeros)
{
	_cleanup_free_ char *address = mem_strndup(s, strcspn(s, "/"));
	const char *bits_text = strchr(s, '/');
	struct ip ip;
	uint64_t bits;

	if (!bits_text || !ip_parse(address, &ip) || str_to_u64(bits_text + 1, 128, &bits) < 0)
		return false;
	if (bits > (ip.family == 4 ? 32 : 128))
		return false;
	*ret_ip = ip;
	*ret_bits = (int)bits;
	*ret_zeros = ip.leading_zeros || (bits_text[1] == '0' && bits_text[2]);
	return true;
}

/* Clears the bits behind the prefix. True when one was set. */
static bool ip_mask(struct ip *ip, int bits)
{
	bool set = false;

	for (int i = bits; i < (ip->family == 4 ? 32 : 128); i++) {
		unsigned char bit = 0x80 >> (i % 8);

		set |= ip->bytes[i / 8] & bit;
		ip->bytes[i / 8] &= (unsigned char)~bit;
	}
	return set;
}

bool cidr_strictly_within(const char *inner, const char *outer)
{
	struct ip a, b;
	int a_bits, b_bits;
	bool zeros;

	if (!cidr_parse(inner, &a, &a_bits, &zeros) || !cidr_parse(outer, &b, &b_bits, &zeros))
		return false;
	if (a.family != b.family || a_bits <= b_bits)
		return false;
	ip_mask(&a, b_bits);
	ip_mask(&b, b_bits);
	return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

void fmt_cidr(const char *s, struct strlist *msgs)
{
	struct ip ip;
	bool zeros;
	int bits;

	if (!cidr_parse(s, &ip, &bits, &zeros)) {
		strlist_add(msgs, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
		return;
	}
	if (zeros)
		strlist_add(msgs, "must not have leading 0s in IP or prefix length");
	if (ip.mapped)
		strlist_add(msgs, "must not have an IPv4-mapped IPv6 address");
	if (ip_mask(&ip, bits))
		strlist_add(msgs, "must not have bits set beyond the prefix length");
}

void fmt_cidr_canonical(const char *s, struct strlist *msgs)
{
	_cleanup_free_ char *want = NULL;
	char text[INET6_ADDRSTRLEN];
	size_t before = msgs->count;
	struct ip ip;
	bool zeros;
	int bits;

	fmt_cidr(s, msgs);
	if (msgs->count > before || !cidr_parse(s, &ip, &bits, &zeros))
		return;
	ip_write(&ip, text);
	want = str_printf("%s/%d", text, bits);
	if (strcmp(want, s) != 0)
		strlist_addf(msgs, "must be in canonical form (\"%s\")", want);
}

void fmt_endpoint_ip(const char *s, struct strlist *msgs)
{
	static const unsigned char zero[16];
	struct ip ip;
	const unsigned char *b = ip.bytes;
	bool v4;

	if (!ip_parse(s, &ip)) {
		strlist_add(msgs, "must be a valid IP address");
		return;
	}
	if (ip.mapped)
		b += 12;
	v4 = ip.family == 4 || ip.mapped;
	if (memcmp(b, zero, v4 ? 4 : 16) == 0)
		strlist_addf(msgs, "may not be unspecified (%s)", s);
	if (v4 ? b[0] == 127 : memcmp(b, zero, 15) == 0 && b[15] == 1)
		strlist_add(msgs, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	if (v4 ? b[0] == 169 && b[1] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
		strlist_add(msgs, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	if (v4 ? b[0] == 224 && b[1] == 0 && b[2] == 0 : b[0] == 0xff && (b[1] & 0x0f) == 2)
		strlist_add(msgs, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

bool format_ok(format_fn fn, const char *s)
{
	_cleanup_strlist_ struct strlist msgs = {0};

	fn(s, &msgs);
	return msgs.count == 0;
}

void check_format(struct field_errors *e, const struct fpath *p, const char *s, format_fn fn)
{
	_cleanup_strlist_ struct strlist msgs = {0};

	fn(s, &msgs);
	for (size_t i = 0; i < msgs.count; i++)
		fe_invalid(e, p, s, "%s", msgs.items[i]);
}
