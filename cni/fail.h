/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plugin's errors: a code of the CNI specification and a sentence that a person can act on. */
#ifndef KEELSON_CNI_FAIL_H
#define KEELSON_CNI_FAIL_H

#include "base/macros.h"

/* CNI specification 1.1.0, section 5, "Error". 100 and above are the plugin's own. */
enum fail_code {
	FAIL_VERSION = 1,         /* incompatible CNI version */
	FAIL_UNSUPPORTED = 2,     /* unsupported field in the network configuration */
	FAIL_NO_CONTAINER = 3,    /* container unknown or does not exist: no DEL is needed */
	FAIL_ENV = 4,             /* invalid environment variable */
	FAIL_IO = 5,
	FAIL_DECODE = 6,
	FAIL_CONFIG = 7,          /* invalid network configuration */
	FAIL_TRY_AGAIN = 11,
	FAIL_NOT_AVAILABLE = 50,  /* STATUS: ADD would fail (specification 1.1.0) */
	FAIL_KERNEL = 100,        /* the kernel refused a link, an address, a route or a rule */
	FAIL_CHECK = 101,         /* CHECK: the container's network is not as ADD left it */
};

struct fail {
	enum fail_code code;
	char msg[512];
};

/* Records the failure and yields -1, so that callers can `return fail_set(...)`. */
void fail_record(struct fail *f, enum fail_code code, const char *fmt, ...) _printf_(3, 4);
#define fail_set(f, ...) (fail_record((f), __VA_ARGS__), -1)

#endif
