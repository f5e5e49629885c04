/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An error a person or an API client sees. Plumbing returns 0 or -errno instead.
 * Zero-initialize; err_done() frees; a function that can fail takes `struct err *err` last
 * (may be NULL: the caller does not want the text) and returns -errno after filling it.
 */
#ifndef KEELSON_BASE_ERR_H
#define KEELSON_BASE_ERR_H

#include <stdbool.h>

#include "base/macros.h"

struct err {
	int code;           /* positive errno, 0 = no error */
	int http_status;    /* 0 when it never reaches an API client */
	const char *reason; /* Kubernetes reason, a literal, or NULL */
	char *message;      /* own; a whole sentence somebody can act on */
};

/* Sets the error, replacing an earlier one. Returns -code so that callers can `return err_set(...)`. */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);
/* The same with the API's view of it. */
int err_set_api(struct err *err, int http_status, const char *reason, const char *fmt, ...) _printf_(4, 5);
/* Puts "context: " in front of the message. Returns -code. */
int err_wrap(struct err *err, const char *fmt, ...) _printf_(2, 3);
const char *err_msg(const struct err *err); /* never NULL */
void err_done(struct err *err);
#define _cleanup_err_ _cleanup_(err_done)

#endif
