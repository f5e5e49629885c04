/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supervisor. Each daemon is a struct unit: started in table order (those that need another one when that is
 * ready), restarted with back-off when it dies, adopted when an earlier supervisor left it running. Stopping is a
 * list of steps walked one by one, so that pods and kernel state go while their owners can still take them away.
 */
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/daemons.h"
#include "cli/process.h"
#include "io/http_client.h"

enum {
	HEALTH_FAST_MS = 20,
	HEALTH_FAST_FOR_MS = 10000,
	HEALTH_SLOW_MS = 2000,
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 10000,
	RAN_WELL_MS = 10000,
	TERM_GRACE_MS = 15000,
	CLEANUP_GRACE_MS = 90000,
	LOG_MAX_BYTES = 10 << 20,
	LOG_CHECK_MS = 60000,
	STEP_POLL_MS = 10,
	LOCK_TRIES = 100,
	RENEW_FIRST_MS = 30000, /* up and join have just looked themselves */
	RENEW_EVERY_MS = 6 * 3600 * 1000,
};

struct supervisor;

struct unit {
	struct supervisor *s;
	enum daemon_id id;
	struct process process;
	uv_timer_t restart, health_timer;
	unsigned restarts, backoff_ms;
	bool healthy, ready, checking, stopping;
	char *health_text; /* why not, own; NULL when healthy */
};

struct supervisor {
	const struct cluster *c;
	uv_loop_t loop;
	struct unit units[DAEMON_MAX];
	struct http_client *http;
	uv_pipe_t control;
	uv_signal_t sigterm, sigint;
	uv_timer_t log_timer, step_timer, renew_timer;
	uv_stream_t *stop_asker; /* who waits for the end of the stop, or NULL */
	struct process helper;   /* the cleanup command that runs now */
	struct process renewer;  /* `keelson renew`, now and then */
	size_t step;
	int64_t step_deadline_ms;
	bool stopping, helper_failed;
	int exit_code;
};

static void unit_start(struct unit *u);
static void on_health_timer(uv_timer_t *t);

static char *log_path(const struct supervisor *s, const char *name)
{
	return str_printf("%s/logs/%s.log", s->c->state, name);
}

static void start_waiting(struct supervisor *s)
{
	for (int i = 0; i < DAEMON_MAX; i++) {
		struct unit *u = &s->units[i];

		if (daemon_wanted(s->c, u->id) && !u->process.pid && !u->stopping && !uv_is_active((uv_handle_t *)&u->restart))
			unit_start(u);
	}
}

static void set_health(struct unit *u, const char *why_not, bool answers)
{
	bool was = u->ready;

	u->healthy = !why_not;
	u->ready = u->healthy || (answers && daemon_info(u->id)->ready_when_ill);
	free(u->health_text);
	u->health_text = mem_strdup(why_not);
	u->checking = false;
	if (u->ready && !was && !u->s->stopping)
		start_waiting(u->s);
	/* Often while it starts, so that what waits for it goes on at once; one that stays ill costs no more than a healthy one. */
	bool starting = !u->healthy && clock_mono_ms() - u->process.started_ms < HEALTH_FAST_FOR_MS;

	if (u->process.pid)
		uv_timer_start(&u->health_timer, on_health_timer, starting ? HEALTH_FAST_MS : HEALTH_SLOW_MS, 0);
}

static void on_health(const struct http_answer *a, void *user)
{
	struct unit *u = user;
	_cleanup_free_ char *why = NULL;

	if (a->status == 0)
		why = mem_strdup(a->error ? a->error : "no answer");
	else if (a->status != 200)
		why = str_printf("HTTP %d: %.200s", a->status, a->body_len ? (const char *)a->body : "");
	set_health(u, why, a->status != 0);
}

static void check_unix(struct unit *u)
{
	_cleanup_free_ char *path = containerd_socket(u->s->c);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	set_health(u, fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? NULL : "its socket does not answer", false);
}

