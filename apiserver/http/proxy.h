/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The proxy subresource of pods, services and nodes: an HTTP request of any method goes to the backend, its answer comes back as
 * it is. NAME may be "[SCHEME:]NAME[:PORT]" with a port's number or name; https is not verified, as upstream does not.
 */
#ifndef KEELSON_APISERVER_HTTP_PROXY_H
#define KEELSON_APISERVER_HTTP_PROXY_H

#include "apiserver/registry/registry.h"

bool proxy_wants(const struct call *c);
void proxy_start(struct call *c);

#endif
