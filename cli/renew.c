/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson renew (run by the supervisor at its start and then now and then): renews the certificates that have less than a
 * third of their life left. Its exit status tells whether there are new ones.
 */
#include <stdio.h>

#include "cli/command.h"
#include "cli/csr.h"
#include "cli/pki.h"

int command_renew(int argc, char **argv)
{
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_err_ struct err err = { 0 };
	int r = command_load("renew", argc, argv, &c, NULL);

	if (r >= 0)
		return r;
	if (cluster_enter_netns(&c, &err) < 0)
		return command_fail(&err);
	r = c.server ? csr_renew(&c, &err) : pki_prepare(&c, &err);
	if (r < 0)
		return command_fail(&err);
	return r > 0 ? RENEWED : 0;
}
