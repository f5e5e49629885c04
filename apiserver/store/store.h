/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The API server's store: all objects in memory as immutable bytes with a small index, one global revision, and below
 * either an engine that makes writes durable in groups, or an etcd that several API servers share. Loop thread only (the
 * engine's commit runs on the thread pool).
 *
 * What always holds: store_get() and the listings show durable state only; a write is shown, and its done is called, after
 * its transaction is on disk; transactions are applied in the order of their revisions.
 */
#ifndef KEELSON_APISERVER_STORE_H
#define KEELSON_APISERVER_STORE_H

#include <jansson.h>
#include <uv.h>

#include "apiserver/crypt/crypt.h"
#include "apiserver/store/etcd.h"
#include "apiserver/store/signature.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* An object at one revision. Immutable, reference-counted (not atomically: loop thread). */
struct store_object {
	uint32_t refs;
	uint16_t resource;           /* its place: below STORE_MAX_RESOURCES, given by the owner */
	uint16_t form;               /* how it is encrypted in the store (crypt.h); set by the store when it is written or read */
	uint64_t revision;
	struct bytes *json;          /* the whole object, resourceVersion included; starts {"kind":..,"apiVersion":..,"metadata": */
	uint32_t head_len;           /* bytes before "metadata", so that {"metadata" + rest is an item of a list */
	uint32_t meta_off, meta_len; /* the value of "metadata" in json */
	uint64_t signature;          /* of labels, fields and name (signature.h), given by the owner; 0: nothing can be selected by it */
	json_t *labels;              /* NULL without */
	char *fields;                /* values of the resource's field labels, each NUL-terminated; NULL without */
	char key[];                  /* "namespace/name" or "name" */
};
/* key is copied; json, labels and fields are moved. Own. */
struct store_object *store_object_new(uint16_t resource, const char *key, uint64_t revision, struct bytes *json,
				      uint32_t head_len, uint32_t meta_off, uint32_t meta_len, json_t *labels,
				      char *fields);
struct store_object *store_object_ref(struct store_object *o);
struct store_object *store_object_unref(struct store_object *o); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct store_object *, store_object_unref)

enum { STORE_MAX_RESOURCES = 512 };
struct store;

enum store_change { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };
struct store_hooks {
	/* The name of a resource's place on disk ("pods", "apps/deployments"), a literal; NULL: no such place. */
	const char *(*place_name)(uint16_t resource);
	/* The place of a name; negative when unknown (the data is left alone). */
	int (*place_find)(const char *name);
	/* Fills in labels and fields of an object that was loaded. The new reference is the caller's. NULL: it is not readable. */
	struct store_object *(*restore)(uint16_t resource, const char *key, uint64_t revision, struct bytes *json,
					uint32_t head_len, uint32_t meta_off, uint32_t meta_len, void *user);
	/* A durable change: object is the new state, for STORE_DELETED the last state with the revision of the deletion; old is
	 * NULL for STORE_ADDED. All borrowed. */
	void (*changed)(enum store_change change, struct store_object *object, struct store_object *old, void *user);
	/* All changes of one transaction were told. */
	void (*committed)(void *user);
	/* The engine failed in a way that only a restart mends. */
	void (*broken)(const char *why, void *user);
	void *user;
	/* For a shared store, NULL otherwise. */
	/* An object from etcd's value: JSON, or protobuf in Kubernetes' envelope. NULL: it is not readable. */
	struct store_object *(*read)(uint16_t resource, const char *key, uint64_t revision, const void *data, size_t len);
	/* The same object at another revision (own); what etcd keeps of it: its JSON without a revision (own). */
	struct store_object *(*at)(struct store_object *object, uint64_t revision);
	struct bytes *(*value)(struct store_object *object);
	/* Adds the names that no two objects may have at once (addresses and ports of Services). */
	void (*claims)(const struct store_object *object, struct strlist *names);
	/* Encrypts what is stored. NULL: nothing is encrypted. Borrow, for the store's life. */
	struct crypt *crypt;
	/* For any store; may be NULL. A write ended, so long after it was handed in: "create", "update" or "delete". */
	void (*measured)(const char *operation, uint16_t resource, int64_t duration_ns);
};

/* Takes the directory's lock (-EWOULDBLOCK: another server has it) and loads everything. hooks are copied. -ENOKEY: values are
 * encrypted by keys that crypt has not; nothing was changed. */
int store_open(uv_loop_t *loop, const char *dir, const struct store_hooks *hooks, struct store **ret, struct err *err);
/* Loads everything from an etcd (blocking, for at most half a minute) and follows it. Revisions are etcd's. */
int store_open_etcd(uv_loop_t *loop, const struct etcd_options *o, const struct store_hooks *hooks, struct store **ret,
		    struct err *err);
