/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl's multi socket interface driven by libuv: curl says which sockets and which one timer it wants watched, the
 * loop tells it what happened. A call lives in the client's list from http_client_call() until done was called or it was
 * cancelled. `inside` counts the frames of curl or of a caller's callback on the stack: while it is not zero nothing
 * that curl may still touch is freed; cancelled calls and a freed client wait for the outermost frame to end.
 *
 * A dead peer is the kernel's to find (keepalive probes, TCP_USER_TIMEOUT): it ends every call on the connection. A
 * process that hangs behind a living kernel is found by the calls' own timeouts: a call that times out unanswered shuts
 * its connection down, which ends the others on it too and makes the next call connect anew.
 *
 * A paused stream would stall libcurl 7.88's whole HTTP/2 connection, so the first megabyte behind a pause is kept here.
 * The RST_STREAM of a cancelled call leaves with the connection's next frame (curl issue 17611).
 *
 * When one read brings the frames of several streams, libcurl 7.88 may keep the last of them in its own buffers with
 * neither a timer set nor a socket that will become readable: a watch then stands still until its connection's next byte. So
 * a socket that brought something is read once more in the loop's next turn, until it brings nothing.
 */
#include "io/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"

enum {
	DEFAULT_CONNECT_MS = 10000,
	DEFAULT_MAX_BODY = 256 << 20,
	SMALL_BUFFER = 4096,       /* watches and short calls: there may be hundreds at once */
	LARGE_BUFFER = 32768,
	MAX_ERROR_BODY = 1 << 20,  /* of a streamed call that was refused */
	PAUSE_BUFFER = 1 << 20,    /* kept of a paused stream before the connection itself stalls */
	MAX_IDLE_CONNECTIONS = 8,
	MAX_AGAIN = 64,            /* sockets read once more in one turn of the loop */
	KEEPALIVE_IDLE_S = 15, KEEPALIVE_INTERVAL_S = 5, KEEPALIVE_COUNT = 3, UNACKED_MS = 30000,
};

struct http_client {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t curl_timer, idle_timer, resume_timer, again_timer;
	int open_handles;          /* of the four timers */
	struct http_call *calls;
	struct watch *watches;
	char *ca_file, *cert_file, *key_file, *user_agent, *interface;
	bool insecure, freed;
	bool brought;              /* curl gave us something since this was last cleared */
	unsigned connect_timeout_ms;
	int inside;
};

struct http_call {
	struct http_call *prev, *next;
	struct http_client *client;
	CURL *easy;
	struct curl_slist *headers;
	void *request_body;
	struct strbuf body;
	size_t max_body_bytes;
	uint64_t last_byte_ms;     /* uv_now */
	unsigned idle_timeout_ms;
	http_data_fn on_data;
	http_done_fn done;
	void *user;
	const char *failure;       /* literal: why we ended it */
	bool added;                /* curl knows it */
	bool cancelled, paused, stalled;
	bool ended;                /* curl is done with it, the reader is not */
	CURLcode code;
	char error[CURL_ERROR_SIZE];
};

/* A socket that curl wants watched. */
struct watch {
	struct watch *prev, *next;
	uv_poll_t poll;
	struct http_client *client;
	curl_socket_t fd;
	bool again;                /* to be read once more */
};

static void settle(struct http_client *c);
static void arm_idle(struct http_client *c);

static void call_unlink(struct http_call *call)
{
	struct http_client *c = call->client;

	if (call->prev)
		call->prev->next = call->next;
	else
		c->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
}

static void call_free(struct http_call *call)
{
	call_unlink(call);
	if (call->added)
		curl_multi_remove_handle(call->client->multi, call->easy);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	free(call->request_body);
	strbuf_done(&call->body);
	free(call);
}

/* ---- libuv to curl ---- */

static void on_again(uv_timer_t *handle);

static void enter(struct http_client *c)
{
	c->inside++;
}

static void leave(struct http_client *c)
{
	if (--c->inside == 0)
		settle(c);
}

