/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first process of every pod: keeps the namespaces, reaps orphans (shared PID namespaces), ends on SIGTERM. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int sig)
{
	(void)sig;
	_exit(0);
}

static void reap(int sig)
{
	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	struct sigaction a = { .sa_handler = end };

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	a.sa_handler = reap;
	a.sa_flags = SA_NOCLDSTOP | SA_RESTART;
	sigaction(SIGCHLD, &a, NULL);
	for (;;)
		pause();
}
