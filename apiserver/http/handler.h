/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front door: what happens to a request before a verb of the registry sees it. URL, who, what form, may they, does it exist.
 * Also everything that is no resource: discovery, OpenAPI, version, health, metrics.
 */
#ifndef KEELSON_APISERVER_HTTP_HANDLER_H
#define KEELSON_APISERVER_HTTP_HANDLER_H

#include "apiserver/registry/registry.h"

enum { HANDLER_MAX_BODY = 3 << 20 };
/* http_handler_fn with a struct registry as user. */
void handler_request(struct http_request *req, void *registry);
/* For struct http_server_options. */
void handler_refused(int status, const char *why, struct strbuf *body, const char **content_type, void *user);

#endif