/* What curl reads without being asked for a socket may be of any of them. */
static void read_again(struct http_client *c)
{
	if (!c->brought || c->freed)
		return;
	for (struct watch *w = c->watches; w; w = w->next)
		w->again = true;
	uv_timer_start(&c->again_timer, on_again, 0, 0);
}

static void act(struct http_client *c, curl_socket_t fd, int mask)
{
	int running;

	enter(c);
	c->brought = false;
	curl_multi_socket_action(c->multi, fd, mask, &running);
	read_again(c);
	leave(c);
}

static void on_again(uv_timer_t *handle)
{
	struct http_client *c = handle->data;
	struct watch *w;

	/* Each act() may close any of them, and marks all again when it brings more; what is left is the next turn's work. */
	enter(c);
	for (size_t n = 0; !c->freed && n < MAX_AGAIN; n++) {
		for (w = c->watches; w && !w->again; w = w->next)
			;
		if (!w)
			break;
		w->again = false;
		act(c, w->fd, CURL_CSELECT_IN);
	}
	leave(c);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct watch *w = handle->data;
	int mask = status < 0 ? CURL_CSELECT_ERR : 0;

	mask |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	mask |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	act(w->client, w->fd, mask);
}

static void on_curl_timer(uv_timer_t *handle)
{
	act(handle->data, CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi _unused_, long timeout_ms, void *user)
{
	struct http_client *c = user;

	if (timeout_ms < 0)
		uv_timer_stop(&c->curl_timer);
	else
		uv_timer_start(&c->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int want_socket(CURL *easy _unused_, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct http_client *c = user;
	struct watch *w = socket_user;
	int events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (w) {
			if (w->prev)
				w->prev->next = w->next;
			else
				c->watches = w->next;
			if (w->next)
				w->next->prev = w->prev;
			uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, on_watch_closed);
			curl_multi_assign(c->multi, fd, NULL);
		}
		return 0;
	}
	if (!w) {
		w = mem_new(struct watch);
		w->client = c;
		w->fd = fd;
		w->poll.data = w;
		if (uv_poll_init_socket(c->loop, &w->poll, fd) < 0) {
			free(w);
			return -1;
		}
		w->next = c->watches;
		if (w->next)
			w->next->prev = w;
		c->watches = w;
		curl_multi_assign(c->multi, fd, w);
	}
	events |= what != CURL_POLL_IN ? UV_WRITABLE : 0;
	events |= what != CURL_POLL_OUT ? UV_READABLE : 0;
	uv_poll_start(&w->poll, events, on_poll);
	return 0;
}

/* curl's own would be inherited by every program that a daemon starts. */
static curl_socket_t open_socket(void *user _unused_, curlsocktype purpose _unused_, struct curl_sockaddr *a)
{
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static int tune_socket(void *user _unused_, curl_socket_t fd, curlsocktype purpose _unused_)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
	unsigned unacked = UNACKED_MS;

	/* Failures leave the kernel's defaults. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
	return CURL_SOCKOPT_OK;
}

/* ---- answers ---- */

/* Hands a piece to the reader; curl's frame or resume()'s is below. False: the call shall end. */
static bool give(struct http_call *call, const void *data, size_t len)
{
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	call->client->inside++;
	int r = call->on_data((int)status, data, len, call->user);

	call->client->inside--;
	if (r == 0 && !call->cancelled)
		return true;
	call->failure = "ended by the reader";
	return false;
}

static bool streamed(const struct http_call *call)
{
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	return call->on_data && status >= 200 && status < 300;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct http_call *call = user;
	size_t len = size * count;

	call->client->brought = true;
	if (call->cancelled)
		return 0;
	call->last_byte_ms = uv_now(call->client->loop);
	if (streamed(call)) {
		if (!call->paused && !call->body.len)
			return give(call, data, len) ? len : 0;
		if (call->body.len + len > PAUSE_BUFFER) {
			call->stalled = true;
			return CURL_WRITEFUNC_PAUSE;
		}
		strbuf_add(&call->body, data, len);
		return len;
	}
	if (len > call->max_body_bytes - call->body.len) {
		call->failure = "the answer is larger than the limit";
		return 0;
	}
	strbuf_add(&call->body, data, len);
	return len;
}

static int local_port(curl_socket_t fd)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage space;
	} a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(fd, &a.sa, &len) < 0)
		return 0;
	return ntohs(a.sa.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

/*
 * The connection of a call that timed out before any answer may hang: what else is on it shall learn that now. One that
 * got an answer's head and then nothing more is a quiet watch.
 */
static void cut_silent_connection(struct http_call *call)
{
	long status = 0, port = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_LOCAL_PORT, &port);
	/* curl does not tell the socket of a call that is over, but it tells its port. */
	for (struct watch *w = call->client->watches; w && !status && port; w = w->next)
		if (local_port(w->fd) == port)
			shutdown(w->fd, SHUT_RDWR);
}

