/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson join: makes this machine a further node of a cluster. The CA is believed because its public key has the hash
 * that the administrator was given with the token; everything later is verified with that CA. What fails before the
 * daemons are started leaves nothing behind; after that the machine is a node, and joining again goes on.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/csr.h"
#include "cli/node.h"
#include "cli/pki.h"
#include "cli/steps.h"
#include "cli/supervisor.h"
#include "cli/token.h"
#include "io/tls.h"
#include "kube/object.h"

enum { CA_MAX_BYTES = 1 << 20 };

struct join {
	char *token;
	char *ca_hash; /* lower-case hex */
	bool fresh;    /* the machine was no node before */
};

/* One who may say who it is, or nobody: token and verified are apart. */
static int open_as(const struct cluster *c, const char *token, bool verified, struct kubeconfig *config, struct api *api,
		   struct err *err)
{
	*config = (struct kubeconfig){ .server = mem_strdup(c->server), .token = mem_strdup(token),
				       .ca_file = verified ? cluster_path(c, "pki/ca.crt") : NULL,
				       .insecure_skip_tls_verify = !verified };
	return api_open(api, config, err);
}

static int unreachable(const struct cluster *c, const char *why, struct err *err)
{
	return err_set(err, EHOSTUNREACH, "%s does not answer: %s; is the address right, does keelson run there, and does no "
		       "firewall stand between?", c->server, why);
}

/* Extracts the CA from what the server publishes for those who want to join. Own PEM text, or NULL. */
static char *published_ca(const json_t *info, struct err *err)
{
	const char *text = json_str(info, "data.kubeconfig"), *encoded;
	_cleanup_json_ json_t *config = text ? yaml_parse_peer(text, strlen(text), err) : NULL;
	_cleanup_strbuf_ struct strbuf pem = { 0 };

	encoded = json_str(config, "clusters[0].cluster.certificate-authority-data");
	if (!encoded || base64_decode(&pem, encoded, strlen(encoded)) < 0 || !pem.len || pem.len > CA_MAX_BYTES ||
	    strlen(pem.data) != pem.len) {
		err_set(err, EBADMSG, "the server's ConfigMap kube-public/cluster-info has no certificate authority in it");
		return NULL;
	}
	return strbuf_take(&pem);
}

