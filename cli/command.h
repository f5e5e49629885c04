/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of the `keelson` program. Each takes its arguments without the command's name and returns an exit code. */
#ifndef KEELSON_CLI_COMMAND_H
#define KEELSON_CLI_COMMAND_H

#include "cli/cluster.h"

struct command {
	const char *name, *arguments, *summary;
	int (*run)(int argc, char **argv);
};

/* The exit code of `keelson renew` that says there are new certificates. */
enum { RENEWED = 10 };

int command_up(int argc, char **argv);
int command_down(int argc, char **argv);
int command_status(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_token(int argc, char **argv);
int command_join(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_secrets(int argc, char **argv);
int command_node(int argc, char **argv);
int command_supervise(int argc, char **argv);
int command_renew(int argc, char **argv);

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
/* Makes the state directory and locks it. Which user may not, and which path cannot be used, shows here. */
int command_take_state(const struct cluster *c, int *ret_lock, struct err *err);
/* The options that every node has, as getopt_long() gives them by these values: 's' --state, 'n' --netns, 'N' --node-name,
 * 'i' --node-ip, 'r' --runtime-endpoint, 'I' --image, 'g' --node-grace-period. 0 or an exit code. */
int command_node_option(const char *command, int option, const char *value, struct cluster *c);
/* Takes a flag out of the arguments, wherever before "--" it stands. Whether it was there. */
bool command_take_flag(int *argc, char **argv, const char *flag);
/* The directory of this program, own. */
char *command_bin_dir(void);
/* Loads the cluster in a state directory. Exit code, or -1 to go on. */
int command_load_state(const char *state, struct cluster *ret);
/* Loads the node of that name: the cluster's own or, in a lab, one of the others. Exit code, or -1 to go on. */
int command_load_node(const char *state, const char *name, struct cluster *ret);
/* For commands whose only option is --state: loads that cluster. argv[0] is the command; *ret_rest (may be NULL: no
 * further arguments are allowed) gets the index of the first argument that is no option; those commands have --node NAME
 * too. Exit code, or -1 to go on. */
int command_load(const char *command, int argc, char **argv, struct cluster *ret, int *ret_rest);

#endif
