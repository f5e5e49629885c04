/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who makes a request. Strings and arrays belong to the request's arena. */
#ifndef KEELSON_APISERVER_AUTH_IDENTITY_H
#define KEELSON_APISERVER_AUTH_IDENTITY_H

#include "base/str.h"

struct identity {
	const char *name;          /* "system:anonymous" without credentials */
	const char *uid;           /* "" when unknown */
	const char *const *groups; /* NULL-terminated; never NULL */
	/* extra: key, value pairs; NULL-terminated list of keys in order, values beside them. */
	const char *const *extra_keys, *const *extra_values; /* NULL without */
	bool anonymous;
};

static inline bool identity_in_group(const struct identity *i, const char *group)
{
	for (size_t n = 0; i->groups[n]; n++)
		if (str_eq(i->groups[n], group))
			return true;
	return false;
}

#endif