static void check_health(struct unit *u)
{
	const char *url = daemon_info(u->id)->health;
	struct http_call_request r = { .method = "GET", .url = url, .timeout_ms = 2000, .max_body_bytes = 64 << 10 };

	if (u->checking || !u->process.pid)
		return;
	u->checking = true;
	if (str_eq(url, "unix"))
		check_unix(u);
	else
		http_client_call(u->s->http, &r, NULL, on_health, u);
}

static void on_health_timer(uv_timer_t *t)
{
	check_health(t->data);
}

static void on_restart_timer(uv_timer_t *t)
{
	unit_start(t->data);
}

static void on_unit_exit(struct process *p, int status, void *user)
{
	struct unit *u = user;
	const char *name = daemon_info(u->id)->name;

	set_health(u, "not running", false);
	uv_timer_stop(&u->health_timer);
	if (u->stopping)
		return;
	if (status == -1)
		log_warn("%s ended", name);
	else if (WIFSIGNALED(status))
		log_warn("%s was killed by signal %d", name, WTERMSIG(status));
	else
		log_warn("%s exited with status %d; see its log", name, WEXITSTATUS(status));
	bool ran_well = clock_mono_ms() - p->started_ms > RAN_WELL_MS;

	u->backoff_ms = ran_well || !u->backoff_ms ? BACKOFF_MIN_MS : MIN(u->backoff_ms * 2, (unsigned)BACKOFF_MAX_MS);
	u->restarts++;
	uv_timer_start(&u->restart, on_restart_timer, u->backoff_ms, 0);
}

static void unit_start(struct unit *u)
{
	const struct daemon_info *d = daemon_info(u->id);
	_cleanup_strlist_ struct strlist argv = { 0 };
	_cleanup_free_ char *log = log_path(u->s, d->name);
	_cleanup_free_ char *pid = str_printf("%s/run/%s.pid", u->s->c->state, d->name);

	if (d->needs < DAEMON_MAX && daemon_wanted(u->s->c, d->needs) && !u->s->units[d->needs].ready)
		return; /* set_health() comes back when it is */
	daemon_argv(u->s->c, u->id, false, &argv);
	int r = process_start(&u->s->loop, &u->process, &argv, log, pid);

	if (r < 0) {
		log_error("cannot start %s: %s", d->name, strerror(-r));
		u->backoff_ms = BACKOFF_MAX_MS;
		uv_timer_start(&u->restart, on_restart_timer, u->backoff_ms, 0);
		return;
	}
	log_info("started %s pid=%d", d->name, (int)u->process.pid);
	uv_timer_start(&u->health_timer, on_health_timer, HEALTH_FAST_MS, 0);
}

/* Stopping, step by step: end these units; run a daemon's cleanup; go on. */
static const struct stop_step {
	enum { STOP_UNITS, RUN_CLEANUP } kind;
	unsigned units; /* bits of enum daemon_id */
	enum daemon_id cleanup;
} stop_steps[] = {
	{ STOP_UNITS, 1u << DAEMON_AGENT | 1u << DAEMON_SCHEDULER | 1u << DAEMON_CONTROLLERS, 0 },
	{ RUN_CLEANUP, 0, DAEMON_AGENT },
	{ STOP_UNITS, 1u << DAEMON_PROXY, 0 },
	{ RUN_CLEANUP, 0, DAEMON_PROXY },
	{ STOP_UNITS, 1u << DAEMON_APISERVER, 0 },
	{ STOP_UNITS, 1u << DAEMON_ETCD | 1u << DAEMON_CONTAINERD, 0 },
};

static void stop_next(struct supervisor *s);

