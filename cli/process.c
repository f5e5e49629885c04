/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting, adopting, watching and signalling processes by pidfd. */
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

extern char **environ;

enum { PROC_FILE_MAX_BYTES = 64 << 10 };

unsigned long long process_start_time(pid_t pid)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist f = { 0 };
	char path[64];
	uint64_t v;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(path, PROC_FILE_MAX_BYTES, &text) < 0)
		return 0;
	/* The command in parentheses may hold anything; the fields go on behind the last one. */
	char *rest = strrchr(text.data, ')');

	if (!rest)
		return 0;
	strlist_split(&f, rest + 1, ' ');
	/* rest starts with field 3 (state); a zombie has exited. */
	if (f.count < 20 || f.items[0][0] == 'Z' || str_to_u64(f.items[19], UINT64_MAX, &v) < 0)
		return 0;
	return v;
}

long process_rss_kib(pid_t pid)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	char path[64];
	long total, resident;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if (file_read(path, PROC_FILE_MAX_BYTES, &text) < 0 || sscanf(text.data, "%ld %ld", &total, &resident) != 2)
		return 0;
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void forget(struct process *p)
{
	if (p->poll)
		uv_close((uv_handle_t *)TAKE(p->poll), on_closed);
	if (p->pidfd >= 0)
		close(p->pidfd);
	p->pidfd = -1;
	p->pid = 0;
}

static void on_poll(uv_poll_t *poll, int status _unused_, int events _unused_)
{
	struct process *p = poll->data;
	int wait_status = -1;

	if (waitpid(p->pid, &wait_status, WNOHANG) <= 0)
		wait_status = -1; /* an adopted process is not our child */
	forget(p);
	p->on_exit(p, wait_status, p->user);
}

static int watch(uv_loop_t *loop, struct process *p, pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	uv_poll_t *poll = mem_new(uv_poll_t);
	int r = uv_poll_init(loop, poll, fd);

	if (r < 0) {
		free(poll);
		close(fd);
		return r;
	}
	poll->data = p;
	p->poll = poll;
	p->pid = pid;
	p->pidfd = fd;
	r = uv_poll_start(poll, UV_READABLE, on_poll);
	if (r < 0)
		forget(p);
	return r;
}

static int spawn(const struct strlist *argv, const char *log_path, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	int r = posix_spawnp(ret_pid, argv->items[0], &actions, &attr, argv->items, environ);

	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int process_start(uv_loop_t *loop, struct process *p, const struct strlist *argv, const char *log_path, const char *pid_path)
{
	char text[64];
	pid_t pid;
	int r = spawn(argv, log_path, &pid);

	if (r < 0)
		return r;
	r = watch(loop, p, pid);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	p->started_ms = clock_mono_ms();
	int n = snprintf(text, sizeof(text), "%d %llu\n", (int)pid, process_start_time(pid));

	return pid_path ? file_write_atomic(pid_path, text, (size_t)n, 0600) : 0;
}

int process_adopt(uv_loop_t *loop, struct process *p, const char *pid_path)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	unsigned long long start;
	int pid;

	if (file_read(pid_path, 256, &text) < 0 || sscanf(text.data, "%d %llu", &pid, &start) != 2 || pid <= 1 ||
	    process_start_time(pid) != start)
		return -ESRCH;
	int r = watch(loop, p, pid);

	if (r < 0)
		return r;
	/* Between the check and the pidfd the pid may have been reused: the start time of what we hold decides. */
	if (process_start_time(pid) != start) {
		forget(p);
		return -ESRCH;
	}
	p->started_ms = (int64_t)(start * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
	return 0;
}

void process_kill(const struct process *p, int signal)
{
	if (p->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0);
}
