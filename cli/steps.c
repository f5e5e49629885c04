/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of starting a node, whether its control plane is here or elsewhere. */
#include "cli/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/api.h"
#include "cli/daemons.h"
#include "cli/node.h"
#include "cli/supervisor.h"
#include "kube/object.h"

extern char **environ;

enum { STEP_TIMEOUT_MS = 60000, POLL_MS = 20 };

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
}

int step_daemons(struct cluster *c, void *user _unused_, struct err *err)
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

int step_wait_healthy(const struct cluster *c, const char *name, struct err *err)
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

int step_images(struct cluster *c, void *user _unused_, struct err *err)
{
	_cleanup_free_ char *socket = containerd_socket(c);
	int r = c->runtime_endpoint ? 0 : step_wait_healthy(c, "containerd", err);

	/* One after the other: containerd locks an archive's index by its name, and that is the same in all of them. */
	for (size_t i = 0; r == 0 && i < c->images.count; i++)
		if (import_image(socket, c->images.items[i]) < 0)
			r = err_set(err, EIO, "cannot load the image archive %s with ctr", c->images.items[i]);
	return r;
}

/* The node is Ready, and pods can be created in the default namespace (which a joined node may not and need not see). */
static bool usable(struct api *a, const struct cluster *c, const char *node_path, struct api_answer *answer)
{
	if (!api_call(a, "GET", node_path, NULL, answer))
		return false;
	if (!object_condition_true(answer->object, "Ready")) {
		free(answer->message);
		answer->message = str_printf("the node is not ready: %s",
					     json_str_or(object_condition(answer->object, "Ready"), "message", "no status yet"));
		return false;
	}
	return c->server || api_call(a, "GET", "/api/v1/namespaces/default/serviceaccounts/default", NULL, answer);
}

/* The control plane's node says so, as kubeadm has it. A node may not give itself this label, so that it is given here. No taint goes
 * with it: a cluster may have no other node, and in a lab each node is meant to take pods. */
static bool mark_control_plane(struct api *a, const char *node_path, struct api_answer *answer)
{
	static const char label[] = "node-role.kubernetes.io/control-plane";
	json_t *labels;

	if (!api_call(a, "GET", node_path, NULL, answer))
		return false;
	if (json_object_get(object_labels(answer->object), label))
		return true;
	_cleanup_json_ json_t *node = json_deep_copy(answer->object);

	labels = json_object_get(json_object_get(node, "metadata"), "labels");
	if (!labels)
		json_object_set_new(json_object_get(node, "metadata"), "labels", labels = json_object());
	json_object_set_new(labels, label, json_string(""));
	return api_call(a, "PUT", node_path, node, answer);
}

static int wait_ready(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, c->server ? "pki/agent.kubeconfig" : "admin.kubeconfig");
	_cleanup_free_ char *node_path = kube_path("v1", "nodes", NULL, c->node_name, NULL);
	int64_t deadline = clock_mono_ms() + STEP_TIMEOUT_MS;
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	int r = kubeconfig_load(path, &config, err);

	if (r < 0 || (r = api_open(&api, &config, err)) < 0)
		return r;
	while (!usable(&api, c, node_path, &answer) || (!c->server && !mark_control_plane(&api, node_path, &answer))) {
		if (clock_mono_ms() >= deadline)
			return err_set(err, ETIMEDOUT, "the node did not become ready in %d s: %s (log: %s/logs/agent.log)",
				       STEP_TIMEOUT_MS / 1000, str_empty(answer.message) ? "no answer" : answer.message, c->state);
		nap();
	}
	return 0;
}

int step_prepare(struct cluster *c, void *user _unused_, struct err *err)
{
	int r = node_prepare(c, err);
	_cleanup_err_ struct err later = { 0 };

	if (cluster_save(c, &later) < 0 && r == 0)
		return err_set(err, later.code, "%s", err_msg(&later));
	return r;
}

int step_ready(struct cluster *c, void *user _unused_, struct err *err)
{
	int r = wait_ready(c, err);

	if (r == 0)
		r = step_wait_healthy(c, NULL, err);
	if (r == 0 && !c->complete) {
		c->complete = true;
		r = cluster_save(c, err);
	}
	return r;
}

int steps_run(const char *command, const struct step *steps, size_t count, struct cluster *c, void *user, size_t *ret_failed)
{
	_cleanup_err_ struct err err = { 0 };

	for (size_t i = 0; i < count; i++) {
		int64_t t = clock_mono_ms();
		int r = steps[i].run(c, user, &err);

		if (r < 0) {
			fprintf(stderr, "keelson %s: failed: %s: %s\n", command, steps[i].text, err_msg(&err));
			if (ret_failed)
				*ret_failed = i;
			return r;
		}
		printf("  %-48s %6.2f s\n", steps[i].text, (double)(clock_mono_ms() - t) / 1000);
		fflush(stdout);
	}
	return 0;
}