/* Calls done with what is known and frees the call. */
static void finish(struct http_call *call, CURLcode code)
{
	struct http_client *c = call->client;
	struct http_answer a = { .content_type = "", .retry_after = "" };
	char *content_type = NULL;
	struct curl_header *h;
	long status = 0;

	if (code == CURLE_OPERATION_TIMEDOUT && !call->ended)
		cut_silent_connection(call);
	if (call->body.len && !call->failure && !call->cancelled && streamed(call)) {
		call->ended = true;
		call->code = code;
		return;
	}
	if (code == CURLE_OK) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &content_type);
		a.status = (int)status;
		a.content_type = content_type ? content_type : "";
		if (curl_easy_header(call->easy, "retry-after", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
			a.retry_after = h->value;
		a.body = call->body.data;
		a.body_len = call->body.len;
	} else if (call->failure) {
		a.error = call->failure;
	} else {
		a.error = *call->error ? call->error : curl_easy_strerror(code);
	}
	enter(c);
	if (!call->cancelled) {
		call->cancelled = true; /* a cancel from inside done has nothing left to do */
		if (call->done)
			call->done(&a, call->user);
	}
	c->inside--;
	call_free(call);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct http_client *c = handle->data;

	if (--c->open_handles == 0) {
		free(c->ca_file);
		free(c->cert_file);
		free(c->key_file);
		free(c->user_agent);
		free(c->interface);
		free(c);
	}
}

static void destroy(struct http_client *c)
{
	while (c->calls)
		call_free(c->calls);
	curl_multi_cleanup(c->multi);
	uv_close((uv_handle_t *)&c->curl_timer, on_timer_closed);
	uv_close((uv_handle_t *)&c->idle_timer, on_timer_closed);
	uv_close((uv_handle_t *)&c->resume_timer, on_timer_closed);
	uv_close((uv_handle_t *)&c->again_timer, on_timer_closed);
}

/*
 * Runs when no frame of curl is on the stack: hands out finished calls, frees cancelled ones, starts those that callbacks
 * made, then frees a freed client.
 */
