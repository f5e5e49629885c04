/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `keelson-proxy trace`: prints what the kernel programs do with packets and sockets that match an expression. */
#ifndef KEELSON_PROXY_TRACE_TRACE_H
#define KEELSON_PROXY_TRACE_TRACE_H

#include "base/str.h"
#include "proxy/trace/names.h"

/* argv[0] is "trace". Returns an exit code. */
int trace_main(int argc, char **argv);

struct trace_look { /* what a line says beside the event; all borrowed */
	const struct names *names;
	const struct abi_backend *backend; /* NULL: none, or it is gone */
	const char *link;                  /* "" for sockets */
	int64_t wall_us;
	bool json;
};
/* Appends one line. */
void trace_format(struct strbuf *out, const struct abi_trace_event *e, const struct trace_look *look);

#endif
