/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson up: prepares the machine, starts the supervisor, and waits until the cluster is usable. Every step prints a
 * line with its time. Run again, it finds the cluster up and changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/daemons.h"
#include "cli/node.h"
#include "cli/pki.h"
#include "cli/supervisor.h"
#include "kube/client.h"
#include "kube/object.h"

extern char **environ;

enum { STEP_TIMEOUT_MS = 60000, POLL_MS = 20 };

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
}

static int step_daemons(struct cluster *c, struct err *err)
{
	_cleanup_strbuf_ struct strbuf config = { 0 };
	_cleanup_free_ char *path = cluster_path(c, "containerd/config.toml");

	containerd_config(c, &config);
	int r = file_write_atomic(path, config.data, config.len, 0600);

	_cleanup_strbuf_ struct strbuf text = { 0 };

	if (r < 0)
		return err_set(err, -r, "cannot write %s: %s", path, strerror(-r));
	return supervisor_ask(c->state, "status", &text, NULL) == 0 ? 0 : supervisor_spawn(c, err);
}

/* Waits until the supervisor calls a daemon (NULL: all) healthy. */
static int wait_healthy(const struct cluster *c, const char *name, struct err *err)
{
	int64_t deadline = clock_mono_ms() + STEP_TIMEOUT_MS;
	_cleanup_free_ char *last = mem_strdup("the supervisor does not answer; see logs/supervisor.log");

	for (; clock_mono_ms() < deadline; nap()) {
		_cleanup_strbuf_ struct strbuf text = { 0 };
		size_t i, bad = 0;
		json_t *d;

		if (supervisor_ask(c->state, "status", &text, NULL) < 0)
			continue;
		_cleanup_json_ json_t *v = json_parse(text.data, text.len, NULL, NULL);

		json_array_foreach(v, i, d) {
			if ((name && !str_eq(json_str(d, "name"), name)) || json_bool(d, "healthy", false))
				continue;
			bad++;
			free(last);
			last = str_printf("%s is not healthy: %s (log: %s/logs/%s.log)", json_str_or(d, "name", ""),
					  json_str_or(d, "health", ""), c->state, json_str_or(d, "name", ""));
		}
		if (v && !bad)
			return 0;
	}
	return err_set(err, ETIMEDOUT, "%s", last);
}

static int import_image(const char *socket, const char *archive)
{
	const char *const argv[] = { "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive, NULL };
	posix_spawn_file_actions_t quiet;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int r = posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)argv, environ);

	posix_spawn_file_actions_destroy(&quiet);
	return r == 0 && waitpid(pid, &status, 0) > 0 && status == 0 ? 0 : -EIO;
}

static int step_images(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *socket = containerd_socket(c);
	int r = c->runtime_endpoint ? 0 : wait_healthy(c, "containerd", err);

	/* One after the other: containerd locks an archive's index by its name, and that is the same in all of them. */
	for (size_t i = 0; r == 0 && i < c->images.count; i++)
		if (import_image(socket, c->images.items[i]) < 0)
			r = err_set(err, EIO, "cannot load the image archive %s with ctr", c->images.items[i]);
	return r;
}

struct get {
	bool done;
	json_t *object;
	char *why;
};

static void on_get(const struct kube_result *r, void *user)
{
	struct get *g = user;

	g->done = true;
	if (kube_ok(r))
		g->object = json_incref(r->object);
	else
		g->why = mem_strdup(r->message);
}

/* One GET, waited for. Own, or NULL. */
static json_t *get(uv_loop_t *loop, struct kube_client *kc, const char *path, char **why)
{
	struct get g = { 0 };

	kube_do(kc, "GET", path, NULL, NULL, on_get, &g);
	while (!g.done)
		uv_run(loop, UV_RUN_ONCE);
	free(*why);
	*why = g.why;
	return g.object;
}

/* The node is Ready and pods can be created in the default namespace. */
static bool usable(uv_loop_t *loop, struct kube_client *kc, const char *node_path, char **why)
{
	_cleanup_json_ json_t *node = get(loop, kc, node_path, why);

	if (!node)
		return false;
	if (!object_condition_true(node, "Ready")) {
		free(*why);
		*why = str_printf("the node is not ready: %s", json_str_or(object_condition(node, "Ready"), "message", "no status yet"));
		return false;
	}
	_cleanup_json_ json_t *sa = get(loop, kc, "/api/v1/namespaces/default/serviceaccounts/default", why);

	return sa != NULL;
}

