/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keelson trace: keelson-proxy's own, run in the node's network namespace with the node's maps. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"

int command_trace(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strlist_ struct strlist theirs = { 0 };
	_cleanup_free_ char **ours = mem_new_n(char *, (size_t)argc + 1);
	int count = 0, rest;

	/* Its options may stand anywhere; what is left are ours and the expression. */
	strlist_add(&theirs, "keelson-proxy");
	strlist_add(&theirs, "trace");
	for (int i = 0; i < argc; i++) {
		bool with_value = str_eq(argv[i], "--count") && i + 1 < argc;

		if (str_eq(argv[i], "--json") || str_starts(argv[i], "--count="))
			strlist_add(&theirs, argv[i]);
		else if (with_value)
			strlist_addf(&theirs, "--count=%s", argv[++i]);
		else
			ours[count++] = argv[i];
	}
	int r = command_load("trace", count, ours, &c, &rest);

	if (r >= 0)
		return r;
	strlist_addf(&theirs, "--pin-dir=%s/bpf/%s", c.state, c.id);
	strlist_add(&theirs, "--");
	for (int i = rest; i < count; i++)
		strlist_add(&theirs, ours[i]);
	if (cluster_enter_netns(&c, &err) < 0)
		return command_fail(&err);
	_cleanup_free_ char *program = str_printf("%s/keelson-proxy", c.bin_dir);

	execv(program, theirs.items);
	fprintf(stderr, "keelson: cannot run %s: %s\n", program, strerror(errno));
	return 127;
}
