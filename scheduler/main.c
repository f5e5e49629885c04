/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson-scheduler: options, signals, health and metrics, leader election. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "io/http_server.h"
#include "kube/leader.h"
#include "scheduler/scheduler.h"

struct program {
	uv_loop_t loop;
	uv_signal_t sigterm, sigint;
	struct kubeconfig config;
	struct kube_client *client;
	struct scheduler *scheduler;
	struct leader *leader;
	struct http_server *server;
	bool stopping;
	int exit_code;
};

static const char usage[] =
	"usage: keelson-scheduler --kubeconfig FILE [--listen 127.0.0.1:10259] [--scheduler-name NAME]\n"
	"                         [--leader-elect=true|false]\n"
	"Assigns pods to nodes. KEELSON_LOG=debug|info|warn|error sets how much is logged.\n";

static void on_request(struct http_request *req, void *user)
{
	struct program *p = user;
	struct http_field type = { "Content-Type", "text/plain; charset=utf-8" };
	const char *path = http_path(req);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	int status = 200;

	if (!str_eq(http_method(req), "GET") && !str_eq(http_method(req), "HEAD")) {
		status = 405;
		strbuf_adds(&b, "method not allowed\n");
	} else if (str_eq(path, "/healthz") || str_eq(path, "/livez")) {
		strbuf_adds(&b, "ok");
	} else if (str_eq(path, "/readyz")) {
		bool ready = scheduler_synced(p->scheduler);

		status = ready ? 200 : 500;
		strbuf_adds(&b, ready ? "ok" : "not ready: waiting for the first lists of pods, nodes and namespaces\n");
	} else if (str_eq(path, "/metrics")) {
		type.value = "text/plain; version=0.0.4; charset=utf-8";
		metrics_write(&b);
	} else {
		status = 404;
		strbuf_adds(&b, "not found\n");
	}
	http_respond(req, status, &type, 1, b.data, b.len);
}

static void finish(void *user)
{
	struct program *p = user;

	leader_free(p->leader);
	scheduler_free(p->scheduler);
	kube_client_free(p->client);
	if (p->server)
		http_server_shutdown(p->server, 0, NULL, NULL);
	uv_close((uv_handle_t *)&p->sigterm, NULL);
	uv_close((uv_handle_t *)&p->sigint, NULL);
}

static void stop(struct program *p, int exit_code)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->exit_code = exit_code;
	if (p->leader)
		leader_release(p->leader, finish, p);
	else
		finish(p);
}

static void on_signal(uv_signal_t *handle, int number _unused_)
{
	stop(handle->data, 0);
}

static void on_started(void *user)
{
	struct program *p = user;

	log_info("leading identity=%s", leader_identity(p->leader));
	scheduler_lead(p->scheduler);
}

static void on_stopped(void *user)
{
	log_error("leadership lost: ending, so that only one scheduler places pods");
	stop(user, 1);
}

static int start(struct program *p, const char *kubeconfig, const char *listen, const char *name, bool elect,
		 struct err *err)
{
	int r = kubeconfig ? kubeconfig_load(kubeconfig, &p->config, err) : kubeconfig_in_cluster(&p->config, err);

	if (r < 0)
		return r;
	p->client = kube_client_new(&p->loop, &p->config, "keelson-scheduler/" KEELSON_VERSION, err);
	if (!p->client)
		return -EIO;
	p->server = http_server_new(&p->loop, NULL, on_request, p);
	r = http_server_listen(p->server, listen, NULL, NULL, err);
	if (r < 0)
		return r;
	p->scheduler = scheduler_new(&p->loop, p->client, name);
	if (elect) {
		struct leader_options o = { .size = sizeof(o), .ns = "kube-system", .name = "kube-scheduler",
					    .on_started = on_started, .on_stopped = on_stopped, .user = p };

		p->leader = leader_new(p->client, &o);
	} else {
		scheduler_lead(p->scheduler);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kubeconfig", required_argument, NULL, 'k' },   { "listen", required_argument, NULL, 'l' },
		{ "scheduler-name", required_argument, NULL, 'n' }, { "leader-elect", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },               { "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	const char *kubeconfig = NULL, *listen = "127.0.0.1:10259", *name = "default-scheduler";
	struct program p = { 0 };
	_cleanup_err_ struct err err = { 0 };
	bool elect = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k': kubeconfig = optarg; break;
		case 'l': listen = optarg; break;
		case 'n': name = optarg; break;
		case 'e': elect = !str_eq(optarg, "false"); break;
		case 'h': fputs(usage, stdout); return 0;
		case 'v': puts("keelson-scheduler " KEELSON_VERSION); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "unexpected argument: %s\n%s", argv[optind], usage);
		return 2;
	}
	log_init("scheduler");
	uv_loop_init(&p.loop);
	uv_signal_init(&p.loop, &p.sigterm);
	uv_signal_init(&p.loop, &p.sigint);
	p.sigterm.data = p.sigint.data = &p;
	uv_signal_start(&p.sigterm, on_signal, SIGTERM);
	uv_signal_start(&p.sigint, on_signal, SIGINT);
	if (start(&p, kubeconfig, listen, name, elect, &err) < 0) {
		log_error("cannot start: %s", err_msg(&err));
		stop(&p, 1);
	}
	uv_run(&p.loop, UV_RUN_DEFAULT);
	uv_loop_close(&p.loop);
	kubeconfig_done(&p.config);
	metrics_reset();
	return p.exit_code;
}
