/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls of the Kubernetes API that are waited for, as commands need them. */
#ifndef KEELSON_CLI_API_H
#define KEELSON_CLI_API_H

#include <uv.h>

#include "kube/client.h"

struct api {
	uv_loop_t loop;
	struct kube_client *client;
};
/* The configuration must live as long as the calls do. */
int api_open(struct api *a, const struct kubeconfig *config, struct err *err);
void api_close(struct api *a); /* one that was never opened (zeroes) is fine */

struct api_answer {
	int status;             /* HTTP; 0: no answer came */
	char *reason, *message; /* of a refusal or failure; "" otherwise. Own */
	json_t *object;         /* own, may be NULL */
};
void api_answer_done(struct api_answer *a);
#define _cleanup_api_answer_ _cleanup_(api_answer_done)
/* One call; true when it succeeded. body (borrow) may be NULL; ret is overwritten, after freeing what it held. */
bool api_call(struct api *a, const char *method, const char *path, const json_t *body, struct api_answer *ret);
/* A merge patch. */
bool api_patch(struct api *a, const char *path, const json_t *patch, struct api_answer *ret);
/* A GET of what is no object: its text is appended. */
int api_text(struct api *a, const char *path, struct strbuf *out, struct err *err);

#endif
