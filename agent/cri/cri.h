/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The container runtime: CRI v1 calls by a table of methods, and containerd's event stream. Asynchronous, loop thread
 * only. Messages are protobuf-c's (agent/cri/cri.proto).
 */
#ifndef KEELSON_AGENT_CRI_H
#define KEELSON_AGENT_CRI_H

#include "agent/cri.pb-c.h"
#include "base/str.h"
#include "io/grpc.h"

enum cri_method {
	CRI_VERSION,
	CRI_STATUS,
	CRI_RUN_POD_SANDBOX,
	CRI_STOP_POD_SANDBOX,
	CRI_REMOVE_POD_SANDBOX,
	CRI_POD_SANDBOX_STATUS,
	CRI_LIST_POD_SANDBOX,
	CRI_CREATE_CONTAINER,
	CRI_START_CONTAINER,
	CRI_STOP_CONTAINER,
	CRI_REMOVE_CONTAINER,
	CRI_LIST_CONTAINERS,
	CRI_UPDATE_CONTAINER_RESOURCES,
	CRI_CONTAINER_STATUS,
	CRI_REOPEN_CONTAINER_LOG,
	CRI_EXEC_SYNC,
	CRI_EXEC,
	CRI_ATTACH,
	CRI_PORT_FORWARD,
	CRI_LIST_IMAGES,
	CRI_IMAGE_STATUS,
	CRI_PULL_IMAGE,
	CRI_METHOD_MAX
};

struct cri;
/* endpoint: "unix:///run/containerd/containerd.sock" or a path. Own. */
struct cri *cri_new(uv_loop_t *loop, const char *endpoint);
void cri_free(struct cri *c); /* cancels without calling back; NULL is fine */

struct cri_result {
	enum grpc_status status;
	const char *message;            /* "" on success */
	const ProtobufCMessage *answer; /* borrow; NULL unless status is GRPC_OK */
};
static inline bool cri_ok(const struct cri_result *r)
{
	return r->status == GRPC_OK;
}
typedef void (*cri_done_fn)(const struct cri_result *r, void *user);
/* request is packed before this returns. timeout_ms 0: the 2 minutes every CRI client uses. done (may be NULL) is
 * called exactly once, never from inside. */
struct grpc_call *cri_call(struct cri *c, enum cri_method method, const ProtobufCMessage *request, unsigned timeout_ms,
			   cri_done_fn done, void *user);
/* Ends a call without its done being called. NULL is fine. */
void cri_cancel(struct cri *c, struct grpc_call *call);
const char *cri_method_name(enum cri_method method);

/* containerd's task events in the namespace k8s.io: on_event with the id of the container (or sandbox) they are about;
 * id NULL: the stream was (re)opened, anything may have been missed. Resubscribes with a delay by itself. */
typedef void (*cri_event_fn)(const char *topic, const char *container_id, void *user);
void cri_subscribe(struct cri *c, cri_event_fn on_event, void *user);

/* The value under key in a repeated Pair, or NULL. Borrow. */
const char *cri_pair(Cri__Pair *const *pairs, size_t count, const char *key);

#endif
