/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gRPC client over HTTP/2 (nghttp2) on a unix socket, TCP, or TLS on TCP, asynchronous on a libuv loop; unary and
 * server-streaming calls. Reconnects by itself: calls in flight when the connection dies end with
 * GRPC_UNAVAILABLE. Messages are protobuf-c's packed bytes; this layer does not look inside.
 * The process must ignore SIGPIPE.
 */
#ifndef KEELSON_IO_GRPC_H
#define KEELSON_IO_GRPC_H

#include <openssl/ssl.h>
#include <uv.h>

#include "base/err.h"

enum grpc_status {
	GRPC_OK = 0, GRPC_CANCELLED = 1, GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3, GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5, GRPC_ALREADY_EXISTS = 6, GRPC_PERMISSION_DENIED = 7, GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9, GRPC_ABORTED = 10, GRPC_OUT_OF_RANGE = 11, GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14, GRPC_DATA_LOSS = 15, GRPC_UNAUTHENTICATED = 16,
};
struct grpc_client;
struct grpc_call;
/* target: a socket's path, "unix://PATH", or "tcp://IP:PORT" ("tcp://[::1]:80"). A target that is none of these makes
 * every call end with GRPC_UNAVAILABLE. */
struct grpc_client *grpc_client_new(uv_loop_t *loop, const char *target);
/* Before the first call: "tcp://" connections speak TLS with this context (of tls_client_new() with h2), and the server's
 * certificate has to name the IP address. The context is referenced. */
void grpc_client_set_tls(struct grpc_client *c, SSL_CTX *ctx);
void grpc_client_free(struct grpc_client *c); /* cancels all calls without calling back */

/* on_message: once (unary) or for each message of a stream; borrow. on_done: exactly once, status and message. Neither
 * is called from inside grpc_call_start(). metadata: NULL-terminated pairs name, value, or NULL. timeout_ms 0: none.
 * One message may be up to 64 MiB. The call is freed after on_done. */
typedef void (*grpc_message_fn)(const void *data, size_t len, void *user);
typedef void (*grpc_done_fn)(enum grpc_status status, const char *message, void *user);
struct grpc_call *grpc_call_start(struct grpc_client *c, const char *method_path, const void *msg, size_t len,
				  const char *const *metadata, unsigned timeout_ms, grpc_message_fn on_message,
				  grpc_done_fn on_done, void *user);
void grpc_call_cancel(struct grpc_call *call); /* on_done is not called */

#endif
