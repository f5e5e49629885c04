/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel programs say about packets and sockets, read by a process of its own: the maps are opened where they are
 * pinned, a daemon is not needed. One tracer at a time (a lock on the pin directory). The filter has a deadline that
 * engine_trace_run() moves on; the programs themselves end a trace whose tracer was killed, 5 s later at most.
 */
#ifndef KEELSON_PROXY_ENGINE_TRACE_H
#define KEELSON_PROXY_ENGINE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bpf/shared/abi.h"

struct engine_trace;
/* Turns tracing on. Own, or NULL: another tracer is at work, or no proxy of this version has maps there. */
struct engine_trace *engine_trace_open(const char *pin_dir, const struct abi_trace_filter *filter, struct err *err);
/* Returns false to end the run. */
typedef bool (*engine_trace_fn)(const struct abi_trace_event *event, void *user);
/* Waits at most timeout_ms for events and hands them over. 0 to go on, 1 when fn ended it, -EINTR after a signal, or another
 * error with err. Call it at least once a second. */
int engine_trace_run(struct engine_trace *t, int timeout_ms, engine_trace_fn fn, void *user, struct err *err);
/* The address a backend id has now; false when it has none. */
bool engine_trace_backend(struct engine_trace *t, uint32_t id, struct abi_backend *ret);
struct engine_trace *engine_trace_free(struct engine_trace *t); /* turns tracing off; NULL is fine */

#endif
