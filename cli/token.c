/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson token: bootstrap tokens (Kubernetes' "Authenticating with Bootstrap Tokens": Secrets bootstrap-token-ID of type
 * bootstrap.kubernetes.io/token in kube-system), made and listed through the API as the cluster's administrator.
 */
#include "cli/token.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"
#include "io/tls.h"
#include "kube/object.h"

#define SECRETS "/api/v1/namespaces/kube-system/secrets"
#define NODE_GROUP "system:bootstrappers:keelson:default-node-token"

enum { ID_LEN = 6, SECRET_LEN = 16, DEFAULT_TTL_S = 24 * 3600, CA_MAX_BYTES = 1 << 20, MAX_TTL_S = 10 * 365 * 24 * 3600 };

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

static bool shaped(const char *s, size_t len)
{
	return strspn(s, alphabet) >= len;
}

bool token_shaped(const char *token)
{
	return strlen(token) == TOKEN_SIZE - 1 && shaped(token, ID_LEN) && token[ID_LEN] == '.' &&
	       shaped(token + ID_LEN + 1, SECRET_LEN);
}

static void random_text(char *out, size_t len)
{
	const unsigned char fair = 256 - 256 % (sizeof(alphabet) - 1);

	for (size_t i = 0; i < len;) {
		unsigned char b;

		rand_bytes(&b, 1);
		if (b < fair)
			out[i++] = alphabet[b % (sizeof(alphabet) - 1)];
	}
	out[len] = '\0';
}

int token_ttl_parse(const char *text, int64_t *ret_s)
{
	int64_t total = 0;

	if (str_eq(text, "0")) {
		*ret_s = 0;
		return 0;
	}
	for (const char *p = text; *p || p == text;) {
		size_t len = strspn(p, "0123456789");
		int64_t unit = p[len] == 's' ? 1 : p[len] == 'm' ? 60 : p[len] == 'h' ? 3600 : 0, n = 0;

		if (!len || len > 9 || !unit)
			return -EINVAL;
		for (size_t i = 0; i < len; i++)
			n = n * 10 + (p[i] - '0');
		total += n * unit;
		p += len + 1;
	}
	if (total <= 0 || total > MAX_TTL_S)
		return -EINVAL;
	*ret_s = total;
	return 0;
}

int token_api_open(const struct cluster *c, struct kubeconfig *config, struct api *api, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "admin.kubeconfig");

	if (c->server)
		return err_set(err, EINVAL, "this node has joined the cluster of %s; tokens are made there", c->server);
	int r = kubeconfig_load(path, config, err);

	return r < 0 ? r : api_open(api, config, err);
}

char *token_ca_hash(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "pki/ca.crt");
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	char hash[PKI_HASH_SIZE];
	int r = file_read(path, CA_MAX_BYTES, &pem);

	if (r < 0) {
		err_set(err, -r, "cannot read %s: %s", path, strerror(-r));
		return NULL;
	}
	return pki_public_key_hash(pem.data, hash, err) < 0 ? NULL : str_printf("sha256:%s", hash);
}

static void set_data(json_t *data, const char *name, const char *value)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	base64_encode(&b, value, strlen(value));
	json_object_set_new(data, name, json_string(b.data ? b.data : ""));
}

static int api_failure(const struct api_answer *a, const char *what, struct err *err)
{
	return err_set(err, EIO, "cannot %s: %s", what, a->message);
}

int token_create(struct api *api, int64_t ttl_s, const char *description, char ret[static TOKEN_SIZE], struct err *err)
{
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	char id[ID_LEN + 1], secret[SECRET_LEN + 1], until[CLOCK_RFC3339_SIZE];

	random_text(id, ID_LEN);
	random_text(secret, SECRET_LEN);
	_cleanup_json_ json_t *o = json_pack("{s:s,s:s,s:s,s:{s:s+,s:s},s:{}}", "apiVersion", "v1", "kind", "Secret", "type",
					     "bootstrap.kubernetes.io/token", "metadata", "name", "bootstrap-token-", id,
					     "namespace", "kube-system", "data");
	json_t *data = json_object_get(o, "data");

	set_data(data, "token-id", id);
	set_data(data, "token-secret", secret);
	set_data(data, "usage-bootstrap-authentication", "true");
	set_data(data, "usage-bootstrap-signing", "true");
	set_data(data, "auth-extra-groups", NODE_GROUP);
	if (description)
		set_data(data, "description", description);
	if (ttl_s) {
		clock_format_rfc3339(clock_wall_s() + ttl_s, until);
		set_data(data, "expiration", until);
	}
	if (!api_call(api, "POST", SECRETS, o, &answer))
		return api_failure(&answer, "make the token", err);
	snprintf(ret, TOKEN_SIZE, "%s.%s", id, secret);
	return 0;
}

int token_delete(struct api *api, const char *id, struct err *err)
{
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	_cleanup_free_ char *path = str_printf(SECRETS "/bootstrap-token-%s", id);

	if (api_call(api, "DELETE", path, NULL, &answer))
		return 0;
	if (answer.status == 404)
		return err_set(err, ENOENT, "there is no token %s; keelson token list shows them", id);
	return api_failure(&answer, "delete the token", err);
}