static int wait_ready(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "admin.kubeconfig"), *why = NULL;
	_cleanup_free_ char *node_path = kube_path("v1", "nodes", NULL, c->node_name, NULL);
	int64_t deadline = clock_mono_ms() + STEP_TIMEOUT_MS;
	struct kubeconfig config;
	uv_loop_t loop;
	int r = kubeconfig_load(path, &config, err);

	if (r < 0)
		return r;
	uv_loop_init(&loop);
	struct kube_client *kc = kube_client_new(&loop, &config, "keelson-up", err);

	r = kc ? -ETIMEDOUT : -EIO;
	while (kc && r < 0 && clock_mono_ms() < deadline) {
		if (usable(&loop, kc, node_path, &why))
			r = 0;
		else
			nap();
	}
	if (kc && r < 0)
		err_set(err, ETIMEDOUT, "the node did not become ready in %d s: %s (log: %s/logs/agent.log)",
			STEP_TIMEOUT_MS / 1000, why ? why : "no answer", c->state);
	kube_client_free(kc);
	/* The close callbacks of what was freed. */
	for (int i = 0; i < 100 && uv_loop_close(&loop) == UV_EBUSY; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	kubeconfig_done(&config);
	return r;
}

static int step_machine(struct cluster *c, struct err *err)
{
	int r = node_check(c, err);

	if (r < 0)
		return r;
	r = node_prepare_netns(c, err);
	if (r == 0)
		r = cluster_complete(c, err);
	if (r == 0)
		r = cluster_save(c, err); /* from here on `keelson down` knows what to undo */
	if (r < 0)
		node_remove_netns(c);
	return r;
}

static int step_prepare(struct cluster *c, struct err *err)
{
	int r = node_prepare(c, err);
	_cleanup_err_ struct err later = { 0 };

	if (cluster_save(c, &later) < 0 && r == 0)
		return err_set(err, later.code, "%s", err_msg(&later));
	return r;
}

static int step_pki(struct cluster *c, struct err *err)
{
	return pki_prepare(c, err);
}

static int step_api(struct cluster *c, struct err *err)
{
	return wait_healthy(c, "apiserver", err);
}

static int step_node(struct cluster *c, struct err *err)
{
	int r = wait_ready(c, err);

	if (r == 0)
		r = wait_healthy(c, NULL, err);
	if (r == 0 && !c->complete) {
		c->complete = true;
		r = cluster_save(c, err);
	}
	return r;
}

static const struct {
	const char *text;
	int (*run)(struct cluster *c, struct err *err);
} steps[] = {
	{ "machine checked", step_machine },
	{ "network, cgroups and BPF file system prepared", step_prepare },
	{ "certificates and kubeconfigs", step_pki },
	{ "daemons started", step_daemons },
	{ "images loaded", step_images },
	{ "API server answers", step_api },
	{ "node ready", step_node },
};

static int run_steps(struct cluster *c)
{
	_cleanup_err_ struct err err = { 0 };
	int64_t begin = clock_mono_ms();

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int64_t t = clock_mono_ms();

		if (steps[i].run(c, &err) < 0) {
			fprintf(stderr, "keelson up: failed: %s: %s\n", steps[i].text, err_msg(&err));
			return 1;
		}
		printf("  %-48s %6.2f s\n", steps[i].text, (double)(clock_mono_ms() - t) / 1000);
		fflush(stdout);
	}
	printf("cluster up: node %s (%s) in %.2f s\nkubeconfig: %s/admin.kubeconfig\n", c->node_name, c->node_ip,
	       (double)(clock_mono_ms() - begin) / 1000, c->state);
	return 0;
}

static void set_text(char **p, const char *value)
{
	free(*p);
	*p = mem_strdup(value);
}

static const struct option options[] = {
	{ "state", required_argument, NULL, 's' },          { "netns", required_argument, NULL, 'n' },
	{ "node-name", required_argument, NULL, 'N' },      { "node-ip", required_argument, NULL, 'i' },
	{ "service-cidr", required_argument, NULL, 'S' },   { "cluster-cidr", required_argument, NULL, 'C' },
	{ "cluster-domain", required_argument, NULL, 'd' }, { "runtime-endpoint", required_argument, NULL, 'r' },
	{ "image", required_argument, NULL, 'I' },          { 0 },
};