static void on_helper_exit(struct process *p _unused_, int status, void *user)
{
	struct supervisor *s = user;

	if (status != 0) {
		log_error("cleanup of %s failed with %s %d; see its log", daemon_info(stop_steps[s->step].cleanup)->name,
			  WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		s->helper_failed = true;
	}
}

static void begin_step(struct supervisor *s)
{
	const struct stop_step *step = &stop_steps[s->step];

	if (step->kind == RUN_CLEANUP) {
		_cleanup_strlist_ struct strlist argv = { 0 };
		_cleanup_free_ char *log = log_path(s, daemon_info(step->cleanup)->name);

		daemon_argv(s->c, step->cleanup, true, &argv);
		s->step_deadline_ms = clock_mono_ms() + CLEANUP_GRACE_MS;
		if (process_start(&s->loop, &s->helper, &argv, log, NULL) < 0)
			s->helper_failed = true;
		return;
	}
	s->step_deadline_ms = clock_mono_ms() + TERM_GRACE_MS;
	for (int i = 0; i < DAEMON_MAX; i++)
		if (step->units & 1u << i)
			process_kill(&s->units[i].process, SIGTERM);
}

/* True when nothing of the step runs any more. Past the deadline what is left is killed. */
static bool step_over(struct supervisor *s)
{
	const struct stop_step *step = &stop_steps[s->step];
	bool late = clock_mono_ms() > s->step_deadline_ms, over = true;

	if (step->kind == RUN_CLEANUP) {
		if (late)
			process_kill(&s->helper, SIGKILL);
		return !s->helper.pid;
	}
	for (int i = 0; i < DAEMON_MAX; i++) {
		if (!(step->units & 1u << i) || !s->units[i].process.pid)
			continue;
		over = false;
		if (late)
			process_kill(&s->units[i].process, SIGKILL);
	}
	return over;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void on_answer_written(uv_write_t *w, int status _unused_)
{
	uv_close((uv_handle_t *)w->handle, on_closed);
	free(w->data);
	free(w);
}

static void answer(uv_stream_t *to, char *text /* moved */)
{
	uv_write_t *w = mem_new(uv_write_t);
	uv_buf_t buf = uv_buf_init(text, (unsigned)strlen(text));

	w->data = text;
	if (uv_write(w, to, &buf, 1, on_answer_written) < 0) {
		uv_close((uv_handle_t *)to, on_closed);
		free(text);
		free(w);
	}
}

static void finish(struct supervisor *s)
{
	s->exit_code = s->helper_failed ? 1 : 0;
	uv_timer_stop(&s->step_timer);
	if (s->stop_asker)
		answer(TAKE(s->stop_asker), mem_strdup(s->helper_failed ? "stopped with errors\n" : "stopped\n"));
	/* The answer goes out in the last turns of the loop; then nothing keeps it alive. */
	uv_close((uv_handle_t *)&s->control, NULL);
	uv_close((uv_handle_t *)&s->sigterm, NULL);
	uv_close((uv_handle_t *)&s->sigint, NULL);
	uv_close((uv_handle_t *)&s->log_timer, NULL);
	uv_close((uv_handle_t *)&s->step_timer, NULL);
	uv_close((uv_handle_t *)&s->renew_timer, NULL);
	for (int i = 0; i < DAEMON_MAX; i++) {
		uv_close((uv_handle_t *)&s->units[i].restart, NULL);
		uv_close((uv_handle_t *)&s->units[i].health_timer, NULL);
	}
	http_client_free(TAKE(s->http));
}

static void on_step_timer(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	if (!step_over(s))
		return;
	s->step++;
	stop_next(s);
}

static void stop_next(struct supervisor *s)
{
	if (s->step == ARRAY_SIZE(stop_steps)) {
		finish(s);
		return;
	}
	begin_step(s);
	uv_timer_start(&s->step_timer, on_step_timer, STEP_POLL_MS, STEP_POLL_MS);
}

static void begin_stop(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	log_info("stopping");
	for (int i = 0; i < DAEMON_MAX; i++) {
		struct unit *u = &s->units[i];

		u->stopping = true;
		uv_timer_stop(&u->restart);
		/* The pods can only be taken down while their runtime runs. */
		if (u->id == DAEMON_CONTAINERD && daemon_wanted(s->c, u->id) && !u->process.pid)
			unit_start(u);
	}
	process_kill(&s->renewer, SIGKILL);
	stop_next(s);
}

static char *status_text(const struct supervisor *s)
{
	_cleanup_json_ json_t *v = json_array();
	struct strbuf out = { 0 };
	int64_t now = clock_mono_ms();

	for (int i = 0; i < DAEMON_MAX; i++) {
		const struct unit *u = &s->units[i];

		if (!daemon_wanted(s->c, u->id))
			continue;
		json_array_append_new(v, json_pack("{s:s,s:i,s:I,s:I,s:i,s:b,s:s}", "name", daemon_info(u->id)->name, "pid",
						   (int)u->process.pid, "ageSeconds",
						   (json_int_t)(u->process.pid ? (now - u->process.started_ms) / 1000 : 0),
						   "rssKiB", (json_int_t)(u->process.pid ? process_rss_kib(u->process.pid) : 0),
						   "restarts", (int)u->restarts, "healthy", (int)u->healthy, "health",
						   u->healthy ? "ok" : u->health_text ? u->health_text : "starting"));
	}
	json_array_append_new(v, json_pack("{s:s,s:i,s:I,s:I,s:i,s:b,s:s}", "name", "supervisor", "pid", (int)getpid(),
					   "ageSeconds", (json_int_t)((now - s->helper.started_ms) / 1000), "rssKiB",
					   (json_int_t)process_rss_kib(getpid()), "restarts", 0, "healthy", 1, "health",
					   s->stopping ? "stopping" : "ok"));
	json_write(&out, v);
	strbuf_addc(&out, '\n');
	return strbuf_take(&out);
}

struct asker {
	uv_pipe_t pipe; /* first: freed through the handle */
	struct supervisor *s;
	char line[64];
	size_t len;
};

static void on_alloc(uv_handle_t *h, size_t hint _unused_, uv_buf_t *buf)
{
	struct asker *a = (struct asker *)h;

	*buf = uv_buf_init(a->line + a->len, (unsigned)(sizeof(a->line) - 1 - a->len));
}

static void on_question(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf _unused_)
{
	struct asker *a = (struct asker *)stream;

	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_closed);
		return;
	}
	a->len += (size_t)n;
	a->line[a->len] = '\0';
	char *end = strchr(a->line, '\n');

	if (!end && a->len < sizeof(a->line) - 1)
		return;
	uv_read_stop(stream);
	if (end)
		*end = '\0';
	if (end && str_eq(a->line, "status")) {
		answer(stream, status_text(a->s));
	} else if (end && str_eq(a->line, "stop")) {
		/* An earlier asker was most likely interrupted; the stop goes on for the new one. */
		if (a->s->stop_asker)
			answer(TAKE(a->s->stop_asker), mem_strdup("another keelson down waits for the end\n"));
		a->s->stop_asker = stream;
		begin_stop(a->s);
	} else {
		answer(stream, mem_strdup("unknown question; ask: status, stop\n"));
	}
}