/* An entry of a Secret, decoded; own, "" when it is not there or not text. */
static char *data_text(const json_t *secret, const char *name)
{
	const char *value = json_string_value(json_object_get(json_object_get(secret, "data"), name));
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (!value || base64_decode(&b, value, strlen(value)) < 0 || (b.len && strlen(b.data) != b.len))
		return mem_strdup("");
	return strbuf_take(&b);
}

static void print_token(const json_t *secret)
{
	_cleanup_free_ char *id = data_text(secret, "token-id"), *until = data_text(secret, "expiration");
	_cleanup_free_ char *description = data_text(secret, "description"), *auth = data_text(secret, "usage-bootstrap-authentication");
	int64_t us = 0, left = 0;
	char ttl[32] = "forever";

	if (*until && clock_parse_rfc3339(until, &us) == 0) {
		left = us / 1000000 - clock_wall_s();
		if (left <= 0)
			snprintf(ttl, sizeof(ttl), "over");
		else
			snprintf(ttl, sizeof(ttl), "%lldh%02lldm", (long long)(left / 3600), (long long)(left / 60 % 60));
	}
	/* Anybody may have written the Secret: only what is printable goes to a terminal. */
	for (char *p = description; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = ' ';
	printf("%-8s %-9s %-22s %-6s %s\n", shaped(id, strlen(id)) ? id : "?", ttl, us ? until : "-",
	       str_eq(auth, "true") ? "join" : "-", description);
}

static int list(struct api *api, struct err *err)
{
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	const json_t *secret;
	size_t i;

	if (!api_call(api, "GET", SECRETS "?fieldSelector=type%3Dbootstrap.kubernetes.io/token", NULL, &answer))
		return api_failure(&answer, "list the tokens", err);
	printf("%-8s %-9s %-22s %-6s %s\n", "ID", "TTL", "EXPIRES", "FOR", "DESCRIPTION");
	json_array_foreach(json_object_get(answer.object, "items"), i, secret)
		if (str_eq(json_str(secret, "type"), "bootstrap.kubernetes.io/token"))
			print_token(secret);
	return 0;
}

struct options {
	int64_t ttl_s;
	const char *description;
	bool only_token;
};

static int create(const struct cluster *c, struct api *api, const struct options *o, struct err *err)
{
	_cleanup_free_ char *hash = token_ca_hash(c, err), *server = cluster_server(c);
	char token[TOKEN_SIZE];
	int r = hash ? token_create(api, o->ttl_s, o->description, token, err) : -EIO;

	if (r < 0)
		return r;
	if (o->only_token)
		puts(token);
	else
		printf("keelson join %s --token %s --ca-hash %s\n", server, token, hash);
	return 0;
}

static int run(const struct cluster *c, const char *verb, const char *id, const struct options *o)
{
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	_cleanup_err_ struct err err = { 0 };
	int r = cluster_enter_netns(c, &err);

	if (r == 0)
		r = token_api_open(c, &config, &api, &err);
	if (r == 0)
		r = str_eq(verb, "create") ? create(c, &api, o, &err) : str_eq(verb, "list") ? list(&api, &err) :
											     token_delete(&api, id, &err);
	if (r == 0 && id)
		printf("token %s deleted\n", id);
	return r < 0 ? command_fail(&err) : 0;
}

int command_token(int argc, char **argv)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },       { "ttl", required_argument, NULL, 't' },
		{ "description", required_argument, NULL, 'd' }, { "print-join-command", no_argument, NULL, 'p' },
		{ "print-token", no_argument, NULL, 'T' },       { 0 },
	};
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	struct options o = { .ttl_s = DEFAULT_TTL_S };
	bool create_only = false;

	for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		create_only |= opt != 's';
		switch (opt) {
		case 's':
			free(state);
			state = command_absolute(optarg);
			break;
		case 't':
			if (token_ttl_parse(optarg, &o.ttl_s) < 0)
				return command_usage("token", "--ttl \"%s\" is not a time such as 24h, 90m or 1h30m (0: without end)", optarg);
			break;
		case 'd': o.description = optarg; break;
		case 'p': o.only_token = false; break;
		case 'T': o.only_token = true; break;
		default: return command_usage("token", "wrong option");
		}
	}
	const char *verb = optind < argc ? argv[optind] : "", *id = optind + 1 < argc ? argv[optind + 1] : NULL;
	bool deletes = str_eq(verb, "delete");

	if ((!str_eq(verb, "create") && !str_eq(verb, "list") && !deletes) || optind + 1 + deletes != argc)
		return command_usage("token", "what to do is one of: create, list, delete ID");
	if (create_only && !str_eq(verb, "create"))
		return command_usage("token", "only create takes options besides --state");
	/* A whole token names its ID too. */
	if (deletes && token_shaped(id))
		argv[optind + 1][ID_LEN] = '\0';
	if (deletes && (strlen(id) != ID_LEN || !shaped(id, ID_LEN)))
		return command_usage("token", "\"%s\" is not the ID of a token: six letters and digits", id);
	int r = command_load_state(state, &c);

	return r >= 0 ? r : run(&c, verb, id, &o);
}