static void settle(struct http_client *c)
{
	struct http_call *call, *next;
	CURLMsg *m;
	int left;

	c->inside++;
	while (!c->freed && (m = curl_multi_info_read(c->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		finish(call, code);
	}
	for (call = c->calls; call; call = next) {
		next = call->next;
		if (call->cancelled) {
			call_free(call);
		} else if (!call->added) {
			call->added = true;
			curl_multi_add_handle(c->multi, call->easy);
		}
	}
	c->inside--;
	if (c->freed)
		destroy(c);
}

/* ---- idle timeouts: one timer for all calls, at the earliest deadline ---- */

static struct http_call *first_expired(const struct http_client *c)
{
	uint64_t now = uv_now(c->loop);

	for (struct http_call *call = c->calls; call && !c->freed; call = call->next)
		if (call->idle_timeout_ms && !call->cancelled && !call->paused && !call->ended &&
		    now - call->last_byte_ms >= call->idle_timeout_ms)
			return call;
	return NULL;
}

static void on_idle_timer(uv_timer_t *handle)
{
	struct http_client *c = handle->data;
	struct http_call *call;

	enter(c);
	while ((call = first_expired(c))) {
		call->failure = "no data came for longer than the limit";
		finish(call, CURLE_OPERATION_TIMEDOUT);
	}
	if (!c->freed)
		arm_idle(c);
	leave(c);
}

static void arm_idle(struct http_client *c)
{
	uint64_t now = uv_now(c->loop), first = UINT64_MAX;

	for (struct http_call *call = c->calls; call; call = call->next)
		if (call->idle_timeout_ms && !call->cancelled && !call->ended) {
			uint64_t from = call->paused ? now : call->last_byte_ms;

			first = MIN(first, from + call->idle_timeout_ms);
		}
	if (first == UINT64_MAX)
		uv_timer_stop(&c->idle_timer);
	else
		uv_timer_start(&c->idle_timer, on_idle_timer, first > now ? first - now : 0, 0);
}

/* ---- the interface ---- */

struct http_client *http_client_new(uv_loop_t *loop, const struct http_client_options *options, struct err *err)
{
	static bool initialized;

	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		err_set(err, EIO, "cannot initialize libcurl");
		return NULL;
	}
	initialized = true;
	const char *const files[] = { options->ca_file, options->cert_file, options->key_file };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i] && access(files[i], R_OK) < 0) {
			err_set(err, errno, "cannot read %s: %s", files[i], strerror(errno));
			return NULL;
		}
	struct http_client *c = mem_new(struct http_client);

	c->loop = loop;
	c->ca_file = mem_strdup(options->ca_file);
	c->cert_file = mem_strdup(options->cert_file);
	c->key_file = mem_strdup(options->key_file);
	c->user_agent = mem_strdup(options->user_agent);
	c->interface = mem_strdup(options->interface);
	c->insecure = options->insecure_skip_verify;
	c->connect_timeout_ms = options->connect_timeout_ms ? options->connect_timeout_ms : DEFAULT_CONNECT_MS;
	c->multi = curl_multi_init();
	BUG_ON(!c->multi);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(c->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 1000L);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)MAX_IDLE_CONNECTIONS);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	uv_timer_init(loop, &c->curl_timer);
	uv_timer_init(loop, &c->idle_timer);
	uv_timer_init(loop, &c->resume_timer);
	uv_timer_init(loop, &c->again_timer);
	c->curl_timer.data = c->idle_timer.data = c->resume_timer.data = c->again_timer.data = c;
	c->open_handles = 4;
	return c;
}

void http_client_free(struct http_client *c)
{
	if (!c || c->freed)
		return;
	c->freed = true;
	for (struct http_call *call = c->calls; call; call = call->next)
		call->cancelled = true;
	if (c->inside == 0)
		destroy(c);
}

static void set_transport(struct http_client *c, CURL *e)
{
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	/* The daemons' traffic is the cluster's own: proxies of the environment are not for it. */
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, tune_socket);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (c->user_agent)
		curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent);
	if (c->interface)
		curl_easy_setopt(e, CURLOPT_INTERFACE, c->interface);
	if (c->cert_file) {
		curl_easy_setopt(e, CURLOPT_SSLCERT, c->cert_file);
		curl_easy_setopt(e, CURLOPT_SSLKEY, c->key_file);
	}
	if (c->insecure || c->ca_file) {
		/* Without these the system's whole bundle would be loaded beside ours. */
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
		curl_easy_setopt(e, CURLOPT_CAINFO, c->insecure ? NULL : c->ca_file);
	}
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
}

static void set_body(struct http_call *call, const struct http_call_request *r)
{
	CURL *e = call->easy;

	if (r->body) {
		call->request_body = mem_dup(r->body, r->body_len ? r->body_len : 1);
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->request_body);
	} else if (str_eq(r->method, "POST") || str_eq(r->method, "PUT") || str_eq(r->method, "PATCH")) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, "");
	} else if (str_eq(r->method, "HEAD")) {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	}
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
}

