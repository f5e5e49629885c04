/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Jobs and CronJobs share. */
#ifndef KEELSON_APISERVER_VALIDATE_JOB_H
#define KEELSON_APISERVER_VALIDATE_JOB_H

#include "apiserver/validate/validate_pod.h"

/* A Job's spec without what concerns its selector; also that of a CronJob's template. */
void check_job_spec(struct field_errors *e, const struct fpath *p, const json_t *spec);
void check_job_indexes(struct field_errors *e, const struct fpath *p, const json_t *spec);
void check_failure_policy(struct field_errors *e, const struct fpath *p, const json_t *spec);
void check_success_policy(struct field_errors *e, const struct fpath *p, const json_t *spec);

#endif
