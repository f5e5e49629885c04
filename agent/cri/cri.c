/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRI calls. One table says for each method its path and its answer's type; packing, unpacking and freeing happen here
 * and nowhere else.
 */
#include "agent/cri/cri.h"

#include "base/mem.h"
#include "base/str.h"

enum { CRI_TIMEOUT_MS = 120 * 1000, CRI_RESUBSCRIBE_MS = 500 };

#define RUNTIME "/runtime.v1.RuntimeService/"
#define IMAGE "/runtime.v1.ImageService/"

static const struct {
	const char *path;
	const ProtobufCMessageDescriptor *answer;
} methods[CRI_METHOD_MAX] = {
	[CRI_VERSION] = { RUNTIME "Version", &cri__version_response__descriptor },
	[CRI_STATUS] = { RUNTIME "Status", &cri__status_response__descriptor },
	[CRI_RUN_POD_SANDBOX] = { RUNTIME "RunPodSandbox", &cri__run_pod_sandbox_response__descriptor },
	[CRI_STOP_POD_SANDBOX] = { RUNTIME "StopPodSandbox", &cri__empty__descriptor },
	[CRI_REMOVE_POD_SANDBOX] = { RUNTIME "RemovePodSandbox", &cri__empty__descriptor },
	[CRI_POD_SANDBOX_STATUS] = { RUNTIME "PodSandboxStatus", &cri__pod_sandbox_status_response__descriptor },
	[CRI_LIST_POD_SANDBOX] = { RUNTIME "ListPodSandbox", &cri__list_pod_sandbox_response__descriptor },
	[CRI_CREATE_CONTAINER] = { RUNTIME "CreateContainer", &cri__create_container_response__descriptor },
	[CRI_START_CONTAINER] = { RUNTIME "StartContainer", &cri__empty__descriptor },
	[CRI_STOP_CONTAINER] = { RUNTIME "StopContainer", &cri__empty__descriptor },
	[CRI_REMOVE_CONTAINER] = { RUNTIME "RemoveContainer", &cri__empty__descriptor },
	[CRI_LIST_CONTAINERS] = { RUNTIME "ListContainers", &cri__list_containers_response__descriptor },
	[CRI_UPDATE_CONTAINER_RESOURCES] = { RUNTIME "UpdateContainerResources", &cri__empty__descriptor },
	[CRI_CONTAINER_STATUS] = { RUNTIME "ContainerStatus", &cri__container_status_response__descriptor },
	[CRI_REOPEN_CONTAINER_LOG] = { RUNTIME "ReopenContainerLog", &cri__empty__descriptor },
	[CRI_EXEC_SYNC] = { RUNTIME "ExecSync", &cri__exec_sync_response__descriptor },
	[CRI_EXEC] = { RUNTIME "Exec", &cri__stream_url_response__descriptor },
	[CRI_ATTACH] = { RUNTIME "Attach", &cri__stream_url_response__descriptor },
	[CRI_PORT_FORWARD] = { RUNTIME "PortForward", &cri__stream_url_response__descriptor },
	[CRI_LIST_IMAGES] = { IMAGE "ListImages", &cri__list_images_response__descriptor },
	[CRI_IMAGE_STATUS] = { IMAGE "ImageStatus", &cri__image_status_response__descriptor },
	[CRI_PULL_IMAGE] = { IMAGE "PullImage", &cri__pull_image_response__descriptor },
};

struct pending {
	struct pending *prev, *next;
	struct cri *cri;
	enum cri_method method;
	struct grpc_call *call;
	ProtobufCMessage *answer; /* own */
	bool garbled;
	cri_done_fn done;
	void *user;
};

struct cri {
	struct grpc_client *grpc;
	struct pending *pending;
	uv_timer_t *timer; /* resubscribes */
	struct grpc_call *subscription;
	cri_event_fn on_event;
	void *event_user;
};

static void subscribe(struct cri *c);

static void pending_free(struct pending *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		p->cri->pending = p->next;
	if (p->next)
		p->next->prev = p->prev;
	if (p->answer)
		protobuf_c_message_free_unpacked(p->answer, NULL);
	free(p);
}

struct cri *cri_new(uv_loop_t *loop, const char *endpoint)
{
	struct cri *c = mem_new(struct cri);

	c->grpc = grpc_client_new(loop, endpoint);
	c->timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(loop, c->timer) < 0);
	c->timer->data = c;
	return c;
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

void cri_free(struct cri *c)
{
	if (!c)
		return;
	grpc_client_free(c->grpc);
	while (c->pending)
		pending_free(c->pending);
	uv_close((uv_handle_t *)c->timer, timer_closed);
	free(c);
}

