/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plugin "loopback", which containerd runs for every pod beside the network's own: brings up lo. */
#ifndef KEELSON_CNI_LOOPBACK_H
#define KEELSON_CNI_LOOPBACK_H

#include "base/str.h"
#include "cni/conf.h"

/* True when the program was started under that name. */
bool loopback_wanted(const char *argv0);
/* Runs the command with the network configuration's text; appends the result. */
int loopback_run(const struct conf_env *env, struct conf *c, const char *text, size_t len, struct strbuf *out, struct fail *f);

#endif
