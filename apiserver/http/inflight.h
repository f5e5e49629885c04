/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits of requests in work, --max-requests-inflight and --max-mutating-requests-inflight: beyond them a request is refused with
 * 429. Long-running requests do not count, and those of system:masters are never refused, as upstream does.
 */
#ifndef KEELSON_APISERVER_HTTP_INFLIGHT_H
#define KEELSON_APISERVER_HTTP_INFLIGHT_H

#include "apiserver/http/call.h"

/* Watches, and attach, exec, log, portforward and proxy of anything. */
bool inflight_is_longrunning(const struct call *c);
/* Counts the call until inflight_end(). A Status (own): it is refused and was not counted. Who asks has to be known. */
json_t *inflight_begin(struct call *c);
void inflight_end(struct call *c);

#endif
