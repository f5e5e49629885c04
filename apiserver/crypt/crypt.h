/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of values at rest as --encryption-provider-config says (KEP-2339's file, Kubernetes' stored form), and the file's
 * reloading. Every key a value was found under, or written by, has a number, the form: 0 is a value as it is. Loop thread only.
 */
#ifndef KEELSON_APISERVER_CRYPT_CRYPT_H
#define KEELSON_APISERVER_CRYPT_CRYPT_H

#include <uv.h>

#include "base/mem.h"
#include "kube/encryption.h"

struct crypt;
/* Reads the file, and warns when others may read it, too. Own, or NULL with err. */
struct crypt *crypt_new(const char *file, struct err *err);
/* Before the loop has ended: the watch's handle is closed by it. NULL is fine; returns NULL. */
struct crypt *crypt_free(struct crypt *c);

/* In all of these place is the name of a resource in the store ("secrets", "apps/deployments"), c may be NULL: without a file. */

/* What is to be stored: own, or NULL: the data as they are. *ret_form is set. */
struct bytes *crypt_seal(const struct crypt *c, const char *place, const char *context, const void *data, size_t len,
			 uint16_t *ret_form);
/* What was stored: own. 0; -ENOKEY: it was encrypted by a key that the file has not for this resource; -EBADMSG: one of its keys
 * has that name, but it does not fit, or the value is damaged. *ret_form is also set for -EBADMSG. */
int crypt_open(const struct crypt *c, const char *place, const char *context, const void *data, size_t len, struct bytes **ret,
	       uint16_t *ret_form, struct err *err);
/* Values of this resource would be written in another form now. */
bool crypt_is_stale(const struct crypt *c, const char *place, uint16_t form);
/* Values of this resource are encrypted now. */
bool crypt_encrypts(const struct crypt *c, const char *place);
/* Whether a configuration can read that form of this resource. */
bool crypt_form_fits(uint16_t form, const struct encryption_config *config, const char *place);
/* "secretbox:NAME", "identity" for 0. Borrow, for the life of the process. */
const char *crypt_form_name(uint16_t form);
uint16_t crypt_form_count(void);

/* The file has changed and is good: 0 takes it from now on, otherwise with err the old one stays. */
typedef int (*crypt_accept_fn)(const struct encryption_config *next, struct err *err, void *user);
/* It was taken. */
typedef void (*crypt_taken_fn)(void *user);
void crypt_watch(struct crypt *c, uv_loop_t *loop, crypt_accept_fn accept, crypt_taken_fn taken, void *user);

#endif
