/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between answer.c and answer_list.c; what others call is in call.h. */
#ifndef KEELSON_APISERVER_HTTP_ANSWER_H
#define KEELSON_APISERVER_HTTP_ANSWER_H

#include "apiserver/http/call.h"

bool answer_accepts_gzip(const struct http_request *req);
/* The whole body, which is moved; compressed when it is large and the client takes that. */
void answer_bytes(struct call *c, int code, const char *content_type, struct bytes *body);

#endif
