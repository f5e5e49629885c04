/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leader election. One call is on the way at a time; a timer starts the next round. Clocks of other machines are never
 * compared with ours: another's lease has run out when this process has seen it unchanged for its whole duration.
 *
 * An identity is HOST_BOOT.PIDNS.PID.START: enough to tell whether a holder on this very machine is still alive.
 */
#include "kube/leader.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "kube/object.h"

enum {
	LEASE_S = 15,
	RENEW_DEADLINE_MS = 10000,
	RETRY_MS = 2000,
	CALL_MS = 5000,
	RELEASE_MS = 2000,
};

enum leader_state { FOLLOWING, LEADING, STOPPED };

struct leader {
	struct kube_client *client;
	char *path, *collection, *name, *ns, *identity;
	enum leader_state state;
	unsigned renew_deadline_ms, retry_ms;
	uv_timer_t timer;
	struct kube_call *call;
	json_t *lease;             /* as last seen */
	int64_t seen_ms;           /* when it last changed */
	int64_t renewed_ms;        /* when our last renewal was sent that succeeded */
	int64_t sent_ms;
	void (*on_started)(void *user);
	void (*on_stopped)(void *user);
	void *user;
	void (*released)(void *user);
	void *released_user;
};

static void round_start(struct leader *l);

/* ---- identities ---- */

/* Field 22 of /proc/PID/stat, behind the parenthesized name. 0: no such process, or one that only waits to be reaped. */
static unsigned long long start_time(long pid)
{
	_cleanup_free_ char *path = str_printf("/proc/%ld/stat", pid);
	_cleanup_strbuf_ struct strbuf b = { 0 };
	unsigned long long start = 0;

	if (file_read(path, 1 << 16, &b) < 0 || !b.len)
		return 0;
	const char *p = strrchr(b.data, ')');

	if (p && (p[2] == 'Z' || p[2] == 'X'))
		return 0;
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, " %llu", &start) == 1 ? start : 0;
}

/* "HOST_BOOT.PIDNS": the machine as processes see it. Own. */
static char *machine(void)
{
	_cleanup_strbuf_ struct strbuf boot = { 0 };
	char host[256] = "unknown";
	struct stat ns = { 0 };

	gethostname(host, sizeof(host) - 1);
	file_read("/proc/sys/kernel/random/boot_id", 256, &boot);
	if (stat("/proc/self/ns/pid", &ns) < 0)
		ns.st_ino = 0;
	return str_printf("%s_%.8s.%llu", host, boot.len >= 8 ? boot.data : "00000000", (unsigned long long)ns.st_ino);
}

static char *own_identity(void)
{
	_cleanup_free_ char *m = machine();

	return str_printf("%s.%ld.%llu", m, (long)getpid(), start_time(getpid()));
}

/* Was this holder a process of our machine that has ended? */
static bool holder_is_dead(const char *holder)
{
	_cleanup_free_ char *m = machine();
	const char *rest = str_after(holder, m);
	unsigned long long start;
	long pid;

	if (!rest || sscanf(rest, ".%ld.%llu", &pid, &start) != 2 || pid <= 0)
		return false;
	return start_time(pid) != start;
}

/* ---- rounds ---- */

static void on_timer(uv_timer_t *t)
{
	round_start(t->data);
}

static void again_in(struct leader *l, uint64_t ms)
{
	uv_timer_start(&l->timer, on_timer, ms, 0);
}

static void became_leader(struct leader *l)
{
	l->renewed_ms = l->sent_ms;
	again_in(l, l->retry_ms);
	if (l->state == LEADING)
		return;
	l->state = LEADING;
	if (l->on_started)
		l->on_started(l->user);
}

static void round_failed(struct leader *l)
{
	uint32_t noise;

	if (l->state == LEADING && clock_mono_ms() - l->renewed_ms >= l->renew_deadline_ms) {
		l->state = STOPPED;
		uv_timer_stop(&l->timer);
		if (l->on_stopped)
			l->on_stopped(l->user);
		return;
	}
	/* Candidates spread out; a leader keeps its pace. */
	rand_bytes(&noise, sizeof(noise));
	again_in(l, l->state == LEADING ? l->retry_ms / 2 : l->retry_ms + noise % l->retry_ms);
}

static void saw(struct leader *l, json_t *lease)
{
	if (!l->lease || !str_eq(object_resource_version(l->lease), object_resource_version(lease)))
		l->seen_ms = clock_mono_ms();
	json_decref(l->lease);
	l->lease = json_incref(lease);
}

static json_t *record(struct leader *l)
{
	char now[CLOCK_RFC3339_MICRO_SIZE];
	json_t *lease = l->lease ? json_deep_copy(l->lease) : json_object();
	bool ours = str_eq(json_str(lease, "spec.holderIdentity"), l->identity);

	clock_format_rfc3339_micro(clock_wall_us(), now);
	json_set_str(lease, "apiVersion", "coordination.k8s.io/v1");
	json_set_str(lease, "kind", "Lease");
	json_set_str(lease, "metadata.name", l->name);
	json_set_str(lease, "metadata.namespace", l->ns);
	json_set_str(lease, "spec.holderIdentity", l->identity);
	json_set(lease, "spec.leaseDurationSeconds", json_integer(LEASE_S));
	json_set_str(lease, "spec.renewTime", now);
	if (!ours) {
		json_set_str(lease, "spec.acquireTime", now);
		json_set(lease, "spec.leaseTransitions",
			 json_integer(l->lease ? json_int(lease, "spec.leaseTransitions", 0) + 1 : 0));
	}
	return lease;
}

