/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The quality of service class of a pod, from its requests and limits of cpu and memory. */
#ifndef KEELSON_APISERVER_QOS_H
#define KEELSON_APISERVER_QOS_H

#include "kube/json.h"

const char *pod_qos_class(const json_t *pod); /* "Guaranteed", "Burstable" or "BestEffort" */

#endif
