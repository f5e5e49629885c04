/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /healthz, /livez, /readyz and /metrics over plain HTTP. */
#ifndef KEELSON_CONTROLLERS_HEALTH_H
#define KEELSON_CONTROLLERS_HEALTH_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

struct health;
/* address "127.0.0.1:10257". ready is asked at each /readyz. *ret_health is own. */
int health_start(uv_loop_t *loop, const char *address, bool (*ready)(void *user), void *user,
		 struct health **ret_health, struct err *err);
void health_stop(struct health *h); /* NULL is fine */

#endif
