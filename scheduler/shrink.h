/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the scheduler keeps of the objects it watches: informer transforms. Own in, own out. */
#ifndef KEELSON_SCHEDULER_SHRINK_H
#define KEELSON_SCHEDULER_SHRINK_H

#include "kube/json.h"

json_t *shrink_pod(json_t *pod, void *user);
json_t *shrink_node(json_t *node, void *user);
json_t *shrink_namespace(json_t *ns, void *user);

#endif