/* Asks for the CA without being able to trust the answer; its hash decides. */
static int fetch_ca(const struct cluster *c, const struct join *j, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "pki/ca.crt"), *dir = cluster_path(c, "pki");
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	char hash[PKI_HASH_SIZE];
	int r = open_as(c, NULL, false, &config, &api, err);

	if (r < 0)
		return r;
	if (!api_call(&api, "GET", "/api/v1/namespaces/kube-public/configmaps/cluster-info", NULL, &answer))
		return answer.status ? err_set(err, EPROTO, "%s does not tell its certificate authority (%s); is it a keelson or "
					       "kubeadm cluster's API server?", c->server, answer.message) :
				       unreachable(c, answer.message, err);
	_cleanup_free_ char *pem = published_ca(answer.object, err);

	if (!pem || pki_public_key_hash(pem, hash, err) < 0)
		return -EBADMSG;
	if (!str_eq(hash, j->ca_hash))
		return err_set(err, EKEYREJECTED, "the certificate authority of %s has the hash sha256:%s, not sha256:%s: --ca-hash is "
			       "another cluster's, or somebody else answers at this address; keelson token create prints the right "
			       "one", c->server, hash, j->ca_hash);
	r = file_mkdir_p(dir, 0700);
	if (r == 0)
		r = file_write_atomic(path, pem, strlen(pem), 0644);
	return r < 0 ? err_set(err, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* Why a verified call with the token did not succeed, with what to do. */
static int refused(const struct cluster *c, const struct join *j, const struct api_answer *a, const char *what, struct err *err)
{
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(clock_wall_s(), now);
	if (a->status == 0 && (strstr(a->message, "certificate") || strstr(a->message, "SSL")))
		return err_set(err, EKEYREJECTED, "%s cannot be verified: %s; the address must be one that its certificate names "
			       "(keelson up --tls-san there adds one), and this machine's clock (%s) must be right", c->server,
			       a->message, now);
	if (a->status == 0)
		return unreachable(c, a->message, err);
	if (a->status == 401)
		return err_set(err, EACCES, "the server does not know the token %.6s, or it is over; make a new one there: keelson token "
			       "create", j->token);
	if (a->status == 403)
		return err_set(err, EACCES, "the token %.6s may not %s (%s); make one for joining on the server: keelson token create",
			       j->token, what, a->message);
	return err_set(err, EIO, "cannot %s: %s", what, a->message);
}

static void take_config(char **to, const json_t *config, const char *key)
{
	const char *value = json_string_value(json_object_get(json_object_get(config, "data"), key));

	free(*to);
	*to = str_empty(value) ? NULL : mem_strdup(value);
}

/* The cluster's ranges and names. They come from the API, so cluster_complete() checks them as it does options. */
static int fetch_config(struct cluster *c, const struct join *j, struct api *api, struct err *err)
{
	_cleanup_api_answer_ struct api_answer answer = { 0 };

	if (!api_call(api, "GET", "/api/v1/namespaces/kube-system/configmaps/keelson-config", NULL, &answer))
		return answer.status == 404 ? err_set(err, EPROTO, "%s has no ConfigMap kube-system/keelson-config: it is not a keelson "
						      "cluster's API server", c->server) :
					      refused(c, j, &answer, "read the cluster's configuration", err);
	take_config(&c->service_cidr, answer.object, "service-cidr");
	take_config(&c->cluster_cidr, answer.object, "cluster-cidr");
	take_config(&c->cluster_dns, answer.object, "cluster-dns");
	take_config(&c->cluster_domain, answer.object, "cluster-domain");
	take_config(&c->pod_network, answer.object, "pod-network");
	if (!c->service_cidr || !c->cluster_cidr)
		return err_set(err, EPROTO, "the ConfigMap kube-system/keelson-config does not name the cluster's ranges; is the server "
			       "of this version?");
	if (c->cluster_dns)
		c->cluster_dns[strcspn(c->cluster_dns, ",")] = '\0'; /* the primary family's */
	return 0;
}

static bool has_address(const json_t *node, const char *ip)
{
	const json_t *a;
	size_t i;

	json_array_foreach(json_at(node, "status.addresses"), i, a)
		if (str_eq(json_str(a, "type"), "InternalIP") && str_eq(json_str(a, "address"), ip))
			return true;
	return false;
}

/* A live node of this name at another address is another machine. At the same address it is what this one was before. */
static int check_name(const struct cluster *c, struct api *api, struct err *err)
{
	_cleanup_free_ char *path = kube_path("v1", "nodes", NULL, c->node_name, NULL);
	_cleanup_api_answer_ struct api_answer answer = { 0 };

	if (!api_call(api, "GET", path, NULL, &answer) || !object_condition_true(answer.object, "Ready") ||
	    has_address(answer.object, c->node_ip))
		return 0;
	return err_set(err, EEXIST, "the cluster has a node %s already, and it is alive; choose another name by --node-name, or, if that "
		       "machine is gone, remove it: kubectl delete node %s", c->node_name, c->node_name);
}

static int step_find(struct cluster *c, void *user, struct err *err)
{
	const struct join *j = user;
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	int r = node_check(c, err);

	if (r < 0 || (r = node_prepare_netns(c, err)) < 0)
		return r;
	if (!j->token)
		return cluster_complete(c, err); /* all was found out before */
	if ((r = fetch_ca(c, j, err)) < 0 || (r = open_as(c, j->token, true, &config, &api, err)) < 0 ||
	    (r = fetch_config(c, j, &api, err)) < 0 || (r = cluster_complete(c, err)) < 0 || (r = check_name(c, &api, err)) < 0)
		return r;
	return cluster_save(c, err); /* from here on `keelson down` knows what to undo */
}

static int write_kubeconfig(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "pki/agent.kubeconfig");

	return pki_write_kubeconfig(c, path, "agent", false, err);
}

