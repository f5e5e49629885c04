/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What client.c and event.c share. */
#ifndef KEELSON_KUBE_CLIENT_INTERNAL_H
#define KEELSON_KUBE_CLIENT_INTERNAL_H

#include "kube/client.h"

/* The event recorder's memory of a client. */
struct events;
struct events **kube_client_events(struct kube_client *c);
struct events *events_free(struct events *e); /* NULL is fine; returns NULL */

#endif
