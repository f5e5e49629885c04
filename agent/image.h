/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images: is it there, may and must it be pulled, with whose credentials. */
#ifndef KEELSON_AGENT_IMAGE_H
#define KEELSON_AGENT_IMAGE_H

#include "agent/agent.h"

struct image_result {
	const char *reason, *message; /* waiting reason ("ErrImagePull") and text; NULL: the image is there */
	const char *id;               /* what the runtime knows it by */
	int64_t uid;                  /* of its configuration; -1: none */
	const char *user;             /* by name; "" none */
};
typedef void (*image_done_fn)(const struct image_result *r, void *user);
/* Makes sure that the container's image is there, by its imagePullPolicy; events go to pod. Both are borrowed until
 * done, which is called exactly once and never from inside. */
void image_ensure(struct agent *a, const json_t *pod, const json_t *container, image_done_fn done, void *user);
/* "Always", "IfNotPresent" or "Never": as given, else Always exactly for the tag latest (or none). */
const char *image_policy(const json_t *container);
/* The registry an image reference names: docker.io unless its first part looks like a host. Own. */
char *image_registry(const char *image);
/* Credentials for a registry from a .dockerconfigjson text; false when it has none. Strings are own. */
bool image_credentials(const char *docker_config_json, const char *registry, char **ret_user, char **ret_password);

#endif
