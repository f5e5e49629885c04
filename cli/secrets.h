/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys that Secrets are encrypted by in the store: DIR/pki/encryption.yaml. */
#ifndef KEELSON_CLI_SECRETS_H
#define KEELSON_CLI_SECRETS_H

#include "cli/cluster.h"

char *secrets_file(const struct cluster *c); /* its path, own */
/* Makes the file with a first key, unless it is there. -ENOENT when it is not but a store is: its Secrets need the keys it had. */
int secrets_prepare(const struct cluster *c, struct err *err);

#endif