/* The end of a release, whatever came of it; once. */
static void release_done(struct leader *l)
{
	void (*done)(void *user) = l->released;

	uv_timer_stop(&l->timer);
	kube_call_cancel(l->call);
	l->call = NULL;
	l->released = NULL;
	if (done)
		done(l->released_user);
}

static void on_released(const struct kube_result *r _unused_, void *user)
{
	struct leader *l = user;

	l->call = NULL;
	release_done(l);
}

static void send_release(struct leader *l)
{
	if (!l->lease || !str_eq(json_str(l->lease, "spec.holderIdentity"), l->identity)) {
		release_done(l);
		return;
	}
	_cleanup_json_ json_t *lease = record(l);

	json_set_str(lease, "spec.holderIdentity", "");
	json_set(lease, "spec.leaseDurationSeconds", json_integer(1));
	l->call = kube_do_within(l->client, RELEASE_MS, "PUT", l->path, NULL, lease, on_released, l);
}

static void on_written(const struct kube_result *r, void *user)
{
	struct leader *l = user;

	l->call = NULL;
	if (kube_ok(r) && r->object)
		saw(l, r->object);
	if (l->state == STOPPED) {
		send_release(l);
		return;
	}
	if (kube_ok(r) && r->object) {
		became_leader(l);
		return;
	}
	/* Somebody else wrote, or it is unknown whether we did: look again. */
	json_decref(l->lease);
	l->lease = NULL;
	round_failed(l);
}

static void write_lease(struct leader *l)
{
	_cleanup_json_ json_t *lease = record(l);

	l->sent_ms = clock_mono_ms();
	l->call = kube_do_within(l->client, CALL_MS, l->lease ? "PUT" : "POST", l->lease ? l->path : l->collection, NULL,
				 lease, on_written, l);
}

static bool is_free(const struct leader *l)
{
	const char *holder = json_str_or(l->lease, "spec.holderIdentity", "");
	int64_t duration_ms = json_int(l->lease, "spec.leaseDurationSeconds", LEASE_S) * 1000;

	return !*holder || str_eq(holder, l->identity) || clock_mono_ms() - l->seen_ms >= duration_ms ||
	       holder_is_dead(holder);
}

static void on_read(const struct kube_result *r, void *user)
{
	struct leader *l = user;

	l->call = NULL;
	if (l->state == STOPPED) {
		release_done(l);
	} else if (kube_ok(r) && r->object) {
		saw(l, r->object);
		if (is_free(l))
			write_lease(l);
		else
			round_failed(l);
	} else if (r->status == 404) {
		json_decref(l->lease);
		l->lease = NULL;
		write_lease(l);
	} else {
		round_failed(l);
	}
}

static void round_start(struct leader *l)
{
	if (l->state == LEADING && l->lease)
		write_lease(l);
	else
		l->call = kube_do_within(l->client, CALL_MS, "GET", l->path, NULL, NULL, on_read, l);
}

/* ---- the interface ---- */

struct leader *leader_new(struct kube_client *c, const struct leader_options *o)
{
	struct leader *l = mem_new(struct leader);

	l->client = c;
	l->name = mem_strdup(o->name);
	l->ns = mem_strdup(o->ns);
	l->path = kube_path("coordination.k8s.io/v1", "leases", o->ns, o->name, NULL);
	l->collection = kube_path("coordination.k8s.io/v1", "leases", o->ns, NULL, NULL);
	l->identity = own_identity();
	l->renew_deadline_ms = o->renew_deadline_ms ? o->renew_deadline_ms : RENEW_DEADLINE_MS;
	l->retry_ms = o->retry_ms ? o->retry_ms : RETRY_MS;
	l->on_started = o->on_started;
	l->on_stopped = o->on_stopped;
	l->user = o->user;
	uv_timer_init(kube_client_loop(c), &l->timer);
	l->timer.data = l;
	again_in(l, 0);
	return l;
}

bool leader_leads(const struct leader *l)
{
	return l->state == LEADING;
}

const char *leader_identity(const struct leader *l)
{
	return l->identity;
}

static void on_closed(uv_handle_t *h)
{
	struct leader *l = h->data;

	free(l->name);
	free(l->ns);
	free(l->path);
	free(l->collection);
	free(l->identity);
	json_decref(l->lease);
	free(l);
}

void leader_free(struct leader *l)
{
	if (!l)
		return;
	kube_call_cancel(l->call);
	l->call = NULL;
	uv_close((uv_handle_t *)&l->timer, on_closed);
}

static void on_release_timer(uv_timer_t *t)
{
	release_done(t->data);
}

void leader_release(struct leader *l, void (*done)(void *user), void *user)
{
	bool led = l->state == LEADING && (l->lease || l->call);

	l->state = STOPPED;
	l->released = done;
	l->released_user = user;
	if (!led) {
		kube_call_cancel(l->call);
		l->call = NULL;
	}
	/* A renewal on its way is waited for: the release must come after it. */
	uv_timer_start(&l->timer, on_release_timer, led ? RELEASE_MS : 0, 0);
	if (led && !l->call)
		send_release(l);
}
