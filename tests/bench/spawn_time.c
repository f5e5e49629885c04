/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spawn_time STDIN STDOUT PROGRAM: runs a program as a runtime does and prints the microseconds until it has ended. A
 * shell's own fork would cost more than what is measured. Exits with the program's status. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t fa;
	struct timespec begin, end;
	int status = 0;
	pid_t pid;

	if (argc != 4)
		return 2;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, argv[1], O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (posix_spawn(&pid, argv[3], &fa, NULL, argv + 3, environ) != 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%ld\n", (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