/* Commits what is queued (blocking), closes. Every done is called before it returns. */
void store_close(struct store *s);

uint64_t store_revision(const struct store *s);        /* of the last durable transaction; 1 for a new store */
uint64_t store_loaded_revision(const struct store *s); /* what was there when it was opened */
bool store_was_empty(const struct store *s);           /* nothing was there when it was opened */

struct store_object *store_get(const struct store *s, uint16_t resource, const char *key); /* borrow; NULL */
/* With writes not yet durable: what the next write of this key has to be based on. Borrow; NULL. */
struct store_object *store_latest(const struct store *s, uint16_t resource, const char *key);
size_t store_count(const struct store *s, uint16_t resource); /* of objects */

/* A walk over objects of a resource in order of their keys. Valid until control returns to the loop, as are the objects (borrow). */
struct place;
struct store_iter {
	const struct place *place;
	size_t chunk, at;         /* the next one */
	size_t end_chunk, end_at; /* behind the last one */
};
/* Those whose keys begin with prefix; NULL or "": all. prefix is not needed afterwards. */
struct store_iter store_iterate(const struct store *s, uint16_t resource, const char *prefix);
/* Leaves out those up to key, itself included. */
void store_iter_after(struct store_iter *it, const char *key);
/* How many are still to come. Touches no object. */
size_t store_iter_left(const struct store_iter *it);
struct store_object *store_next(struct store_iter *it); /* NULL at the end */
/* The next one whose signature has what is wanted; the others are not touched. */
struct store_object *store_next_wanted(struct store_iter *it, const struct signature_want *want);

/* Encryption at rest. A value that its key does not open is neither shown nor replaced nor removed. */

/* Says which value cannot be read and why (own): of that key, or with key NULL the first of the resource, ns being its namespace or
 * "" for all. NULL: all can be read. */
char *store_unreadable(const struct store *s, uint16_t resource, const char *ns, const char *key);
/* It would be encrypted otherwise if it were written now. */
bool store_is_stale(const struct store *s, const struct store_object *object);
/* 0: everything that is stored can be read by this configuration, too. */
int store_check_encryption(const struct store *s, const struct encryption_config *next, struct err *err);
/* It is in force now. */
void store_encryption_taken(struct store *s);
/* Sets gauges: how many objects are stored under which key. */
void store_tell_encryption(const struct store *s);

/* What the store takes on disk, its journal included; -1 when that is not known (an etcd). */
int64_t store_size_bytes(const struct store *s);

/* Other API servers write to it, too. */
bool store_is_shared(const struct store *s);
/* It can be written now: false while no member of the etcd answers. */
bool store_answers(const struct store *s);
/* Calls done when the index shows everything that was acknowledged, by whichever API server, before this call; status -EIO when
 * that could not be found out. For a shared store; may be called from anywhere, done comes later. */
typedef void (*store_sync_fn)(int status, void *user);
void store_sync(struct store *s, store_sync_fn done, void *user);

/* Calls done when every write that was accepted so far has its outcome; status -ESTALE when one of them failed, so that what was
 * decided on top of it has to be decided anew. For a shared store. False: none is under way, and done is not called. */
bool store_outcomes(struct store *s, store_sync_fn done, void *user);

/* The revision the next write must carry. A revision that is not used leaves a gap. Of a shared store it is provisional, and
 * above every revision that etcd gives: the object that done gets has the real one. */
uint64_t store_reserve(struct store *s);
bool store_is_provisional(const struct store *s, uint64_t revision);
/* status 0, or -errno with a sentence (-ENOSPC: the disk is full; of a shared store -ESTALE: another API server was first, and
 * the index shows its write; -ETIMEDOUT: it may have been written or not; -EMSGSIZE: larger than etcd takes). Never called from inside store_put() or store_delete(). */
typedef void (*store_done_fn)(int status, const char *why, struct store_object *object, void *user);
/* expected: the revision store_latest() showed, 0 when the key must not exist. -EEXIST or -ESTALE when that is not so (done is
 * then not called), -ENAMETOOLONG, -EBADMSG when there is a value that cannot be read. object is moved in every case. done may be NULL. */
int store_put(struct store *s, struct store_object *object, uint64_t expected, store_done_fn done, void *user);
/* object: the last state with the revision of the deletion; moved. */
int store_delete(struct store *s, struct store_object *object, uint64_t expected, store_done_fn done, void *user);

#endif
