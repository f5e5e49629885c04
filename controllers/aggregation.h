/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ClusterRoles that are put together from others. Pure. */
#ifndef KEELSON_CONTROLLERS_AGGREGATION_H
#define KEELSON_CONTROLLERS_AGGREGATION_H

#include "controllers/workload.h"

/* The rules a role with an aggregationRule has to have: those of the roles it selects, in the order of its selectors and of their
 * names, each once. roles: all ClusterRoles. Own. */
json_t *aggregation_rules(const json_t *role, const struct object_list *roles);

#endif
