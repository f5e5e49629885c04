/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reflectors and informers: LIST in pages, then WATCH with bookmarks, resumed at the last revision; relisted with
 * back-off (0.8 s to 30 s, jittered) after 410 or errors. The cache is a map from "namespace/name" to objects; objects
 * handed out are borrowed until the caller returns to the loop and never changed by anybody (json_incref to keep,
 * json_deep_copy to change). The cache keeps objects as compact text, about a tenth of the decoded form, and decodes
 * them when they are asked for; what was not used for some seconds is dropped to text again. So a walk over everything
 * with informer_next() costs some 50 us an object: use an index where a part will do. metadata.managedFields is never
 * kept; items of lists get their apiVersion and kind.
 */
#ifndef KEELSON_KUBE_INFORMER_H
#define KEELSON_KUBE_INFORMER_H

#include "kube/client.h"

struct informer;
struct informer_options {
	size_t size;
	const char *api_version, *plural;
	const char *ns;                      /* NULL: all */
	const char *label_selector, *field_selector;
	/* May shrink an object before it is cached (own in, own out; NULL drops it). */
	json_t *(*transform)(json_t *object, void *user);
	/* False: objects are handed to the handlers and not kept (old is then NULL and a delete found at a relist carries
	 * only metadata.name, namespace and uid). */
	bool no_cache;
	void *transform_user;
};
/* old is NULL for an add; new is NULL for a delete. Any of them may be called before on_synced. */
struct informer_handler {
	void (*on_change)(const json_t *old, const json_t *new, void *user);
	void (*on_synced)(void *user);       /* once, after the first full list was delivered */
	void *user;
};
struct informer *informer_new(struct kube_client *c, const struct informer_options *o);
/* Several handlers may share one informer; add them before informer_start(). */
void informer_add_handler(struct informer *i, const struct informer_handler *h);
void informer_start(struct informer *i);
void informer_free(struct informer *i);
bool informer_synced(const struct informer *i);
json_t *informer_get(const struct informer *i, const char *ns, const char *name); /* borrow; ns NULL or "" for cluster scope */
size_t informer_count(const struct informer *i);
/* Iterate: size_t it = 0; while ((o = informer_next(i, &it))) ... */
json_t *informer_next(const struct informer *i, size_t *it);
/* Index by a string computed from the object (an owner's uid, a node's name, a namespace): NULL keeps it out. */
int informer_add_index(struct informer *i, const char *name, char *(*key_of)(const json_t *object)); /* key is own */
/* The objects under a key: *ret_count borrowed pointers, own array (free()), NULL when none. */
json_t **informer_by_index(const struct informer *i, const char *index, const char *key, size_t *ret_count);

#endif
