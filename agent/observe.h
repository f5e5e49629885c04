/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the runtime has of a pod, as values of our own. Loop thread only. */
#ifndef KEELSON_AGENT_OBSERVE_H
#define KEELSON_AGENT_OBSERVE_H

#include "agent/agent.h"
#include "agent/plan.h"
#include "base/map.h"

/* Labels and annotations by which the runtime's objects are found again; the names every CRI tool knows. */
#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"
#define NOTE_RESTART_COUNT "io.kubernetes.container.restartCount"
#define NOTE_HASH "io.kubernetes.container.hash"
#define NOTE_MESSAGE_PATH "io.keelson.container.terminationMessageFile" /* on the node */
#define NOTE_MESSAGE_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define NOTE_GRACE "io.kubernetes.pod.terminationGracePeriod"

struct observed_sandbox {
	char *id;
	uint32_t attempt;
	bool ready;
	int64_t created_ns;
	struct strlist ips; /* of the newest, when it is ready */
};
struct observed_container {
	char *id, *sandbox_id, *name, *image, *image_id, *reason, *message, *log_path, *message_path, *message_policy;
	char *hash;
	uint32_t attempt;
	enum plan_run state; /* never PLAN_ABSENT */
	int exit_code;
	int64_t created_ns, started_ns, finished_ns; /* wall clock; 0: not known */
};
struct observed {
	char *uid, *ns, *name;
	int64_t grace_s; /* as the pod asked for it when its sandbox was made */
	struct observed_sandbox *sandboxes;     /* newest first */
	size_t sandbox_count;
	struct observed_container *containers;  /* newest first */
	size_t container_count;
	uint64_t fingerprint;                   /* of ids and states */
};
struct observed *observed_free(struct observed *o); /* NULL in, NULL out */
/* The n-th newest container of that name (0: newest), or NULL. Borrow. */
const struct observed_container *observed_find(const struct observed *o, const char *name, unsigned n);

/* One pod. known: what was seen before (borrow until done), so that what cannot have changed is not asked again; may be
 * NULL. done gets an owned result, or NULL and the reason. Never calls back from inside. */
typedef void (*observe_fn)(struct observed *o, const char *error, void *user);
struct observation;
struct observation *observe_pod(struct agent *a, const char *uid, const struct observed *known, observe_fn done,
				void *user);
void observe_cancel(struct observation *o); /* done is not called; NULL is fine */

/* Every pod the runtime knows: a map from uid to struct observed (names, grace and fingerprint only), own by done;
 * NULL and the reason on an error. */
typedef void (*observe_all_fn)(struct map *pods, const char *error, void *user);
void observe_all(struct agent *a, observe_all_fn done, void *user);

#endif
