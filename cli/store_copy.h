/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of the cluster's store at one revision, made while the API server writes to it, and put back. */
#ifndef KEELSON_CLI_STORE_COPY_H
#define KEELSON_CLI_STORE_COPY_H

#include "cli/cluster.h"

/* How far a restored store's revision is ahead of its backup: farther than any cluster has come since, so that no client that
 * remembers a revision takes an old one for the next. */
#define STORE_REVISION_BUMP 1000000000ULL

/* Makes to from the embedded store's file (apiserver/store/engine.c). prefixes: those of the keys that the cluster has; a value that
 * is encrypted by another one is an error. */
int store_copy_embedded(const char *from, const char *to, const struct strlist *prefixes, uint64_t *ret_revision, struct err *err);
/* Checks a copy and raises its revision by STORE_REVISION_BUMP. */
int store_bump_embedded(const char *path, uint64_t wanted_revision, struct err *err);
/* Makes to, a snapshot of the etcd that runs here. In the node's network namespace. */
int store_copy_etcd(const struct cluster *c, const char *to, uint64_t *ret_revision, struct err *err);
/* Makes the data directory to from a snapshot. Its revision is as it was. */
int store_restore_etcd(const char *snapshot, const char *to, struct err *err);

#endif
