// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of an etcd's members and the connection to one of them. */
#include "apiserver/store/etcd.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/net.h"
#include "io/tls.h"

enum { PEM_MAX_BYTES = 1 << 20, MEMBERS_MAX = 16 };

struct etcd {
	uv_loop_t *loop;
	struct strlist members; /* "tcp://IP:PORT" */
	size_t current;
	SSL_CTX *tls; /* NULL: cleartext */
	int64_t compaction_ms;
	struct grpc_client *client;
};

static int read_pem(const char *option, const char *file, struct strbuf *out, struct err *err)
{
	int rc = file ? file_read(file, PEM_MAX_BYTES, out) : 0;
	return rc < 0 ? err_set(err, -rc, "read %s %s: %s", option, file, strerror(-rc)) : 0;
}

static int load_tls(struct etcd *e, const struct etcd_options *o, struct err *err)
{
	_cleanup_strbuf_ struct strbuf ca = { 0 }, cert = { 0 }, key = { 0 };
	int rc = read_pem("--etcd-cafile", o->ca_file, &ca, err);
	if (!rc)
		rc = read_pem("--etcd-certfile", o->cert_file, &cert, err);
	if (!rc)
		rc = read_pem("--etcd-keyfile", o->key_file, &key, err);
	if (rc)
		return rc;
	e->tls = tls_client_new(ca.data, cert.data, key.data, true, err);
	return e->tls ? 0 : -EINVAL;
}

/* "IP:PORT" or "[IP]:PORT"? */
static bool is_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[';
	struct ip_addr a;
	uint64_t port;
	if (!colon || str_to_u64(colon + 1, 65535, &port) < 0 || !port || (v6 && colon[-1] != ']'))
		return false;
	_cleanup_free_ char *host = v6 ? mem_strndup(text + 1, (size_t)(colon - text) - 2) : mem_strndup(text, (size_t)(colon - text));
	return ip_parse(host, &a) == 0 && (a.family == AF_INET6) == v6;
}

static int add_member(struct etcd *e, const char *url, bool *tls, struct err *err)
{
	const char *secure = str_after(url, "https://"), *address = secure ? secure : str_after(url, "http://");
	if (!address || !is_address(address))
		return err_set(err, EINVAL, "--etcd-servers: \"%s\" is not https://IP:PORT (host names are not looked up)", url);
	if (e->members.count && *tls != !!secure)
		return err_set(err, EINVAL, "--etcd-servers: either all are https or none is");
	if (e->members.count == MEMBERS_MAX)
		return err_set(err, EINVAL, "--etcd-servers: more than %d", MEMBERS_MAX);
	*tls = secure;
	strlist_addf(&e->members, "tcp://%s", address);
	return 0;
}

/* As Go writes a time.Duration of hours, minutes and seconds: "5m0s", "30s", "0". */
static int parse_interval(const char *text, int64_t *ret_ms, struct err *err)
{
	int64_t total = 0;
	const char *p = text;
	while (*p && !str_eq(text, "0")) {
		size_t digits = strspn(p, "0123456789");
		int64_t n = 0, unit = p[digits] == 's' ? 1 : p[digits] == 'm' ? 60 : p[digits] == 'h' ? 3600 : 0;
		if (!digits || digits > 6 || !unit)
			break;
		for (size_t i = 0; i < digits; i++)
			n = n * 10 + (p[i] - '0');
		total += n * unit;
		p += digits + 1;
	}
	if (p == text ? !str_eq(text, "0") : *p)
		return err_set(err, EINVAL, "--etcd-compaction-interval: \"%s\" is not a time such as 5m0s or 30s; 0: never", text);
	*ret_ms = total * 1000;
	return 0;
}

struct etcd *etcd_new(uv_loop_t *loop, const struct etcd_options *o, struct err *err)
{
	struct etcd *e = mem_new(struct etcd);
	_cleanup_free_ char *text = mem_strdup(o->servers);
	bool tls = false;
	int rc = 0;
	e->loop = loop;
	for (char *at = text, *next; !rc && at; at = next) {
		next = strchr(at, ',');
		if (next)
			*next++ = '\0';
		rc = add_member(e, at, &tls, err);
	}
	if (!rc && !!o->cert_file != !!o->key_file)
		rc = err_set(err, EINVAL, "--etcd-certfile and --etcd-keyfile go together");
	if (!rc)
		rc = parse_interval(o->compaction_interval, &e->compaction_ms, err);
	if (!rc && tls)
		rc = load_tls(e, o, err);
	if (!rc)
		return e;
	etcd_free(e);
	return NULL;
}

void etcd_free(struct etcd *e)
{
	if (!e)
		return;
	grpc_client_free(e->client);
	SSL_CTX_free(e->tls);
	strlist_done(&e->members);
	free(e);
}

void etcd_next_member(struct etcd *e)
{
	grpc_client_free(TAKE(e->client));
	e->current = (e->current + 1) % e->members.count;
}

const char *etcd_member(const struct etcd *e)
{
	return str_after(e->members.items[e->current], "tcp://");
}

int64_t etcd_compaction_ms(const struct etcd *e)
{
	return e->compaction_ms;
}

size_t etcd_member_count(const struct etcd *e)
{
	return e->members.count;
}

struct grpc_call *etcd_call(struct etcd *e, const char *path, const ProtobufCMessage *request, unsigned timeout_ms,
			    grpc_message_fn on_message, grpc_done_fn on_done, void *user)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	_cleanup_free_ uint8_t *data = mem_alloc(len + 1);
	protobuf_c_message_pack(request, data);
	if (!e->client) {
		e->client = grpc_client_new(e->loop, e->members.items[e->current]);
		if (e->tls)
			grpc_client_set_tls(e->client, e->tls);
	}
	return grpc_call_start(e->client, path, data, len, NULL, timeout_ms, on_message, on_done, user);
}