static int step_certificates(struct cluster *c, void *user, struct err *err)
{
	const struct join *j = user;
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	int r;

	if (csr_usable(c)) {
		r = write_kubeconfig(c, err);
	} else if (!j->token) {
		return err_set(err, EKEYEXPIRED, "this node's certificate is over; join again with --token and --ca-hash (keelson token "
			       "create prints them on the server)");
	} else {
		r = open_as(c, j->token, true, &config, &api, err);
		if (r == 0)
			r = csr_obtain(c, &api, CSR_CLIENT, err);
		if (r == 0)
			r = write_kubeconfig(c, err);
	}
	/* The serving certificate is asked for with the node's own identity. */
	return r < 0 ? r : MIN(csr_renew(c, err), 0);
}

static const struct step steps[] = {
	{ "machine checked, cluster found", step_find },
	{ "network, cgroups and BPF file system prepared", step_prepare },
	{ "certificates", step_certificates },
	{ "daemons started", step_daemons },
	{ "images loaded", step_images },
	{ "node ready", step_ready },
};
enum { STEP_PREPARE = 1, STEP_DAEMONS = 3 };

/* A failed join of a machine that was no node leaves it as it was. */
static void undo(struct cluster *c, size_t failed)
{
	_cleanup_err_ struct err err = { 0 };

	if (failed >= STEP_PREPARE && node_remove(c, false, &err) < 0)
		fprintf(stderr, "keelson join: while undoing: %s\n", err_msg(&err));
	node_remove_netns(c);
	int r = file_rm_rf(c->state);

	if (r < 0)
		fprintf(stderr, "keelson join: cannot remove %s: %s\n", c->state, strerror(-r));
}

static int run(struct cluster *c, struct join *j)
{
	int64_t begin = clock_mono_ms();
	size_t failed = 0;

	if (steps_run("join", steps, ARRAY_SIZE(steps), c, j, &failed) < 0) {
		if (j->fresh && failed < STEP_DAEMONS)
			undo(c, failed);
		else if (j->fresh)
			fprintf(stderr, "keelson join: the machine is a node now; keelson join --state %s goes on, keelson down --state %s "
				"--purge takes it away\n", c->state, c->state);
		return 1;
	}
	printf("node %s (%s) has joined the cluster of %s in %.2f s\n", c->node_name, c->node_ip, c->server,
	       (double)(clock_mono_ms() - begin) / 1000);
	return 0;
}

/* What was set up before: it is gone on with, started again or already there. */
static int again(const struct cluster *asked, struct cluster *is, struct join *j)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_err_ struct err err = { 0 };
	bool complete = is->complete;

	if (!is->server) {
		err_set(&err, EEXIST, "this machine has a cluster of its own in %s; remove it first: keelson down --purge", is->state);
		return command_fail(&err);
	}
	if (asked->server && !str_eq(asked->server, is->server)) {
		err_set(&err, EEXIST, "this machine is a node of the cluster of %s already; to leave that: keelson down --purge", is->server);
		return command_fail(&err);
	}
	if ((asked->node_name && !str_eq(asked->node_name, is->node_name)) || (asked->node_ip && !str_eq(asked->node_ip, is->node_ip))) {
		err_set(&err, EEXIST, "this machine is the node %s (%s) already; to change that: keelson down --purge first", is->node_name,
			is->node_ip);
		return command_fail(&err);
	}
	bool running = supervisor_ask(is->state, "status", &text, NULL) == 0;

	if (complete && running) {
		if (cluster_enter_netns(is, &err) < 0 || step_ready(is, NULL, &err) < 0)
			return command_fail(&err);
		printf("node %s (%s) has joined the cluster of %s already, nothing changed\n", is->node_name, is->node_ip, is->server);
		return 0;
	}
	/* The CA is known, and a certificate that can still be used makes the token unnecessary. */
	if (csr_usable(is))
		free(TAKE(j->token));
	return run(is, j);
}

/* A failed join removes the directory, so it must hold nothing of somebody else's. What an interrupted one left may be there. */
static int check_empty(const char *state, struct err *err)
{
	DIR *d = opendir(state);
	bool strange = false;

	for (struct dirent *e; d && (e = readdir(d));)
		strange |= !str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") && !str_eq(e->d_name, "pki");
	if (d)
		closedir(d);
	return strange ? err_set(err, ENOTEMPTY, "the state directory %s holds something else than a node; give another by --state",
				 state) : 0;
}

