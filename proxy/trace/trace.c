/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options, the loop, the end. */
#include "proxy/trace/trace.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/engine/trace.h"

enum { POLL_MS = 200 };

struct trace {
	const char *pin_dir, *proxy;
	uint64_t count, printed; /* count 0: without end */
	bool json;
	struct expression x;
	struct names names;
	struct engine_trace *engine;
	int64_t wall_minus_mono_us;
	struct strbuf line;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void usage(FILE *out)
{
	fputs("Usage: keelson-proxy trace [OPTIONS] [EXPRESSION]\n\n"
	      "Prints what the kernel programs do with packets and sockets, until SIGINT.\n\n"
	      "  --pin-dir DIR         where the proxy's maps are pinned (default /sys/fs/bpf/keelson/node)\n"
	      "  --proxy ADDRESS:PORT  asked for the names of Services (default 127.0.0.1:10249)\n"
	      "  --count N             end after N events\n"
	      "  --json                a JSON object a line\n\n"
	      "Expressions, joined by \"and\": [src|dst] [host] ADDRESS[/LEN], [src|dst] port N, tcp, udp, sctp, icmp, icmp6,\n"
	      "service NAMESPACE/NAME[:PORT], drops. None: everything.\n",
	      out);
}

/* 0 to go on, 1 after --help, -EINVAL after saying what was wrong. */
static int parse(struct trace *t, int argc, char **argv)
{
	enum { PIN_DIR = 256, PROXY, COUNT, JSON, HELP };
	static const struct option table[] = {
		{ "pin-dir", required_argument, NULL, PIN_DIR }, { "proxy", required_argument, NULL, PROXY },
		{ "count", required_argument, NULL, COUNT },     { "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, HELP },             { 0 },
	};
	_cleanup_err_ struct err err = { 0 };
	t->pin_dir = "/sys/fs/bpf/keelson/node";
	t->proxy = "127.0.0.1:10249";
	for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		if (c == PIN_DIR) {
			t->pin_dir = optarg;
		} else if (c == PROXY) {
			t->proxy = optarg;
		} else if (c == JSON) {
			t->json = true;
		} else if (c == HELP) {
			usage(stdout);
			return 1;
		} else if (c != COUNT) {
			return -EINVAL;
		} else if (str_to_u64(optarg, UINT64_MAX, &t->count) < 0 || t->count == 0) {
			fprintf(stderr, "keelson-proxy trace: --count \"%s\": a number above 0\n", optarg);
			return -EINVAL;
		}
	}
	if (expression_parse(&t->x, (const char *const *)argv + optind, (size_t)(argc - optind), &err) == 0)
		return 0;
	fprintf(stderr, "keelson-proxy trace: %s\n", err_msg(&err));
	return -EINVAL;
}

static bool on_event(const struct abi_trace_event *e, void *user)
{
	struct trace *t = user;
	char link[IF_NAMESIZE] = "";
	struct abi_backend b;
	if (!expression_fits(&t->x, e))
		return !ended;
	if (e->ifindex && !if_indextoname(e->ifindex, link))
		snprintf(link, sizeof(link), "#%u", e->ifindex);
	const struct trace_look look = {
		.names = &t->names,
		.backend = engine_trace_backend(t->engine, e->backend_id, &b) ? &b : NULL,
		.link = link,
		.wall_us = (int64_t)(e->ns / 1000) + t->wall_minus_mono_us,
		.json = t->json,
	};
	strbuf_reset(&t->line);
	trace_format(&t->line, e, &look);
	if (fwrite(t->line.data, 1, t->line.len, stdout) != t->line.len)
		return false; /* nobody reads any more */
	t->printed++;
	return !ended && t->printed != t->count;
}

static int start(struct trace *t, struct err *err)
{
	struct abi_trace_filter filter;
	_cleanup_err_ struct err why = { 0 };
	int r = names_fetch(&t->names, t->proxy, &why);
	if (r == 0 && t->x.service)
		r = names_resolve(&t->names, &t->x, err);
	else if (r < 0 && t->x.service)
		return err_set(err, EIO, "the proxy at %s does not tell which set is %s: %s", t->proxy, t->x.service, err_msg(&why));
	else if (r < 0)
		fprintf(stderr, "keelson-proxy trace: no names of Services, the proxy at %s does not answer: %s\n", t->proxy,
			err_msg(&why));
	if (r < 0 && t->x.service)
		return r;
	expression_filter(&t->x, &filter);
	t->wall_minus_mono_us = clock_wall_us() - clock_mono_ns() / 1000;
	t->engine = engine_trace_open(t->pin_dir, &filter, err);
	return t->engine ? 0 : -EIO;
}

static int run(struct trace *t, struct err *err)
{
	int r = start(t, err);
	while (r == 0 && !ended) {
		r = engine_trace_run(t->engine, POLL_MS, on_event, t, err);
		if (r == 0 && fflush(stdout) == EOF)
			r = 1;
	}
	fflush(stdout);
	return r == 1 || r == -EINTR || ended ? 0 : r;
}

int trace_main(int argc, char **argv)
{
	struct trace t = { 0 };
	_cleanup_err_ struct err err = { 0 };
	struct sigaction end = { .sa_handler = on_signal };
	int r = parse(&t, argc, argv);
	if (r != 0)
		return r < 0 ? 2 : 0;
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = run(&t, &err);
	if (r < 0)
		fprintf(stderr, "keelson-proxy trace: %s\n", err_msg(&err));
	engine_trace_free(t.engine);
	names_done(&t.names);
	expression_done(&t.x);
	strbuf_done(&t.line);
	return r < 0 ? 1 : 0;
}
