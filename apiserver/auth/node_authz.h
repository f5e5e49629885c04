/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What nodes may do (upstream's node authorizer and NodeRestriction): a node reads what the pods bound to it use, and writes its own
 * Node, Lease and the status of its pods. A node is who is called system:node:NAME in the group system:nodes.
 */
#ifndef KEELSON_APISERVER_AUTH_NODE_AUTHZ_H
#define KEELSON_APISERVER_AUTH_NODE_AUTHZ_H

#include "apiserver/auth/rbac.h"

/* The node's name (borrow), or NULL: somebody else. */
const char *node_identity(const struct identity *user);
/* May the node? False: ask RBAC. */
bool node_authz_allows(struct registry *g, const struct rbac *rbac, const char *node, const struct authz_attributes *a);

/* Does the pod name the Secret (else the ConfigMap) anywhere? name NULL: any of them. */
bool node_pod_uses(const json_t *pod, bool secret, const char *name);

enum node_operation { NODE_CREATE, NODE_UPDATE, NODE_DELETE, NODE_EVICT };
/* What a write may hold: a Status (403), or NULL, as for everybody who is no node. old NULL for a create; object NULL for a
 * deletion or eviction of old. sub NULL without a subresource. */
json_t *node_restrict(struct registry *g, const struct schema_resource *storage, const struct identity *user,
		      enum node_operation op, const char *sub, const json_t *object, const json_t *old);
/* A TokenRequest for a ServiceAccount: bound to a pod of the node, by name and uid. */
json_t *node_restrict_token(struct registry *g, const struct identity *user, const char *ns, const char *account,
			    const json_t *request);

#endif
