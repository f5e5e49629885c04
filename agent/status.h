/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pod's status from what was observed. Pure: the time is given, nothing is read. */
#ifndef KEELSON_AGENT_STATUS_H
#define KEELSON_AGENT_STATUS_H

#include "agent/env.h"
#include "agent/observe.h"
#include "agent/plan.h"

struct status_container {
	const char *name;
	enum plan_kind kind;
	enum plan_policy policy;
	const char *waiting_reason, *waiting_message; /* why it is not running; NULL: nothing special */
	bool ready, started;
	const json_t *applied;                        /* {"resources":...} that it runs with; NULL: those of its spec */
};
struct status_input {
	const json_t *pod;
	const struct observed *observed;         /* may be NULL */
	const struct status_container *containers;
	size_t count;
	const struct pod_facts *facts;
	bool initialized, network_ready;
	bool over;                               /* nothing of it runs any more, nor ever will */
	bool resize_pending, resize_in_progress; /* resources are being changed in place, or cannot be */
	const char *resize_reason, *resize_message;
	const char *reason, *message;            /* of the pod as a whole (an eviction), or NULL */
	const char *now;                         /* RFC 3339 */
};
/* The whole status; own. Conditions of others (readiness gates, DisruptionTarget) are kept. */
json_t *status_compute(const struct status_input *in);
/* Whether the API was told that this ephemeral container has run: it never does so again. */
bool status_has_run(const json_t *pod, const char *name);
/* A strategic merge patch that turns the pod's status into `status`, or NULL when there is no difference. Own. */
json_t *status_patch(const json_t *pod, const json_t *status);

#endif
