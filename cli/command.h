/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of the `keelson` program. Each takes its arguments without the command's name and returns an exit code. */
#ifndef KEELSON_CLI_COMMAND_H
#define KEELSON_CLI_COMMAND_H

#include "cli/cluster.h"

struct command {
	const char *name, *arguments, *summary;
	int (*run)(int argc, char **argv);
};

int command_up(int argc, char **argv);
int command_down(int argc, char **argv);
int command_status(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_supervise(int argc, char **argv);

/* Wrong usage: says it on stderr and returns 2. */
int command_usage(const char *command, const char *fmt, ...) _printf_(2, 3);
/* An error: says it on stderr and returns 1. */
int command_fail(const struct err *err);
/* Absolute form of a path without symbolic links (as mount tables and /proc name it), own. What does not exist yet is
 * taken as it is. */
char *command_absolute(const char *path);
/* Lets one `up` or `down` work on a state directory at a time: waits for the other, saying so. The directory must exist.
 * 0 with a descriptor to keep open (own), -ENOENT when the directory is gone by then, or another error. */
int command_lock(const char *state, int *ret_fd, struct err *err);
/* The directory of this program, own. */
char *command_bin_dir(void);
/* For commands whose only option is --state: loads that cluster. argv[0] is the command; *ret_rest (may be NULL: no
 * further arguments are allowed) gets the index of the first argument that is no option. Exit code, or -1 to go on. */
int command_load(const char *command, int argc, char **argv, struct cluster *ret, int *ret_rest);

#endif
