/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions that are views of another one: events.k8s.io/v1 and core/v1 Events, autoscaling/v1 and v2. Pure. */
#ifndef KEELSON_APISERVER_REGISTRY_CONVERT_H
#define KEELSON_APISERVER_REGISTRY_CONVERT_H

#include "kube/json.h"
#include "kube/schema.h"

/* Changes an object of `from` into one of `to` (same storage) in place, kind and apiVersion included. */
void convert_object(const struct schema_resource *from, const struct schema_resource *to, json_t *object);

#endif
