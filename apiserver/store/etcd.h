/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The members of an etcd (API v3 over gRPC): one is talked to at a time. Loop thread only. */
#ifndef KEELSON_APISERVER_STORE_ETCD_H
#define KEELSON_APISERVER_STORE_ETCD_H

#include <protobuf-c/protobuf-c.h>

#include "io/grpc.h"

struct etcd_options {
	const char *servers;                      /* "https://IP:PORT,...", or http for all */
	const char *ca_file, *cert_file, *key_file; /* PEM; NULL: the system's CAs, no client certificate */
	const char *prefix;                       /* of all keys, "/registry" */
	const char *compaction_interval;          /* "5m0s"; "0": others compact */
};
struct etcd;
/* Nothing is sent yet. options are not kept. NULL with err. */
struct etcd *etcd_new(uv_loop_t *loop, const struct etcd_options *o, struct err *err);
void etcd_free(struct etcd *e);
/* Leaves the member: every call on it ends without calling back. The next call goes to the following one. */
void etcd_next_member(struct etcd *e);
const char *etcd_member(const struct etcd *e); /* "IP:PORT" */
int64_t etcd_compaction_ms(const struct etcd *e); /* 0: never */
size_t etcd_member_count(const struct etcd *e);
/* A call with one request message, as grpc_call_start(). */
struct grpc_call *etcd_call(struct etcd *e, const char *method_path, const ProtobufCMessage *request, unsigned timeout_ms,
			    grpc_message_fn on_message, grpc_done_fn on_done, void *user);

#endif