static int parse(int argc, char **argv, struct cluster *c)
{
	struct ip_addr a;
	struct ip_prefix p;

	c->state = mem_strdup(CLUSTER_DEFAULT_STATE);
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 's':
			free(c->state);
			c->state = command_absolute(optarg);
			break;
		case 'n':
			if (!*optarg || strlen(optarg) > 64 || strpbrk(optarg, "/ ") || *optarg == '.')
				return command_usage("up", "--netns \"%s\" is not a name", optarg);
			set_text(&c->netns, optarg);
			break;
		case 'N': set_text(&c->node_name, optarg); break;
		case 'i':
			if (ip_parse(optarg, &a) < 0)
				return command_usage("up", "--node-ip \"%s\" is not an address", optarg);
			set_text(&c->node_ip, optarg);
			break;
		case 'S':
		case 'C':
			if (ip_prefix_parse(optarg, &p) < 0 || p.addr.family != AF_INET)
				return command_usage("up", "\"%s\" is not an IPv4 range such as 10.96.0.0/12", optarg);
			set_text(o == 'S' ? &c->service_cidr : &c->cluster_cidr, optarg);
			break;
		case 'd': set_text(&c->cluster_domain, optarg); break;
		case 'r':
			if (!str_starts(optarg, "unix:///"))
				return command_usage("up", "--runtime-endpoint must be unix:///PATH");
			set_text(&c->runtime_endpoint, optarg);
			break;
		case 'I':
			if (access(optarg, R_OK) < 0)
				return command_usage("up", "--image %s cannot be read: %s", optarg, strerror(errno));
			strlist_take(&c->images, command_absolute(optarg));
			break;
		default: return command_usage("up", "wrong option");
		}
	}
	if (optind < argc)
		return command_usage("up", "unexpected argument \"%s\"", argv[optind]);
	return 0;
}

/* What an existing cluster was set up with must not be changed by a later `up`. */
static int check_same(const struct cluster *asked, const struct cluster *is, struct err *err)
{
	const char *const pairs[][3] = {
		{ "--netns", asked->netns, is->netns },
		{ "--node-name", asked->node_name, is->node_name },
		{ "--node-ip", asked->node_ip, is->node_ip },
		{ "--service-cidr", asked->service_cidr, is->service_cidr },
		{ "--cluster-cidr", asked->cluster_cidr, is->cluster_cidr },
		{ "--cluster-domain", asked->cluster_domain, is->cluster_domain },
		{ "--runtime-endpoint", asked->runtime_endpoint, is->runtime_endpoint },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i][1] && !str_eq(pairs[i][1], pairs[i][2]))
			return err_set(err, EINVAL, "the cluster in %s has %s %s, not %s; remove it first: keelson down --purge",
				       is->state, pairs[i][0], pairs[i][2] ? pairs[i][2] : "(none)", pairs[i][1]);
	return 0;
}

/* Makes the state directory and holds it. Which user may not, and which path cannot be used, shows here. */
static int take_state(const struct cluster *c, int *ret_lock, struct err *err)
{
	int r = geteuid() != 0 ? err_set(err, EPERM, "keelson runs as root: network, cgroups and BPF need it") :
				 cluster_check_state(c->state, err);

	if (r < 0)
		return r;
	do {
		r = file_mkdir_p(c->state, 0700);
		if (r < 0)
			return err_set(err, -r, "cannot make %s: %s", c->state, strerror(-r));
		err_done(err);
		r = command_lock(c->state, ret_lock, err);
	} while (r == -ENOENT); /* a `down --purge` has just ended */
	return r;
}

int command_up(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster asked = { 0 }, is = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_close_ int lock = -1;
	int r = parse(argc, argv, &asked);

	if (r)
		return r;
	if (take_state(&asked, &lock, &err) < 0)
		return command_fail(&err);
	r = cluster_load(asked.state, &is, &err);
	if (r < 0 && r != -ENOENT)
		return command_fail(&err);
	if (r == -ENOENT) {
		asked.bin_dir = command_bin_dir();
		r = run_steps(&asked);
		(void)rmdir(asked.state); /* when it failed before it left anything */
		return r;
	}
	if (check_same(&asked, &is, &err) < 0)
		return command_fail(&err);
	/* One that a failed `up` has left is gone on with. */
	if (is.complete && supervisor_ask(is.state, "status", &text, NULL) == 0) {
		if (cluster_enter_netns(&is, &err) < 0 || step_node(&is, &err) < 0)
			return command_fail(&err);
		printf("the cluster is up: node %s (%s), nothing changed\nkubeconfig: %s/admin.kubeconfig\n", is.node_name,
		       is.node_ip, is.state);
		return 0;
	}
	is.bin_dir = command_bin_dir();
	is.images = asked.images;
	asked.images = (struct strlist){ 0 };
	return run_steps(&is);
}
