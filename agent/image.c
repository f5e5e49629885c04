/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image step of a container's start: look, pull when the policy says so, look again. */
#include "agent/image.h"

#include "agent/sources.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

enum { PULL_TIMEOUT_MS = 30 * 60 * 1000 };

struct ensure {
	struct agent *agent;
	const json_t *pod, *container;
	const char *image, *policy;
	bool pulled;
	int64_t pull_started_ms;
	uint64_t size;
	image_done_fn done;
	void *user;
};

const char *image_policy(const json_t *container)
{
	const char *policy = json_str(container, "imagePullPolicy"), *image = json_str_or(container, "image", "");
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image, *tag = strchr(name, ':');

	if (!str_empty(policy))
		return policy;
	if (strchr(name, '@'))
		return tag && str_starts(tag, ":latest@") ? "Always" : "IfNotPresent";
	return !tag || str_eq(tag, ":latest") ? "Always" : "IfNotPresent";
}

char *image_registry(const char *image)
{
	const char *slash = strchr(image, '/');
	_cleanup_free_ char *first = slash ? mem_strndup(image, (size_t)(slash - image)) : NULL;

	if (first && (strchr(first, '.') || strchr(first, ':') || str_eq(first, "localhost")))
		return TAKE(first);
	return mem_strdup("docker.io");
}

bool image_credentials(const char *docker_config_json, const char *registry, char **ret_user, char **ret_password)
{
	_cleanup_json_ json_t *config = json_parse(docker_config_json, strlen(docker_config_json), NULL, NULL);
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(config, "auths"), key, v) {
		const char *host = str_starts(key, "https://") ? str_after(key, "https://") : key;
		_cleanup_free_ char *name = mem_strndup(host, strcspn(host, "/"));
		const char *user = json_str(v, "username"), *password = json_str(v, "password"), *auth = json_str(v, "auth");
		_cleanup_strbuf_ struct strbuf plain = { 0 };
		char *colon;

		if (!str_eq(name, registry) && !(str_eq(registry, "docker.io") && str_eq(name, "index.docker.io")))
			continue;
		if (user && password) {
			*ret_user = mem_strdup(user);
			*ret_password = mem_strdup(password);
			return true;
		}
		if (!auth || base64_decode(&plain, auth, strlen(auth)) < 0 || !plain.data || !(colon = strchr(plain.data, ':')))
			continue;
		*colon = '\0';
		*ret_user = mem_strdup(plain.data);
		*ret_password = mem_strdup(colon + 1);
		return true;
	}
	return false;
}

static void finish(struct ensure *e, const struct image_result *r)
{
	e->done(r, e->user);
	free(e);
}

static void fail(struct ensure *e, const char *reason, const char *message)
{
	struct image_result r = { .reason = reason, .message = message };

	finish(e, &r);
}

static void look(struct ensure *e);

static void on_pulled(const struct cri_result *r, void *user)
{
	struct ensure *e = user;

	if (!cri_ok(r)) {
		_cleanup_free_ char *text = mem_strdup(r->message);

		kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Warning", "Failed",
			   "Failed to pull image \"%s\": %s", e->image, text);
		kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Warning", "Failed",
			   "Error: %s", strstr(text, "invalid reference format") ? "InvalidImageName" : "ErrImagePull");
		fail(e, strstr(text, "invalid reference format") ? "InvalidImageName" : "ErrImagePull", text);
		return;
	}
	e->pulled = true;
	look(e);
}

static void pull(struct ensure *e)
{
	Cri__PullImageRequest request = CRI__PULL_IMAGE_REQUEST__INIT;
	Cri__ImageSpec spec = CRI__IMAGE_SPEC__INIT;
	Cri__AuthConfig auth = CRI__AUTH_CONFIG__INIT;
	_cleanup_free_ char *registry = image_registry(e->image), *user = NULL, *password = NULL;
	json_t *ref;
	size_t i;

	spec.image = (char *)e->image;
	request.image = &spec;
	json_array_foreach(json_at(e->pod, "spec.imagePullSecrets"), i, ref) {
		enum source_state state;
		json_t *secret = sources_get(e->agent->sources, "secrets", object_namespace(e->pod),
					     json_str_or(ref, "name", ""), &state);
		const char *data = json_string_value(json_object_get(json_object_get(secret, "data"), ".dockerconfigjson"));
		_cleanup_strbuf_ struct strbuf text = { 0 };

		if (!data || base64_decode(&text, data, strlen(data)) < 0 || !text.data ||
		    !image_credentials(text.data, registry, &user, &password))
			continue;
		auth.username = user;
		auth.password = password;
		request.auth = &auth;
		break;
	}
	kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Normal", "Pulling",
		   "Pulling image \"%s\"", e->image);
	e->pull_started_ms = clock_mono_ms();
	cri_call(e->agent->cri, CRI_PULL_IMAGE, &request.base, PULL_TIMEOUT_MS, on_pulled, e);
}

static void present(struct ensure *e, const Cri__Image *image)
{
	struct image_result r = {
		.id = image->id, .uid = image->uid ? image->uid->value : -1, .user = image->username,
	};

	if (e->pulled)
		kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Normal", "Pulled",
			   "Successfully pulled image \"%s\" in %lldms. Image size: %llu bytes.", e->image,
			   (long long)(clock_mono_ms() - e->pull_started_ms), (unsigned long long)image->size);
	else
		kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Normal", "Pulled",
			   "Container image \"%s\" already present on machine", e->image);
	finish(e, &r);
}

static void on_status(const struct cri_result *r, void *user)
{
	struct ensure *e = user;
	const Cri__ImageStatusResponse *a = (const void *)r->answer;

	if (!a) {
		fail(e, "ImageInspectError", r->message);
	} else if (a->image && (e->pulled || !str_eq(e->policy, "Always"))) {
		present(e, a->image);
	} else if (e->pulled) {
		fail(e, "ErrImagePull", "the image was pulled but the runtime does not have it");
	} else if (str_eq(e->policy, "Never")) {
		_cleanup_free_ char *text =
			str_printf("Container image \"%s\" is not present with pull policy of Never", e->image);

		kube_event(e->agent->kube, AGENT_COMPONENT, e->agent->o.node_name, e->pod, "Warning", "ErrImageNeverPull", "%s",
			   text);
		fail(e, "ErrImageNeverPull", text);
	} else {
		pull(e);
	}
}

static void look(struct ensure *e)
{
	Cri__ImageStatusRequest request = CRI__IMAGE_STATUS_REQUEST__INIT;
	Cri__ImageSpec spec = CRI__IMAGE_SPEC__INIT;

	spec.image = (char *)e->image;
	request.image = &spec;
	cri_call(e->agent->cri, CRI_IMAGE_STATUS, &request.base, 0, on_status, e);
}

void image_ensure(struct agent *a, const json_t *pod, const json_t *container, image_done_fn done, void *user)
{
	struct ensure *e = mem_new(struct ensure);

	e->agent = a;
	e->pod = pod;
	e->container = container;
	e->image = json_str_or(container, "image", "");
	e->policy = image_policy(container);
	e->done = done;
	e->user = user;
	look(e);
}