static const struct option options[] = {
	{ "state", required_argument, NULL, 's' },     { "netns", required_argument, NULL, 'n' },
	{ "node-name", required_argument, NULL, 'N' }, { "node-ip", required_argument, NULL, 'i' },
	{ "token", required_argument, NULL, 't' },     { "ca-hash", required_argument, NULL, 'h' },
	{ "image", required_argument, NULL, 'I' },     { "runtime-endpoint", required_argument, NULL, 'r' },
	{ "node-grace-period", required_argument, NULL, 'g' },
	{ 0 },
};

static int set_ca_hash(struct join *j, const char *text)
{
	const char *hex = str_after(text, "sha256:");

	if (!hex || strlen(hex) != PKI_HASH_SIZE - 1 || strspn(hex, "0123456789abcdefABCDEF") != PKI_HASH_SIZE - 1)
		return command_usage("join", "--ca-hash \"%s\" is not sha256: and 64 hexadecimal digits", text);
	free(j->ca_hash);
	j->ca_hash = mem_strdup(hex);
	for (char *p = j->ca_hash; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

/* "https://HOST[:PORT]", a slash at the end allowed; the port is 6443 unless given. */
static int set_server(struct cluster *c, const char *text)
{
	const char *host = str_after(text, "https://");
	_cleanup_free_ char *authority = host ? mem_strdup(host) : NULL;
	size_t len = authority ? strlen(authority) : 0;

	if (len && authority[len - 1] == '/')
		authority[--len] = '\0';
	if (!len || strpbrk(authority, "/?#@ \t\"'\\"))
		return command_usage("join", "\"%s\" is not the address of an API server, such as https://192.0.2.10:6443", text);
	const char *colon = strrchr(authority, ':'), *bracket = strrchr(authority, ']');
	bool port = colon && (!bracket || colon > bracket);

	free(c->server);
	c->server = str_printf("https://%s%s", authority, port ? "" : ":6443");
	return 0;
}

static int parse(int argc, char **argv, struct cluster *c, struct join *j)
{
	int r = 0;

	c->state = mem_strdup(CLUSTER_DEFAULT_STATE);
	for (int o; r == 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 't':
			if (!token_shaped(optarg))
				return command_usage("join", "--token is not a token: six letters or digits, a dot, sixteen letters or digits");
			free(j->token);
			j->token = mem_strdup(optarg);
			break;
		case 'h': r = set_ca_hash(j, optarg); break;
		case '?': return command_usage("join", "wrong option");
		default: r = command_node_option("join", o, optarg, c);
		}
	}
	if (r)
		return r;
	if (optind + 1 < argc)
		return command_usage("join", "unexpected argument \"%s\"", argv[optind + 1]);
	return optind < argc ? set_server(c, argv[optind]) : 0;
}

static void join_done(struct join *j)
{
	free(j->token);
	free(j->ca_hash);
}

int command_join(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster asked = { 0 }, is = { 0 };
	_cleanup_(join_done) struct join j = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;
	int r = parse(argc, argv, &asked, &j);

	if (r)
		return r;
	if (!j.token != !j.ca_hash)
		return command_usage("join", "--token and --ca-hash are given together: keelson token create prints both");
	if (command_take_state(&asked, &lock, &err) < 0)
		return command_fail(&err);
	r = cluster_load(asked.state, &is, &err);
	if (r < 0 && r != -ENOENT)
		return command_fail(&err);
	asked.bin_dir = command_bin_dir();
	if (r == 0) {
		is.bin_dir = mem_strdup(asked.bin_dir);
		is.images = asked.images;
		asked.images = (struct strlist){ 0 };
		return again(&asked, &is, &j);
	}
	if (!asked.server || !j.token) {
		(void)rmdir(asked.state);
		return command_usage("join", "a machine that is no node yet needs the server's address, --token and --ca-hash: keelson "
				     "token create on the server prints the whole command");
	}
	if (check_empty(asked.state, &err) < 0)
		return command_fail(&err);
	j.fresh = true;
	return run(&asked, &j);
}
