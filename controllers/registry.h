/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one table of controllers, in the order in which they start. */
#ifndef KEELSON_CONTROLLERS_REGISTRY_H
#define KEELSON_CONTROLLERS_REGISTRY_H

#include "controllers/controller.h"

extern const struct controller_ops *const registry[];
extern const size_t registry_count;

#endif
