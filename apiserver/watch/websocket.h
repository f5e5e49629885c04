/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server's end of a WebSocket (RFC 6455) that a watch is written to: a message an event. What the client sends is read and thrown
 * away, but for pings and the close.
 */
#ifndef KEELSON_APISERVER_WATCH_WEBSOCKET_H
#define KEELSON_APISERVER_WATCH_WEBSOCKET_H

#include "apiserver/watch/hub.h"

struct websocket;
/* The request asks for the upgrade. */
bool websocket_asked(const struct http_request *req);
/* Answers the handshake and takes the connection over. text: events go in text messages, not in binary ones. NULL: *ret_why says (a
 * literal) why not, and nothing was answered. Owned by itself from watch_start() with watch_peer_websocket on, until it tells of its
 * close. */
struct websocket *websocket_accept(struct http_request *req, bool text, const char **ret_why);
extern const struct watch_peer_ops watch_peer_websocket;

#endif
