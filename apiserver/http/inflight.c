// SPDX-License-Identifier: GPL-2.0-or-later
/* A call counts once, from when it is known who asks until it is over. */
#include "apiserver/http/inflight.h"

#include "apiserver/metrics/measure.h"
#include "apiserver/registry/registry.h"

bool inflight_is_longrunning(const struct call *c)
{
	static const char *const subs[] = { "attach", "exec", "log", "portforward", "proxy" };
	if (!c->u.is_resource)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++)
		if (str_eq(c->u.sub, subs[i]))
			return true;
	return c->u.verb == API_WATCH;
}

static bool is_master(const struct identity *user)
{
	for (const char *const *g = user->groups; g && *g; g++)
		if (str_eq(*g, "system:masters"))
			return true;
	return false;
}

json_t *inflight_begin(struct call *c)
{
	bool reads = c->u.is_resource ? c->u.verb == API_GET || c->u.verb == API_LIST : str_eq(c->method, "GET");
	enum measure_kind kind = reads ? MEASURE_READ_ONLY : MEASURE_MUTATING;
	struct registry *g = c->g;
	unsigned max = g->options.max_inflight[kind];
	if (inflight_is_longrunning(c) || c->inflight)
		return NULL;
	if (max && g->inflight[kind] >= max && !is_master(&c->user)) {
		json_t *s = status_new(429, "TooManyRequests", "Too many requests, please try again later.");
		status_set_retry(s, 1);
		return s;
	}
	c->inflight = (uint8_t)(1 + kind);
	measure_inflight(kind, ++g->inflight[kind]);
	return NULL;
}

void inflight_end(struct call *c)
{
	if (!c->inflight)
		return;
	enum measure_kind kind = (enum measure_kind)(c->inflight - 1);
	c->inflight = 0;
	measure_inflight(kind, --c->g->inflight[kind]);
}
