/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leader election by a coordination.k8s.io/v1 Lease, compatible with client-go's (leaderelection.go): a lease of 15 s,
 * renewed each 2 s, given up when it could not be renewed for 10 s. In one thing it is quicker: a holder that was a
 * process of this machine and is dead now is succeeded at once, without waiting for its lease to run out.
 */
#ifndef KEELSON_KUBE_LEADER_H
#define KEELSON_KUBE_LEADER_H

#include "kube/client.h"

struct leader;
struct leader_options {
	size_t size;
	const char *ns, *name;              /* of the Lease: "kube-system", "kube-scheduler" */
	void (*on_started)(void *user);     /* once: this process leads */
	void (*on_stopped)(void *user);     /* once, after on_started: it does not any more; end the process */
	void *user;
	unsigned renew_deadline_ms, retry_ms; /* 0: 10 s and 2 s */
};
/* Starts trying at once. The client must outlive it. */
struct leader *leader_new(struct kube_client *c, const struct leader_options *o);
bool leader_leads(const struct leader *l);
const char *leader_identity(const struct leader *l);
/* Gives the lease up so that a successor need not wait, then calls done (may be NULL; at most 2 s later). No other
 * callback is called any more. */
void leader_release(struct leader *l, void (*done)(void *user), void *user);
void leader_free(struct leader *l);

#endif