static void on_control(uv_stream_t *server, int status)
{
	struct supervisor *s = server->data;
	struct asker *a = mem_new(struct asker);

	a->s = s;
	uv_pipe_init(&s->loop, &a->pipe, 0);
	if (status < 0 || uv_accept(server, (uv_stream_t *)&a->pipe) < 0 ||
	    uv_read_start((uv_stream_t *)&a->pipe, on_alloc, on_question) < 0)
		uv_close((uv_handle_t *)&a->pipe, on_closed);
}

static void on_signal(uv_signal_t *h, int signum _unused_)
{
	begin_stop(h->data);
}

/* Daemons append, so a log can be emptied under them once its tail is kept in NAME.log.1. */
static void on_log_timer(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	for (int i = 0; i < DAEMON_MAX; i++) {
		_cleanup_free_ char *path = log_path(s, daemon_info((enum daemon_id)i)->name), *old = str_printf("%s.1", path);
		_cleanup_strbuf_ struct strbuf text = { 0 };
		struct stat st;

		if (stat(path, &st) < 0 || st.st_size < LOG_MAX_BYTES || file_read(path, 4 * (size_t)LOG_MAX_BYTES, &text) < 0)
			continue;
		if (file_write_atomic(old, text.data, text.len, 0600) == 0 && truncate(path, 0) < 0)
			log_warn("cannot empty %s: %s", path, strerror(errno));
	}
}

