/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tracer's side of `trace_filter`, `trace_events` and config.trace. */
#include "proxy/engine/trace.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "proxy/engine/ebpf/internal.h"

enum { MAP_BYTES = 4096 };
static const int64_t ALIVE_NS = 5000000000; /* so long a filter outlives its tracer */

struct engine_trace {
	char *dir; /* of the maps */
	int lock, backends;
	uint32_t config_id;
	struct abi_config *config;
	struct abi_trace_filter *filter;
	struct ring_buffer *ring;
	engine_trace_fn fn; /* NULL: events are dropped */
	void *user;
	bool ended;
};

static int open_map(const struct engine_trace *t, const char *name, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/%s", t->dir, name);
	int fd = bpf_obj_get(path);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return err_set(err, ENOENT, "no keelson-proxy of this version has its maps in %s (see --pin-dir)", t->dir);
	return err_set(err, errno, "opening %s: %s", path, strerror(errno));
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

static int map_memory(const struct engine_trace *t, const char *name, void **ret, uint32_t *ret_id, struct err *err)
{
	_cleanup_close_ int fd = open_map(t, name, err);
	if (fd < 0)
		return fd;
	void *p = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_set(err, errno, "mapping %s: %s", name, strerror(errno));
	*ret = p;
	if (ret_id)
		*ret_id = map_id(fd);
	return 0;
}

static int on_event(void *user, void *data, size_t size)
{
	struct engine_trace *t = user;
	if (!t->fn || t->ended || size < sizeof(struct abi_trace_event))
		return 0;
	t->ended = !t->fn(data, t->user);
	return t->ended ? -ECANCELED : 0;
}

static void beat(struct engine_trace *t)
{
	__atomic_store_n(&t->filter->deadline_ns, (uint64_t)(clock_mono_ns() + ALIVE_NS), __ATOMIC_RELEASE);
	__atomic_store_n(&t->config->trace, 1, __ATOMIC_RELEASE);
}

static int lock_dir(struct engine_trace *t, const char *pin_dir, struct err *err)
{
	t->lock = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->lock < 0)
		return err_set(err, errno, "--pin-dir %s: %s", pin_dir, strerror(errno));
	if (flock(t->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return err_set(err, EBUSY, "another trace of this node is running; only one can at a time");
}

static int start(struct engine_trace *t, const char *pin_dir, const struct abi_trace_filter *filter, struct err *err)
{
	int r = lock_dir(t, pin_dir, err);
	if (r == 0)
		r = map_memory(t, "config", (void **)&t->config, &t->config_id, err);
	if (r == 0)
		r = map_memory(t, "trace_filter", (void **)&t->filter, NULL, err);
	if (r == 0)
		r = t->backends = open_map(t, "backends", err);
	_cleanup_close_ int events = r < 0 ? -1 : open_map(t, "trace_events", err);
	if (r < 0 || events < 0)
		return -1;
	t->ring = ring_buffer__new(events, on_event, t, NULL);
	if (!t->ring)
		return err_set(err, errno, "the ring of events: %s", strerror(errno));
	/* An earlier tracer may have been killed: its filter and what it did not read go. */
	__atomic_store_n(&t->config->trace, 0, __ATOMIC_SEQ_CST);
	ring_buffer__consume(t->ring);
	*t->filter = *filter;
	beat(t);
	return 0;
}

struct engine_trace *engine_trace_open(const char *pin_dir, const struct abi_trace_filter *filter, struct err *err)
{
	struct engine_trace *t = mem_new(struct engine_trace);
	ebpf_libbpf_quiet();
	t->lock = t->backends = -1;
	t->dir = str_printf("%s/v%d", pin_dir, ABI_VERSION);
	return start(t, pin_dir, filter, err) < 0 ? engine_trace_free(t) : t;
}

/* Has another daemon changed over to new maps? */
static bool replaced(const struct engine_trace *t)
{
	_cleanup_close_ int fd = open_map(t, "config", NULL);
	return fd < 0 || map_id(fd) != t->config_id;
}

int engine_trace_run(struct engine_trace *t, int timeout_ms, engine_trace_fn fn, void *user, struct err *err)
{
	t->fn = fn;
	t->user = user;
	int r = ring_buffer__poll(t->ring, timeout_ms);
	t->fn = NULL;
	if (t->ended)
		return 1;
	if (r == -EINTR)
		return r;
	if (r < 0)
		return err_set(err, -r, "reading events: %s", strerror(-r));
	if (replaced(t))
		return err_set(err, ESTALE, "another proxy has changed over to new maps; start the trace again");
	beat(t);
	return 0;
}

bool engine_trace_backend(struct engine_trace *t, uint32_t id, struct abi_backend *ret)
{
	return id && bpf_map_lookup_elem(t->backends, &id, ret) == 0 && ret->generation;
}

struct engine_trace *engine_trace_free(struct engine_trace *t)
{
	if (!t)
		return NULL;
	if (t->ring) { /* only who turned it on turns it off */
		__atomic_store_n(&t->config->trace, 0, __ATOMIC_SEQ_CST);
		ring_buffer__free(t->ring);
	}
	if (t->filter)
		munmap(t->filter, MAP_BYTES);
	if (t->config)
		munmap(t->config, MAP_BYTES);
	if (t->backends >= 0)
		close(t->backends);
	if (t->lock >= 0)
		close(t->lock);
	free(t->dir);
	free(t);
	return NULL;
}
