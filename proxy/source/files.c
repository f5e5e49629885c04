/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Manifests in a directory, followed by inotify. The sink sees the union of the files: an object is told when its text
 * changes and gone when no file has it any more. A file is read again only when its times or size changed; of each object
 * only a fingerprint is kept.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"
#include "proxy/source/source.h"

enum { SETTLE_MS = 10, FILE_MAX_BYTES = 64 << 20, FILES_MAX = 10000 };

struct entry {
	char *key; /* "s/ns/name" or "e/ns/name" */
	uint64_t print;
};
struct file {
	char *name;
	struct stat st;
	struct entry *entries;
	size_t count, cap;
	bool seen, reread;
};
struct owner {
	const char *file; /* borrow: a file's name lives until it has let go of all it owns */
	uint64_t print;
};
struct source_files {
	char *dir;
	struct source_sink sink;
	uv_poll_t *poll;
	uv_timer_t *timer;
	int fd;
	struct file *files; /* sorted by name */
	size_t count, cap;
	struct map *owners; /* key -> struct owner, own */
	bool synced;
};

static void complain(struct source_files *s, const char *fmt, ...) _printf_(2, 3);
static void complain(struct source_files *s, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	s->sink.complain(b.data, s->sink.user);
}

static void entries_done(struct entry *e, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(e[i].key);
	free(e);
}

struct parsed {
	struct entry *entries;
	json_t **objects;
	size_t count, entry_cap, object_cap;
};

static void parsed_done(struct parsed *p)
{
	for (size_t i = 0; i < p->count; i++)
		json_decref(p->objects[i]);
	entries_done(p->entries, p->count);
	free(p->objects);
}

/* Takes Services and EndpointSlices out of a document, lists included. */
static void collect(struct source_files *s, const char *file, json_t *doc, struct parsed *out, int depth)
{
	const char *kind = json_string_value(json_object_get(doc, "kind"));
	json_t *items = json_object_get(doc, "items"), *v;
	size_t i;
	if (json_is_array(items) && depth < 4) {
		json_array_foreach(items, i, v)
			collect(s, file, v, out, depth + 1);
		return;
	}
	bool service = str_eq(kind, "Service"), slice = str_eq(kind, "EndpointSlice");
	if (!service && !slice)
		return;
	if (str_empty(object_name(doc))) {
		complain(s, "%s: a %s without metadata.name is passed over", file, kind);
		return;
	}
	if (str_empty(object_namespace(doc)))
		json_set_str(doc, "metadata.namespace", "default");
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_write(&text, doc);
	MEM_GROW(out->entries, out->entry_cap, out->count + 1);
	MEM_GROW(out->objects, out->object_cap, out->count + 1);
	out->entries[out->count] = (struct entry){
		.key = str_printf("%c/%s/%s", service ? 's' : 'e', object_namespace(doc), object_name(doc)),
		.print = hash_bytes(text.data, text.len, 0),
	};
	out->objects[out->count++] = json_incref(doc);
}

static int parse_file(struct source_files *s, const char *path, const char *name, struct parsed *out)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_err_ struct err err = { 0 };
	int r = file_read(path, FILE_MAX_BYTES, &text);
	if (r < 0) {
		complain(s, "%s: %s; its last good state is kept", name, strerror(-r));
		return r;
	}
	const char *p = text.data ? text.data : "";
	size_t blank = strspn(p, " \t\r\n");
	json_t *docs;
	if (p[blank] == '{' || p[blank] == '[') {
		docs = json_parse(p, text.len, NULL, &err);
	} else {
		docs = yaml_parse_all(p, text.len, &err);
	}
	if (!docs) {
		complain(s, "%s: %s; its last good state is kept", name, err_msg(&err));
		return -EINVAL;
	}
	if (json_is_array(docs)) {
		size_t i;
		json_t *v;
		json_array_foreach(docs, i, v)
			collect(s, name, v, out, 0);
	} else {
		collect(s, name, docs, out, 0);
	}
	json_decref(docs);
	return 0;
}

static void tell_gone(struct source_files *s, const char *key)
{
	char *copy = mem_strdup(key), *slash = strchr(copy + 2, '/');
	*slash = 0;
	s->sink.del(copy[0] == 's' ? SOURCE_SERVICE : SOURCE_SLICE, copy + 2, slash + 1, s->sink.user);
	free(copy);
}

/* The file no longer has these: whoever else has one is read again. */
static void let_go(struct source_files *s, struct file *f, const struct entry *old, size_t n, const struct parsed *now)
{
	_cleanup_(parsed_done) struct parsed none = { 0 };
	struct map *kept = map_new(NULL);
	now = now ? now : &none;
	for (size_t i = 0; i < now->count; i++)
		map_set(kept, now->entries[i].key, s);
	for (size_t i = 0; i < n; i++) {
		struct owner *o = map_get(s->owners, old[i].key);
		if (map_has(kept, old[i].key) || !o || !str_eq(o->file, f->name))
			continue;
		map_del(s->owners, old[i].key);
		tell_gone(s, old[i].key);
		for (size_t k = 0; k < s->count; k++)
			for (size_t e = 0; &s->files[k] != f && e < s->files[k].count; e++)
				if (str_eq(s->files[k].entries[e].key, old[i].key))
					s->files[k].reread = true;
	}
	map_free(kept);
}