/* Daemons read their certificates at their start. One that is told to end is started again like one that died. */
static void on_renewed(struct process *p _unused_, int status, void *user)
{
	struct supervisor *s = user;

	if (s->stopping)
		return;
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != RENEWED)) {
		log_warn("the certificates could not be looked after; see renew.log");
		return;
	}
	if (WEXITSTATUS(status) != RENEWED)
		return;
	log_info("certificates were renewed; the daemons are started again");
	for (int i = 0; i < DAEMON_MAX; i++)
		/* containerd has none, etcd reads its files for each connection. */
		if (s->units[i].id != DAEMON_CONTAINERD && s->units[i].id != DAEMON_ETCD)
			process_kill(&s->units[i].process, SIGTERM);
}

static void on_renew_timer(uv_timer_t *t)
{
	struct supervisor *s = t->data;
	_cleanup_strlist_ struct strlist argv = { 0 };
	_cleanup_free_ char *log = log_path(s, "renew");

	if (s->stopping || s->renewer.pid)
		return;
	strlist_addf(&argv, "%s/keelson", s->c->bin_dir);
	strlist_add(&argv, "renew");
	strlist_add(&argv, "--state");
	strlist_add(&argv, s->c->state);
	if (process_start(&s->loop, &s->renewer, &argv, log, NULL) < 0)
		log_warn("cannot run keelson renew");
}

static int open_control(struct supervisor *s, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(s->c, "run/supervisor.sock");

	unlink(path);
	uv_pipe_init(&s->loop, &s->control, 0);
	s->control.data = s;
	mode_t old = umask(0177);
	int r = uv_pipe_bind(&s->control, path);

	umask(old);
	if (r == 0)
		r = uv_listen((uv_stream_t *)&s->control, 16, on_control);
	return r < 0 ? err_set(err, -r, "cannot listen on %s: %s", path, uv_strerror(r)) : 0;
}

static void init_units(struct supervisor *s)
{
	for (int i = 0; i < DAEMON_MAX; i++) {
		struct unit *u = &s->units[i];

		*u = (struct unit){ .s = s, .id = (enum daemon_id)i };
		u->process = (struct process){ .pidfd = -1, .on_exit = on_unit_exit, .user = u };
		uv_timer_init(&s->loop, &u->restart);
		uv_timer_init(&s->loop, &u->health_timer);
		u->restart.data = u;
		u->health_timer.data = u;
	}
	for (int i = 0; i < DAEMON_MAX; i++) {
		struct unit *u = &s->units[i];
		const char *name = daemon_info(u->id)->name;
		_cleanup_free_ char *pid = str_printf("%s/run/%s.pid", s->c->state, name);

		if (process_adopt(&s->loop, &u->process, pid) == 0) {
			log_info("adopted %s pid=%d", name, (int)u->process.pid);
			uv_timer_start(&u->health_timer, on_health_timer, 0, 0);
		}
	}
}

