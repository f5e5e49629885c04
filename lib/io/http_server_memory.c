/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server's part in keeping the process below a limit of memory (http_server_options.max_memory_bytes). What counts is what the
 * kernel says the process has (resident pages), looked at every few milliseconds and after every mebibyte that peers sent or are owed.
 * Above seven eighths of the limit the server is pressed: bodies are refused, the handler is told (http_server_pressed()), idle
 * connections go. Above fifteen sixteenths those who hold most are cut: slow readers and half-sent bodies, largest first.
 */
#include "io/http_server_internal.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { SAMPLE_MS = 10, SAMPLE_BYTES = 1 << 20, TRIM_MS = 200, HELD_MIN_BYTES = 65536, EVICTIONS_A_SAMPLE = 64 };
enum { TRIM_REST = 4 }; /* times as long as it took */

static size_t resident_bytes(struct http_server *s)
{
	char text[128];
	unsigned long long size, resident = 0;
	ssize_t n = s->statm_fd >= 0 ? pread(s->statm_fd, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t held_bytes(const struct http_conn *c)
{
	size_t n = c->out.bytes + c->in.cap;

	for (const struct http_request *r = c->requests; r; r = r->next)
		n += r->queue.bytes + r->body.cap + r->text.cap;
	return n;
}

/* Cuts connections until as much would be free, those that hold most first (within a factor of two, so that a few looks at all of
 * them are enough). */
static void cut_largest(struct http_server *s, size_t wanted)
{
	size_t freed = 0, most = 0;

	for (const struct http_conn *c = s->conns; c; c = c->next)
		most = MAX(most, c->failed ? 0 : held_bytes(c));
	while (freed < wanted && most > HELD_MIN_BYTES) {
		most = MAX(most / 2, (size_t)HELD_MIN_BYTES);
		for (struct http_conn *c = s->conns; c && freed < wanted; c = c->next) {
			size_t n = c->failed ? 0 : held_bytes(c);

			if (n <= most)
				continue;
			freed += n;
			s->memory_cuts++;
			hs_conn_fail(c);
		}
	}
}

static void sample(struct http_server *s, uint64_t now_ms)
{
	size_t limit = s->options.max_memory_bytes, high = limit - limit / 8, resident = resident_bytes(s);

	s->sampled_ms = now_ms;
	s->uncounted_bytes = 0;
	/* What was freed but not given back is no pressure. Giving it back walks the whole heap: of a large one it is done less often. */
	if (resident > high && clock_mono_ms() >= s->trim_at_ms) {
		int64_t began_ms = clock_mono_ms();

		malloc_trim(0);
		s->trim_at_ms = clock_mono_ms() + MAX((clock_mono_ms() - began_ms) * TRIM_REST, (int64_t)TRIM_MS);
		resident = resident_bytes(s);
	}
	s->pressed = resident > (s->pressed ? high - limit / 32 : high);
	if (!s->pressed)
		return;
	for (int i = 0; i < EVICTIONS_A_SAMPLE && s->conn_count > EVICTIONS_A_SAMPLE; i++)
		if (!hs_evict(s))
			break;
	if (resident > limit - limit / 16)
		cut_largest(s, resident - high);
}

void hs_memory_look(struct http_server *s)
{
	uint64_t now_ms = uv_now(s->loop);

	if (s->options.max_memory_bytes && (now_ms - s->sampled_ms >= SAMPLE_MS || s->uncounted_bytes >= SAMPLE_BYTES))
		sample(s, now_ms);
}

void hs_memory_grew(struct http_server *s, size_t bytes)
{
	s->uncounted_bytes += bytes;
	if (s->uncounted_bytes >= SAMPLE_BYTES)
		hs_memory_look(s);
}

bool http_server_pressed(const struct http_server *s)
{
	return s && s->pressed;
}

uint64_t http_server_memory_cuts(const struct http_server *s)
{
	return s->memory_cuts;
}

void hs_memory_init(struct http_server *s)
{
	s->statm_fd = s->options.max_memory_bytes ? open("/proc/self/statm", O_RDONLY | O_CLOEXEC) : -1;
}

void hs_memory_done(struct http_server *s)
{
	if (s->statm_fd >= 0)
		close(s->statm_fd);
}
