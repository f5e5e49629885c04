/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decider by tables: a situation, and the actions that follow from it. */
#include "agent/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

/* One word a container: kind (i init, s sidecar, m main, e ephemeral), policy (A, F, N), state (- absent, c created, R running,
 * S running and started, 0 exited well, 1 exited badly, ? unknown), then flags: o of an old sandbox, b busy, u unhealthy,
 * w must wait. */
struct row {
	const char *name, *containers;
	char sandbox; /* -, R, D */
	bool terminating, finished, had, unprepared, start_busy;
	const char *expect; /* verbs: P prepare, N new sandbox, X stop sandbox, +n start, -n stop; "stopped", "completed" */
};

static void parse(const char *word, struct plan_container *c)
{
	*c = (struct plan_container){ .current = true };
	c->kind = word[0] == 'i' ? PLAN_INIT : word[0] == 's' ? PLAN_SIDECAR : word[0] == 'e' ? PLAN_EPHEMERAL : PLAN_MAIN;
	c->policy = word[1] == 'A' ? PLAN_ALWAYS : word[1] == 'F' ? PLAN_ON_FAILURE : PLAN_NEVER;
	switch (word[2]) {
	case 'c':
		c->run = PLAN_CREATED;
		break;
	case 'S':
		c->started = true;
		c->run = PLAN_RUNNING;
		break;
	case 'R':
		c->run = PLAN_RUNNING;
		break;
	case '0':
	case '1':
		c->run = PLAN_EXITED;
		c->exit_code = word[2] - '0';
		break;
	case '?':
		c->run = PLAN_UNKNOWN;
		break;
	default:
		c->run = PLAN_ABSENT;
	}
	for (const char *f = word + 3; *f; f++) {
		c->current = c->current && *f != 'o';
		c->busy = c->busy || *f == 'b';
		c->unhealthy = c->unhealthy || *f == 'u';
		if (*f == 'w')
			c->retry_at_ms = 2000;
	}
}