int supervisor_run(const struct cluster *c, bool stop_at_once)
{
	struct supervisor s = { .c = c };
	_cleanup_free_ char *ca = cluster_path(c, "pki/ca.crt"), *lock = cluster_path(c, "lock");
	_cleanup_close_ int lock_fd = -1;
	_cleanup_err_ struct err err = { 0 };
	struct http_client_options o = { .size = sizeof(o), .ca_file = ca, .user_agent = "keelson", .connect_timeout_ms = 1000 };
	int r = file_lock(lock, false, &lock_fd);

	/* One that was killed a moment ago lets go of it when the kernel has taken it away. */
	for (int i = 0; r == -EWOULDBLOCK && i < LOCK_TRIES; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
		r = file_lock(lock, false, &lock_fd);
	}
	if (r < 0) {
		log_error("another supervisor holds %s", lock);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&s.loop);
	s.helper = (struct process){ .pidfd = -1, .on_exit = on_helper_exit, .user = &s, .started_ms = clock_mono_ms() };
	s.http = http_client_new(&s.loop, &o, &err);
	if (!s.http || open_control(&s, &err) < 0) {
		log_error("%s", err_msg(&err));
		return 1;
	}
	uv_timer_init(&s.loop, &s.log_timer);
	uv_timer_init(&s.loop, &s.step_timer);
	s.log_timer.data = s.step_timer.data = &s;
	uv_timer_start(&s.log_timer, on_log_timer, LOG_CHECK_MS, LOG_CHECK_MS);
	uv_timer_init(&s.loop, &s.renew_timer);
	s.renewer = (struct process){ .pidfd = -1, .on_exit = on_renewed, .user = &s };
	s.renew_timer.data = &s;
	uv_timer_start(&s.renew_timer, on_renew_timer, RENEW_FIRST_MS, RENEW_EVERY_MS);
	uv_signal_init(&s.loop, &s.sigterm);
	uv_signal_init(&s.loop, &s.sigint);
	s.sigterm.data = s.sigint.data = &s;
	uv_signal_start(&s.sigterm, on_signal, SIGTERM);
	uv_signal_start(&s.sigint, on_signal, SIGINT);
	init_units(&s);
	if (stop_at_once)
		begin_stop(&s);
	else
		start_waiting(&s);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	uv_loop_close(&s.loop);
	for (int i = 0; i < DAEMON_MAX; i++)
		free(s.units[i].health_text);
	return s.exit_code;
}

static _noreturn_ void exec_supervisor(const struct cluster *c, bool stop)
{
	_cleanup_free_ char *log = cluster_path(c, "logs/supervisor.log"), *self = str_printf("%s/keelson", c->bin_dir);
	const char *const argv[] = { self, "supervise", "--state", c->state, stop ? "--stop" : NULL, NULL };
	int null = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (null >= 0 && out >= 0) {
		dup2(null, 0);
		dup2(out, 1);
		dup2(out, 2);
		closefrom(3);
		execv(self, (char *const *)argv);
	}
	_exit(127);
}

int supervisor_spawn(const struct cluster *c, struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_set(err, errno, "cannot start the supervisor: %s", strerror(errno));
	if (pid == 0) {
		/* Twice: the supervisor is nobody's child, so no zombie is left when it ends. */
		if (setsid() < 0 || fork() != 0)
			_exit(0);
		exec_supervisor(c, false);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

int supervisor_stop_now(const struct cluster *c, struct err *err)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		exec_supervisor(c, true);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		return err_set(err, EIO, "stopping failed; see %s/logs/supervisor.log", c->state);
	return 0;
}

int supervisor_ask(const char *state, const char *question, struct strbuf *answer_text, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_free_ char *line = str_printf("%s\n", question);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if ((size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s/run/supervisor.sock", state) >= sizeof(a.sun_path))
		return err_set(err, ENAMETOOLONG, "the state directory's path is too long for a socket in it");
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_set(err, ECONNREFUSED, "no supervisor answers on %s", a.sun_path);
	ssize_t n = send(fd, line, strlen(line), MSG_NOSIGNAL);

	while (n > 0 || (n < 0 && errno == EINTR)) {
		char buf[4096];

		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			strbuf_add(answer_text, buf, (size_t)n);
	}
	/* One that was killed a moment ago may still have been connected to, but says nothing. */
	if (answer_text->len == 0)
		return err_set(err, ECONNREFUSED, "the supervisor on %s died before it answered", a.sun_path);
	return n < 0 ? err_set(err, errno, "the supervisor broke off: %s", strerror(errno)) : 0;
}
