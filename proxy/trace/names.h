/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of Service ports by set id, as a running proxy tells them at /debug/services. */
#ifndef KEELSON_PROXY_TRACE_NAMES_H
#define KEELSON_PROXY_TRACE_NAMES_H

#include "base/err.h"
#include "proxy/trace/expression.h"

struct names {
	struct name {
		char *text; /* own: "namespace/service:port" */
		uint32_t set, local_set;
		uint16_t port;
	} *v; /* own */
	size_t count;
};
/* Asks the proxy that listens on address ("HOST:PORT"), waiting at most 2 s. */
int names_fetch(struct names *n, const char *address, struct err *err);
/* Takes what it answered. */
int names_parse(struct names *n, const char *text, size_t len, struct err *err);
void names_done(struct names *n);
const char *names_find(const struct names *n, uint32_t set_id); /* borrow; NULL: unknown */
/* Fills x->sets for x->service. -ENOENT when no such Service (port) is known. */
int names_resolve(const struct names *n, struct expression *x, struct err *err);

#endif
