/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The containers of a pod's spec: init containers, main ones, ephemeral ones (those of `kubectl debug`). */
#ifndef KEELSON_AGENT_SPEC_H
#define KEELSON_AGENT_SPEC_H

#include "kube/object.h"

enum { SPEC_LISTS = 3 };
/* The names of the lists under `spec`. Names of containers are unique across all of them. */
extern const char *const spec_lists[SPEC_LISTS];

/* The container of that name, whichever list it stands in, or NULL (also for pod NULL). Borrow. */
const json_t *spec_container(const json_t *pod, const char *name);

#endif