static void take(struct source_files *s, struct file *f, struct parsed *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct entry *e = &p->entries[i];
		struct owner *o = map_get(s->owners, e->key);
		if (o && !str_eq(o->file, f->name)) {
			if (strcmp(o->file, f->name) < 0) {
				complain(s, "%s: %s is in %s too, which is used", f->name, e->key + 2, o->file);
				continue;
			}
			complain(s, "%s: %s is in %s too, which is not used any more", f->name, e->key + 2, o->file);
		}
		if (o && o->print == e->print && str_eq(o->file, f->name))
			continue;
		struct owner *n = mem_new(struct owner);
		n->file = f->name;
		n->print = e->print;
		map_set(s->owners, e->key, n);
		s->sink.set(e->key[0] == 's' ? SOURCE_SERVICE : SOURCE_SLICE, p->objects[i], s->sink.user);
	}
}

static void read_one(struct source_files *s, struct file *f)
{
	_cleanup_(parsed_done) struct parsed p = { 0 };
	_cleanup_free_ char *path = str_printf("%s/%s", s->dir, f->name);
	f->reread = false;
	if (parse_file(s, path, f->name, &p) < 0)
		return;
	struct entry *old = f->entries;
	size_t old_count = f->count;
	f->entries = NULL;
	f->count = f->cap = 0;
	let_go(s, f, old, old_count, &p);
	entries_done(old, old_count);
	take(s, f, &p);
	f->entries = TAKE(p.entries);
	f->count = p.count;
	for (size_t i = 0; i < p.count; i++)
		json_decref(p.objects[i]);
	p.count = 0;
}

static bool manifest_name(const char *n)
{
	return n[0] != '.' && (str_ends(n, ".yaml") || str_ends(n, ".yml") || str_ends(n, ".json"));
}

static struct file *file_get(struct source_files *s, const char *name)
{
	size_t at = 0;
	while (at < s->count && strcmp(s->files[at].name, name) < 0)
		at++;
	if (at < s->count && str_eq(s->files[at].name, name))
		return &s->files[at];
	if (s->count == FILES_MAX)
		return NULL;
	MEM_GROW(s->files, s->cap, s->count + 1);
	memmove(&s->files[at + 1], &s->files[at], (s->count - at) * sizeof(*s->files));
	s->count++;
	s->files[at] = (struct file){ .name = mem_strdup(name), .reread = true };
	return &s->files[at];
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void scan(struct source_files *s)
{
	DIR *d = opendir(s->dir);
	if (!d) {
		complain(s, "%s: %s; the last good state is kept", s->dir, strerror(errno));
		return;
	}
	for (size_t i = 0; i < s->count; i++)
		s->files[i].seen = false;
	for (struct dirent *n; (n = readdir(d));) {
		struct stat st;
		if (!manifest_name(n->d_name) || fstatat(dirfd(d), n->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
			continue;
		struct file *f = file_get(s, n->d_name);
		if (!f)
			continue;
		f->seen = true;
		if (!same_file(&f->st, &st))
			f->reread = true;
		f->st = st;
	}
	closedir(d);
	for (size_t i = 0; i < s->count;) {
		struct file *f = &s->files[i];
		if (f->seen) {
			i++;
			continue;
		}
		let_go(s, f, f->entries, f->count, NULL);
		entries_done(f->entries, f->count);
		free(f->name);
		memmove(f, f + 1, (s->count - i - 1) * sizeof(*f));
		s->count--;
	}
	/* Reading one may let go of an object that another has: those come in a second round. */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < s->count; i++)
			if (s->files[i].reread)
				read_one(s, &s->files[i]);
	if (!s->synced)
		s->sink.synced(s->sink.user);
	s->synced = true;
}

static void on_settled(uv_timer_t *t)
{
	scan(t->data);
}

static void on_event(uv_poll_t *p, int status, int events)
{
	struct source_files *s = p->data;
	char buf[4096];
	(void)events;
	if (status < 0)
		return;
	while (read(s->fd, buf, sizeof(buf)) > 0)
		;
	uv_timer_start(s->timer, on_settled, SETTLE_MS, 0);
}

struct source_files *source_files_new(uv_loop_t *loop, const char *dir, const struct source_sink *sink, struct err *err)
{
	struct source_files *s = mem_new(struct source_files);
	s->dir = mem_strdup(dir);
	s->sink = *sink;
	s->owners = map_new(free);
	s->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->fd < 0 || inotify_add_watch(s->fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0) {
		err_set(err, errno, "--manifests %s: %s", dir, strerror(errno));
		source_files_free(s);
		return NULL;
	}
	s->poll = mem_new(uv_poll_t);
	uv_poll_init(loop, s->poll, s->fd);
	s->poll->data = s;
	uv_poll_start(s->poll, UV_READABLE, on_event);
	s->timer = mem_new(uv_timer_t);
	uv_timer_init(loop, s->timer);
	s->timer->data = s;
	uv_timer_start(s->timer, on_settled, 0, 0);
	return s;
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

void source_files_free(struct source_files *s)
{
	if (!s)
		return;
	if (s->poll)
		uv_close((uv_handle_t *)s->poll, free_handle);
	if (s->timer)
		uv_close((uv_handle_t *)s->timer, free_handle);
	if (s->fd >= 0)
		close(s->fd);
	for (size_t i = 0; i < s->count; i++) {
		entries_done(s->files[i].entries, s->files[i].count);
		free(s->files[i].name);
	}
	free(s->files);
	map_free(s->owners);
	free(s->dir);
	free(s);
}
