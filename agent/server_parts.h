/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the agent's server share. */
#ifndef KEELSON_AGENT_SERVER_PARTS_H
#define KEELSON_AGENT_SERVER_PARTS_H

#include "agent/agent.h"
#include "io/http_server.h"

void server_text(struct http_request *req, int status, const char *text);
/* path: its parts, unescaped; "containerLogs", namespace, pod, container. */
void server_logs(struct agent *a, struct http_request *req, const struct strlist *path);
/* "exec", "attach" or "portForward", namespace, pod [, uid] [, container]. */
void tunnel_request(struct agent *a, struct http_request *req, const struct strlist *path);
/* A parameter of the query (the first of that name), unescaped; own, NULL when it is not there. */
char *server_query(const struct http_request *req, const char *name);
/* All of that name. */
void server_query_all(const struct http_request *req, const char *name, struct strlist *out);
bool server_query_bool(const struct http_request *req, const char *name); /* "true" or "1" */

#endif
