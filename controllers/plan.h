/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plan: the writes that a decider wants, as data. Deciders are pure functions from cached objects to a plan, so what
 * a controller would do is tested by tables without a server; plan_apply() is the one place that does it.
 */
#ifndef KEELSON_CONTROLLERS_PLAN_H
#define KEELSON_CONTROLLERS_PLAN_H

#include "kube/client.h"

enum {
	WRITE_SLOW_START = 1 << 0,	 /* goes out in batches of 1, 2, 4...; a failure skips the later batches */
	WRITE_IGNORE_NOT_FOUND = 1 << 1, /* 404 is as good as success */
	WRITE_IGNORE_EXISTS = 1 << 2,	 /* 409 AlreadyExists is as good as success */
	WRITE_EXPECT_CREATE = 1 << 3, /* the cache must show the object before the key's next creations and deletions */
	WRITE_EXPECT_DELETE = 1 << 4, /* the same for the object with the uid in `uid` going away */
	WRITE_MAY_FAIL = 1 << 5,      /* a failure is told to `wrote` and does not fail the plan */
};

/* What is said in an Event about `about` when the write is through. Texts end where the name of the object written
 * (success) or the server's message (failure) is appended when the flag says so. */
struct write_event {
	json_t *about; /* own; NULL: no event */
	const char *ok_reason, *failed_reason; /* literals; NULL: none for that outcome */
	char *ok_text, *failed_text;           /* own */
	bool append_name, append_message;
};
struct write {
	const char *method, *content_type; /* literals */
	char *path;                        /* own */
	json_t *body;                      /* own, may be NULL */
	char *uid;                         /* own: what is deleted, or what a GET must find alive; may be NULL */
	unsigned stage, flags;
	int tag;                           /* the controller's own mark */
	struct write_event event;
};
struct plan {
	struct write **items;
	size_t count, cap;
	unsigned stage;
	int64_t requeue_after_ms;          /* look at the key again then; 0: no */
	struct plan_note {
		json_t *about;
		const char *type, *reason;
		char *text;
	} *notes;                          /* events that belong to no write */
	size_t note_count, note_cap;
};
void plan_done(struct plan *p);
#define _cleanup_plan_ _cleanup_(plan_done)

/* Each appends a write to the current stage and returns it (borrow; later calls do not move it). Paths and bodies are
 * moved; a NULL path is our fault. */
struct write *plan_add(struct plan *p, const char *method, char *path, json_t *body);
struct write *plan_create(struct plan *p, char *collection_path, json_t *object);
struct write *plan_merge_patch(struct plan *p, char *path, json_t *patch);
/* With a uid precondition; grace_s < 0 leaves the grace period to the object. propagation may be NULL. */
struct write *plan_delete(struct plan *p, char *path, const char *uid, int grace_s, const char *propagation);
/* A GET that fails the plan unless it finds the object with this uid and not being deleted: a guard for later stages.
 */
struct write *plan_guard(struct plan *p, char *path, const char *uid);
/* What follows starts when everything before has succeeded. */
void plan_barrier(struct plan *p);
/* The earliest time wins; delay_ms <= 0 means at once (1 ms). */
void plan_requeue(struct plan *p, int64_t delay_ms);
void plan_event(struct plan *p, const json_t *about, const char *type, const char *reason, const char *fmt, ...)
	_printf_(5, 6);
/* What to say when w is through; about is referenced. ok_text may be NULL. */
void write_says(struct write *w, const json_t *about, const char *ok_reason, char *ok_text, const char *failed_reason,
		char *failed_text);

struct plan_callbacks {
	/* For each write once; r is NULL for a write that was skipped because an earlier one failed. */
	void (*wrote)(const struct write *w, const struct kube_result *r, bool ok, void *user);
	/* Last; failed when any write was not made, why is the first failure's text. */
	void (*done)(bool failed, const char *why, void *user);
	void *user;
};
struct plan_run;
/* Moves *p (emptied) and applies it. Calls back later, never from inside; an empty plan calls done too. */
struct plan_run *plan_apply(uv_loop_t *loop, struct kube_client *client, struct plan *p,
			    const struct plan_callbacks *cb);
void plan_cancel(struct plan_run *run); /* no more callbacks */

#endif