const char *cri_method_name(enum cri_method method)
{
	return strrchr(methods[method].path, '/') + 1;
}

static void on_message(const void *data, size_t len, void *user)
{
	struct pending *p = user;

	if (p->answer)
		return; /* unary: the first counts */
	p->answer = protobuf_c_message_unpack(methods[p->method].answer, NULL, len, data);
	p->garbled = !p->answer;
}

static void on_done(enum grpc_status status, const char *message, void *user)
{
	struct pending *p = user;
	struct cri_result r = { .status = status, .message = message };

	p->call = NULL;
	if (status == GRPC_OK && (p->garbled || !p->answer)) {
		r.status = GRPC_INTERNAL;
		r.message = "the runtime's answer cannot be decoded";
	} else if (status == GRPC_OK) {
		r.answer = p->answer;
	}
	if (p->done)
		p->done(&r, p->user);
	pending_free(p);
}

struct grpc_call *cri_call(struct cri *c, enum cri_method method, const ProtobufCMessage *request, unsigned timeout_ms,
			   cri_done_fn done, void *user)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	_cleanup_free_ uint8_t *data = mem_alloc(len + 1);
	struct pending *p = mem_new(struct pending);

	protobuf_c_message_pack(request, data);
	p->cri = c;
	p->method = method;
	p->done = done;
	p->user = user;
	p->next = c->pending;
	if (c->pending)
		c->pending->prev = p;
	c->pending = p;
	p->call = grpc_call_start(c->grpc, methods[method].path, data, len, NULL, timeout_ms ? timeout_ms : CRI_TIMEOUT_MS,
				  on_message, on_done, p);
	return p->call;
}

void cri_cancel(struct cri *c, struct grpc_call *call)
{
	for (struct pending *p = c->pending; call && p; p = p->next)
		if (p->call == call) {
			grpc_call_cancel(call);
			pending_free(p);
			return;
		}
}

static void on_event(const void *data, size_t len, void *user)
{
	struct cri *c = user;
	Cri__Envelope *e = cri__envelope__unpack(NULL, len, data);

	if (!e)
		return;
	if (e->event && str_eq(e->topic, "/tasks/exit")) {
		Cri__TaskExit *t = cri__task_exit__unpack(NULL, e->event->value.len, e->event->value.data);

		/* The end of an exec'd process (a probe) changes nothing. */
		if (t && *t->container_id && (!*t->id || str_eq(t->id, t->container_id)))
			c->on_event(e->topic, t->container_id, c->event_user);
		if (t)
			cri__task_exit__free_unpacked(t, NULL);
	} else if (e->event) {
		Cri__TaskEvent *t = cri__task_event__unpack(NULL, e->event->value.len, e->event->value.data);

		if (t && *t->container_id)
			c->on_event(e->topic, t->container_id, c->event_user);
		if (t)
			cri__task_event__free_unpacked(t, NULL);
	}
	cri__envelope__free_unpacked(e, NULL);
}

static void on_resubscribe(uv_timer_t *t)
{
	subscribe(t->data);
}

static void on_events_end(enum grpc_status status, const char *message, void *user)
{
	struct cri *c = user;

	(void)status, (void)message; /* whatever it was: the relist sees what the runtime is up to */
	c->subscription = NULL;
	uv_timer_start(c->timer, on_resubscribe, CRI_RESUBSCRIBE_MS, 0);
}

static void subscribe(struct cri *c)
{
	static const char *const metadata[] = { "containerd-namespace", "k8s.io", NULL };
	Cri__SubscribeRequest request = CRI__SUBSCRIBE_REQUEST__INIT;
	char *filters[] = { "namespace==k8s.io,topic~=^/tasks/(exit|oom|start)$" };
	uint8_t data[128];
	size_t len;

	request.filters = filters;
	request.n_filters = ARRAY_SIZE(filters);
	BUG_ON(cri__subscribe_request__get_packed_size(&request) > sizeof(data));
	len = cri__subscribe_request__pack(&request, data);
	c->subscription = grpc_call_start(c->grpc, "/containerd.services.events.v1.Events/Subscribe", data, len, metadata, 0,
					  on_event, on_events_end, c);
	c->on_event(NULL, NULL, c->event_user);
}

void cri_subscribe(struct cri *c, cri_event_fn on_event_cb, void *user)
{
	c->on_event = on_event_cb;
	c->event_user = user;
	subscribe(c);
}

const char *cri_pair(Cri__Pair *const *pairs, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(pairs[i]->key, key))
			return pairs[i]->value;
	return NULL;
}