static const struct row rows[] = {
	{ "nothing is there yet", "mA-", '-', .unprepared = true, .expect = "P" },
	{ "prepared", "mA-", '-', .expect = "N" },
	{ "sandbox is ready", "mA- mA-", 'R', .had = true, .expect = "+0" },
	{ "one start at a time", "mA-b mA-", 'R', .had = true, .start_busy = true, .expect = "" },
	{ "the second follows", "mAS mA-", 'R', .had = true, .expect = "+1" },
	{ "a failing image does not block the next", "mA-w mA-", 'R', .had = true, .expect = "+1 wake" },
	{ "all run", "mAS mAS", 'R', .had = true, .expect = "" },
	{ "restart at once", "mA1", 'R', .had = true, .expect = "+0" },
	{ "a clean end is restarted too", "mA0", 'R', .had = true, .expect = "+0" },
	{ "in back-off", "mA1w", 'R', .had = true, .expect = "wake" },
	{ "on failure: done", "mF0", 'R', .had = true, .expect = "X completed" },
	{ "on failure: again", "mF1", 'R', .had = true, .expect = "+0" },
	{ "on failure: one left", "mF0 mFS", 'R', .had = true, .expect = "" },
	{ "never: done", "mN1", 'R', .had = true, .expect = "X completed" },
	{ "never: sandbox released", "mN1", '-', .had = true, .expect = "completed stopped" },
	{ "unhealthy", "mASu", 'R', .had = true, .expect = "-0" },
	{ "unhealthy, being stopped", "mASub", 'R', .had = true, .expect = "" },
	{ "half made: away with it", "mAc", 'R', .had = true, .expect = "-0" },
	{ "lost by the runtime", "mA?", 'R', .had = true, .expect = "-0" },

	{ "init goes first", "iF- mA-", 'R', .had = true, .expect = "+0" },
	{ "init runs", "iFR mA-", 'R', .had = true, .expect = "" },
	{ "init done", "iF0 mA-", 'R', .had = true, .expect = "+1" },
	{ "second init", "iF0 iF- mA-", 'R', .had = true, .expect = "+1" },
	{ "init failed, again", "iF1 mA-", 'R', .had = true, .expect = "+0" },
	{ "init failed for good", "iN1 mN-", 'R', .had = true, .expect = "X completed" },
	{ "init in back-off", "iF1w mA-", 'R', .had = true, .expect = "wake" },
	{ "init records are gone but main runs", "iF- mAS", 'R', .had = true, .expect = "" },
	{ "main ended, init is not repeated", "iF0 mA1", 'R', .had = true, .expect = "+1" },

	{ "sidecar starts", "sA- mA-", 'R', .had = true, .expect = "+0" },
	{ "sidecar not started yet", "sAR mA-", 'R', .had = true, .expect = "" },
	{ "sidecar started", "sAS mA-", 'R', .had = true, .expect = "+1" },
	{ "sidecar between inits", "iF0 sAS iF- mA-", 'R', .had = true, .expect = "+2" },
	{ "sidecar died while main runs", "sA1 mAS", 'R', .had = true, .expect = "+0" },
	{ "sidecar unhealthy", "sASu mAS", 'R', .had = true, .expect = "-0" },
	{ "main done, sidecar goes", "sAS mN0", 'R', .had = true, .expect = "-0 completed" },

	{ "sandbox died: first stop what runs", "mASo", 'D', .had = true, .expect = "-0" },
	{ "sandbox died: release it", "mA1o", 'D', .had = true, .expect = "X" },
	{ "sandbox released: a new one", "mA1o", '-', .had = true, .expect = "N" },
	{ "new sandbox: init again", "iF0o mA1o", 'R', .had = true, .expect = "+0" },
	{ "new sandbox: main again", "iF0 mA1o", 'R', .had = true, .expect = "+1" },
	{ "never pod with a dead sandbox is over", "mN1o", 'D', .had = true, .expect = "X completed" },

	{ "ephemeral starts", "mAS eN-", 'R', .had = true, .expect = "+1" },
	{ "ephemeral does not wait for init", "iFR mA- eN-", 'R', .had = true, .expect = "+2" },
	{ "ephemeral goes before a restart", "mA1 eN-", 'R', .had = true, .expect = "+1" },
	{ "ephemeral waits for its turn", "mA-b eN-", 'R', .had = true, .start_busy = true, .expect = "" },
	{ "ephemeral's image fails", "mAS eN-w", 'R', .had = true, .expect = "wake" },
	{ "ephemeral runs", "mAS eNR", 'R', .had = true, .expect = "" },
	{ "ephemeral ended well: never again", "mAS eN0", 'R', .had = true, .expect = "" },
	{ "ephemeral ended badly: never again", "mAS eN1", 'R', .had = true, .expect = "" },
	{ "ephemeral of an old sandbox: never again", "mAS eN1o", 'R', .had = true, .expect = "" },
	{ "ephemeral half made: away with it", "mAS eNc", 'R', .had = true, .expect = "-1" },
	{ "ephemeral lost by the runtime", "mAS eN?", 'R', .had = true, .expect = "" },
	{ "ephemeral waits for a sandbox", "mA- eN-", '-', .expect = "N" },
	{ "ephemeral does not keep a pod from its end", "mN0 eNR", 'R', .had = true, .expect = "-1 completed" },
	{ "nor does one that never came", "mN0 eN-", '-', .had = true, .expect = "completed stopped" },
	{ "sandbox died: ephemeral is stopped too", "mA1o eNRo", 'D', .had = true, .expect = "-1" },
	{ "terminating: ephemeral too", "sAS mAS eNR", 'R', .terminating = true, .had = true, .expect = "-1 -2" },

	{ "terminating: all at once", "mAS mAS", 'R', .terminating = true, .had = true, .expect = "-0 -1" },
	{ "terminating: sidecars wait", "sAS mAS", 'R', .terminating = true, .had = true, .expect = "-1" },
	{ "terminating: sidecars in reverse", "sAS sAS mA0", 'R', .terminating = true, .had = true, .expect = "-1" },
	{ "terminating: next sidecar", "sAS sA0 mA0", 'R', .terminating = true, .had = true, .expect = "-0" },
	{ "terminating: being stopped", "mASb", 'R', .terminating = true, .had = true, .expect = "" },
	{ "terminating: starting is waited for", "mA-b", 'R', .terminating = true, .had = true, .expect = "" },
	{ "terminating: sandbox", "mA0", 'R', .terminating = true, .had = true, .expect = "X" },
	{ "terminating: over", "mA0", '-', .terminating = true, .had = true, .expect = "stopped" },
	{ "terminating before anything was made", "mA-", '-', .terminating = true, .unprepared = true, .expect = "stopped" },
	{ "a final phase is never undone", "mAS", 'R', .finished = true, .had = true, .expect = "-0" },
	{ "a final phase, adopted", "mA1", '-', .finished = true, .had = true, .expect = "stopped" },
};

static void describe(const struct plan *p, struct strbuf *out)
{
	static const char letters[] = { 'P', 'N', 'X', '+', '-' };

	for (size_t i = 0; i < p->count; i++) {
		strbuf_addf(out, "%s%c", out->len ? " " : "", letters[p->actions[i].verb]);
		if (p->actions[i].verb == PLAN_START || p->actions[i].verb == PLAN_STOP)
			strbuf_addf(out, "%zu", p->actions[i].container);
	}
	if (p->completed)
		strbuf_addf(out, "%scompleted", out->len ? " " : "");
	if (p->stopped)
		strbuf_addf(out, "%sstopped", out->len ? " " : "");
	if (p->wake_at_ms)
		strbuf_addf(out, "%swake", out->len ? " " : "");
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
		const struct row *row = &rows[r];
		struct plan_container c[8];
		_cleanup_strlist_ struct strlist words = { 0 };
		_cleanup_strbuf_ struct strbuf got = { 0 };
		struct plan_input in = {
			.terminating = row->terminating, .finished = row->finished, .had_sandbox = row->had,
			.prepared = !row->unprepared, .start_busy = row->start_busy, .now_ms = 1000, .containers = c,
		};
		struct plan p;

		in.sandbox = row->sandbox == 'R' ? PLAN_SANDBOX_READY :
			     row->sandbox == 'D' ? PLAN_SANDBOX_DEAD :
						   PLAN_SANDBOX_NONE;
		strlist_split(&words, row->containers, ' ');
		for (in.count = 0; in.count < words.count; in.count++)
			parse(words.items[in.count], &c[in.count]);
		plan_decide(&in, &p);
		strbuf_adds(&got, "");
		describe(&p, &got);
		if (!str_eq(got.data ? got.data : "", row->expect))
			fail_msg("%s: got \"%s\", not \"%s\"", row->name, got.data ? got.data : "", row->expect);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
