/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of resources (name -> quantity) as sums: what pods ask for, what LimitRanges and ResourceQuotas compare. Lists are
 * JSON objects with canonical quantities, as the API writes them. Pure.
 */
#ifndef KEELSON_APISERVER_ADMISSION_AMOUNTS_H
#define KEELSON_APISERVER_ADMISSION_AMOUNTS_H

#include "kube/json.h"
#include "kube/quantity.h"

/* False: not there, or no quantity. */
bool amounts_get(const json_t *list, const char *name, struct quantity *ret);
void amounts_set(json_t *list, const char *name, const struct quantity *q);
void amounts_add_number(json_t *list, const char *name, int64_t n);
void amounts_add(json_t *list, const json_t *more);
void amounts_max(json_t *list, const json_t *other); /* the larger of both, resource by resource */
/*
 * What a pod takes altogether of "requests" or "limits" (KEP-753): the larger of what runs for good (containers and
 * restartable init containers) and what any init container needs while it runs, and the overhead. Own.
 */
json_t *amounts_of_pod(const json_t *spec, const char *which);

#endif