static void set_headers(struct http_call *call, const struct http_call_request *r)
{
	bool has_type = false;

	for (size_t i = 0; i < r->header_count; i++) {
		const char *name = r->headers[i].name, *value = r->headers[i].value;
		/* curl sends an empty header only when it ends in a semicolon. */
		_cleanup_free_ char *line = *value ? str_printf("%s: %s", name, value) : str_printf("%s;", name);

		has_type |= strcasecmp(name, "content-type") == 0;
		call->headers = curl_slist_append(call->headers, line);
	}
	if (!has_type)
		call->headers = curl_slist_append(call->headers, "Content-Type:");
	call->headers = curl_slist_append(call->headers, "Expect:");
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

struct http_call *http_client_call(struct http_client *c, const struct http_call_request *r, http_data_fn on_data,
				   http_done_fn done, void *user)
{
	struct http_call *call = mem_new(struct http_call);
	CURL *e = curl_easy_init();

	BUG_ON(!e);
	*call = (struct http_call){
		.client = c,
		.easy = e,
		.on_data = on_data,
		.done = done,
		.user = user,
		.idle_timeout_ms = r->idle_timeout_ms,
		.last_byte_ms = uv_now(c->loop),
		.next = c->calls,
	};
	call->max_body_bytes = on_data ? MAX_ERROR_BODY : r->max_body_bytes ? r->max_body_bytes : DEFAULT_MAX_BODY;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	set_transport(c, e);
	set_body(call, r);
	set_headers(call, r);
	curl_easy_setopt(e, CURLOPT_URL, r->url);
	curl_easy_setopt(e, CURLOPT_PRIVATE, call);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, r->long_answer ? (long)LARGE_BUFFER : (long)SMALL_BUFFER);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, r->no_redirects ? 0L : 1L);
	curl_easy_setopt(e, CURLOPT_MAXREDIRS, 10L);
	if (r->timeout_ms)
		curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	/* curl refuses new handles from inside its callbacks: settle() adds it then. */
	call->added = c->inside == 0;
	if (call->added)
		curl_multi_add_handle(c->multi, e);
	if (r->idle_timeout_ms)
		arm_idle(c);
	return call;
}

void http_call_cancel(struct http_call *call)
{
	if (!call || call->cancelled)
		return;
	call->cancelled = true;
	if (call->client->inside == 0)
		call_free(call);
}

/* Gives what was kept and lets curl go on, or ends what curl had ended. */
static void resume(struct http_call *call)
{
	struct strbuf kept = call->body;

	call->body = (struct strbuf){ 0 };
	call->last_byte_ms = uv_now(call->client->loop);
	bool go_on = !kept.len || give(call, kept.data, kept.len);

	strbuf_done(&kept);
	if (call->cancelled)
		return;
	if (call->ended || !go_on) {
		finish(call, go_on ? call->code : CURLE_WRITE_ERROR);
	} else if (call->stalled && !call->paused) {
		call->stalled = false;
		curl_easy_pause(call->easy, CURLPAUSE_CONT);
	}
}

static struct http_call *first_waiting(const struct http_client *c)
{
	for (struct http_call *call = c->calls; call && !c->freed; call = call->next)
		if (!call->cancelled && !call->paused && streamed(call) &&
		    (call->body.len || call->stalled || call->ended))
			return call;
	return NULL;
}

static void on_resume_timer(uv_timer_t *handle)
{
	struct http_client *c = handle->data;
	struct http_call *call;

	enter(c);
	while ((call = first_waiting(c)))
		resume(call);
	leave(c);
}

void http_call_pause(struct http_call *call, bool paused)
{
	call->paused = paused;
	if (!paused)
		uv_timer_start(&call->client->resume_timer, on_resume_timer, 0, 0);
}
