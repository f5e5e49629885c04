/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bootstrap tokens: the Secrets by which further machines may become nodes. */
#ifndef KEELSON_CLI_TOKEN_H
#define KEELSON_CLI_TOKEN_H

#include "cli/api.h"
#include "cli/cluster.h"

enum { TOKEN_SIZE = 6 + 1 + 16 + 1 };
/* "abcdef.0123456789abcdef": ID and secret of [a-z0-9]. */
bool token_shaped(const char *token);
/* A time such as 24h, 90m or 1h30m in seconds; 0 is without end. 0 or -EINVAL. */
int token_ttl_parse(const char *text, int64_t *ret_s);
/* Opens the API as the administrator of the cluster in c; config must live as long as api. */
int token_api_open(const struct cluster *c, struct kubeconfig *config, struct api *api, struct err *err);
/* Makes a token; ttl_s 0: without end. description may be NULL. */
int token_create(struct api *api, int64_t ttl_s, const char *description, char ret[static TOKEN_SIZE], struct err *err);
int token_delete(struct api *api, const char *id, struct err *err);
/* "sha256:HEX" of the cluster's CA, own; NULL with err. */
char *token_ca_hash(const struct cluster *c, struct err *err);

#endif
