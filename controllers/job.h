/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision of the Job controller, apart from its caches. */
#ifndef KEELSON_CONTROLLERS_JOB_H
#define KEELSON_CONTROLLERS_JOB_H

#include "controllers/workload.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

struct job_view {
	const json_t *job;
	const struct selector *selector;
	struct object_list candidates; /* pods it owns and pods of its namespace that nobody owns */
	bool may_manage;
	int64_t now_s;
};
void job_decide(const struct job_view *v, struct plan *plan);
bool job_holds(const json_t *pod); /* the pod has JOB_FINALIZER */
/* Takes JOB_FINALIZER off pods. */
void job_release(const struct object_list *pods, struct plan *plan);
/* A Complete or Failed condition stands. */
bool job_finished(const json_t *job);
int64_t job_finished_at_s(const json_t *job); /* 0 when it is not finished */

/* Completion indexes as text, "0,2-4,7". A set of at most JOB_MAX_INDEX. */
enum { JOB_MAX_INDEX = 100000 };
void job_indexes_parse(const char *text, uint8_t *set,
		       size_t size); /* set[i] = 1; what is malformed or beyond is skipped */
char *job_indexes_format(const uint8_t *set, size_t size);           /* own */
/* Seconds before the next pod after `failures` failures in a row. */
int64_t job_backoff_s(int64_t failures);

#endif
