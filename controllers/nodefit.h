/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a pod's own wishes allow a node: name, selector, required affinity, tolerations. Pure. */
#ifndef KEELSON_CONTROLLERS_NODEFIT_H
#define KEELSON_CONTROLLERS_NODEFIT_H

#include "kube/json.h"

/* spec.nodeSelector and required node affinity (matchExpressions on labels, matchFields on metadata.name). */
bool nodefit_selects(const json_t *pod_spec, const json_t *node);
/* Every taint with one of the effects is tolerated. effect2 may be NULL. */
bool nodefit_tolerates(const json_t *pod_spec, const json_t *node, const char *effect1, const char *effect2);
/* The node that a pod not yet bound is meant for by its affinity (matchFields metadata.name), or NULL. */
const char *nodefit_target(const json_t *pod_spec);

#endif
