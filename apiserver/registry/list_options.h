/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metav1.ListOptions as lists and watches take them from the query: the rules between resourceVersion, resourceVersionMatch,
 * continue and sendInitialEvents (KEP-2340, KEP-3157), and the continue token. Refusals are Statuses as upstream words them.
 */
#ifndef KEELSON_APISERVER_REGISTRY_LIST_OPTIONS_H
#define KEELSON_APISERVER_REGISTRY_LIST_OPTIONS_H

#include "apiserver/http/request.h"
#include "kube/schema.h"

struct list_options {
	bool has_revision;   /* not before `revision` is reached here */
	bool exact;          /* and as it was then */
	uint64_t revision;
	uint64_t limit;      /* 0: none */
	bool continued;      /* by a token */
	bool token_current;  /* the token continues at the current revision (rv -1) */
	const char *start;   /* the last key already given, in the arena; NULL: from the first */
};
/* For a list of storage. NULL: *ret is filled in. */
json_t *list_options_read(struct arena *a, const struct query *q, const struct schema_resource *storage, struct list_options *ret);
/* The token for what follows key at a revision; rv -1: at whatever is current then. Own. */
char *list_token(const struct schema_resource *storage, int64_t rv, const char *key);

struct watch_query {
	uint64_t from;       /* events after this revision; 0: from what is there */
	bool initial;        /* what is there comes first */
	bool initial_end;    /* and then a bookmark that says so */
	bool bookmarks;
	int64_t timeout_s;   /* 0: not said */
};
json_t *watch_options_read(const struct query *q, struct watch_query *ret);

/* A resourceVersion other than "" and "0" (which are 0); what: "" or a word in front of the refusal's text. */
json_t *resource_version_read(const char *text, const char *what, uint64_t *ret);

#endif
