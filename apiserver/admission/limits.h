/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LimitRanger: defaults for containers, least and most amounts for containers, pods and claims. Pure. */
#ifndef KEELSON_APISERVER_ADMISSION_LIMITS_H
#define KEELSON_APISERVER_ADMISSION_LIMITS_H

#include "kube/json.h"

/* Gives containers of the pod (changed in place) the defaults of a LimitRange they lack, and says so in its annotation. */
void limits_default_pod(const json_t *range, json_t *pod);
/* Appends what a pod, or a claim, does against a LimitRange to errors, as Kubernetes words it. */
void limits_check_pod(const json_t *range, const json_t *pod, struct strlist *errors);
void limits_check_claim(const json_t *range, const json_t *claim, struct strlist *errors);

#endif
