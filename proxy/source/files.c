/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Manifests in a directory, followed by inotify. The sink sees the union of the files: an object is told when its text
 * changes and gone when no file has it any more. A file is read again only when its times or size changed; of each object
 * only a fingerprint is kept. Owners point at names of files, so a file lets go of what it owns before it is forgotten.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "kube/object.h"
#include "proxy/source/source.h"

enum {
	SETTLE_MS = 10,      /* after the last event, */
	SETTLE_MAX_MS = 200, /* but no longer than this after the first */
	WRITING_MS = 2000,   /* a file that was left alone for so long is read although nobody closed it */
	RETURN_MS = 500,     /* how often a directory that went away is looked for */
	FILE_MAX_BYTES = 64 << 20,
	FILES_MAX = 10000,
};

static const char kind_letters[] = { [SOURCE_SERVICE] = 's', [SOURCE_SLICE] = 'e', [SOURCE_NODE] = 'n' };
static const char *const kind_names[] = {
	[SOURCE_SERVICE] = "Service", [SOURCE_SLICE] = "EndpointSlice", [SOURCE_NODE] = "Node",
};

struct entry {
	char *key; /* "KIND/ns/name", KIND a letter of kind_letters; a Node's ns is empty */
	uint64_t print;
};
struct file {
	char *name;
	struct stat st;
	struct entry *entries;
	size_t count, cap;
	bool seen, reread;
	int64_t writing_ms; /* when somebody was last seen writing to it without having closed it; 0: nobody */
};
struct owner {
	const char *file; /* borrow: a file's name lives until it has let go of all it owns */
	uint64_t print;
	bool contested; /* another file has it too, or had */
};
struct source_files {
	char *dir;
	struct source_sink sink;
	uv_poll_t *poll;
	uv_timer_t *timer;
	int fd, watch; /* watch -1: the directory is away */
	struct file *files; /* sorted by name */
	size_t count, cap;
	struct map *owners; /* key -> struct owner, own */
	int64_t first_ms;   /* of the events not looked at yet; 0: none */
	bool synced, full, away;
	bool missed; /* events were taken in while files were read */
};

static void on_settled(uv_timer_t *t);
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
	struct map *places; /* key -> index + 1, as pointers */
};

static void parsed_done(struct parsed *p)
{
	for (size_t i = 0; i < p->count; i++)
		json_decref(p->objects[i]);
	entries_done(p->entries, p->count);
	free(p->objects);
	map_free(p->places);
}

/* The same for the same text; order counts. */
static uint64_t fingerprint(const json_t *v, uint64_t h)
{
	struct {
		uint64_t seed;
		uint8_t type;
		uint8_t pad[7];
		union {
			json_int_t i;
			double d;
		};
	} leaf = { .seed = h, .type = (uint8_t)json_typeof(v) };
	const char *key;
	json_t *item;
	size_t i;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)v, key, item)
			h = fingerprint(item, hash_bytes(key, strlen(key), h));
		break;
	case JSON_ARRAY:
		json_array_foreach(v, i, item)
			h = fingerprint(item, h + i + 1);
		break;
	case JSON_STRING:
		h = hash_bytes(json_string_value(v), json_string_length(v), h);
		break;
	case JSON_INTEGER:
		leaf.i = json_integer_value(v);
		break;
	case JSON_REAL:
		leaf.d = json_real_value(v);
		break;
	default:
		break;
	}
	leaf.seed = h; /* an object's end, and that it is none of another type */
	return hash_bytes(&leaf, sizeof(leaf), 1);
}

/* Takes what there is a kind for out of a document, lists included. */
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
	int k = 0;
	while (k < SOURCE_KIND_MAX && !str_eq(kind, kind_names[k]))
		k++;
	if (k == SOURCE_KIND_MAX)
		return;
	if (str_empty(object_name(doc)) || strchr(object_name(doc), '/') || strchr(object_namespace(doc), '/')) {
		complain(s, "%s: a %s without a usable metadata.name is passed over", file, kind);
		return;
	}
	if (k != SOURCE_NODE && str_empty(object_namespace(doc)))
		json_set_str(doc, "metadata.namespace", "default");
	struct entry e = {
		.key = str_printf("%c/%s/%s", kind_letters[k], k == SOURCE_NODE ? "" : object_namespace(doc), object_name(doc)),
		.print = fingerprint(doc, 0),
	};
	size_t twice = (size_t)map_get(out->places, e.key);
	if (twice) {
		complain(s, "%s: %s stands there twice, the last one counts", file, e.key + 2);
		free(e.key);
		out->entries[twice - 1].print = e.print;
		json_decref(out->objects[twice - 1]);
		out->objects[twice - 1] = json_incref(doc);
		return;
	}
	MEM_GROW(out->entries, out->entry_cap, out->count + 1);
	MEM_GROW(out->objects, out->object_cap, out->count + 1);
	out->entries[out->count] = e;
	out->objects[out->count++] = json_incref(doc);
	map_set(out->places, e.key, (void *)out->count);
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

static enum source_kind key_kind(const char *key)
{
	return key[0] == kind_letters[SOURCE_SERVICE] ? SOURCE_SERVICE :
	       key[0] == kind_letters[SOURCE_SLICE] ? SOURCE_SLICE : SOURCE_NODE;
}

static void tell_gone(struct source_files *s, const char *key)
{
	char *copy = mem_strdup(key), *slash = strchr(copy + 2, '/');
	*slash = 0;
	s->sink.del(key_kind(copy), copy + 2, slash + 1, s->sink.user);
	free(copy);
}

/* The file no longer has these: whoever else has one is read again. */
static void let_go(struct source_files *s, struct file *f, const struct entry *old, size_t n, const struct parsed *now)
{
	for (size_t i = 0; i < n; i++) {
		struct owner *o = map_get(s->owners, old[i].key);
		if ((now && map_has(now->places, old[i].key)) || !o || !str_eq(o->file, f->name))
			continue;
		bool contested = o->contested;
		map_del(s->owners, old[i].key);
		tell_gone(s, old[i].key);
		for (size_t k = 0; contested && k < s->count; k++)
			for (size_t e = 0; &s->files[k] != f && e < s->files[k].count; e++)
				if (str_eq(s->files[k].entries[e].key, old[i].key))
					s->files[k].reread = true;
	}
}

static void take(struct source_files *s, struct file *f, struct parsed *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct entry *e = &p->entries[i];
		struct owner *o = map_get(s->owners, e->key);
		bool other = o && !str_eq(o->file, f->name);
		if (other) {
			o->contested = true;
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
		n->contested = o && o->contested;
		map_set(s->owners, e->key, n);
		s->sink.set(key_kind(e->key), p->objects[i], s->sink.user);
	}
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
	if (s->count == FILES_MAX) {
		if (!s->full)
			complain(s, "%s: more than %d files, the others are not read", s->dir, FILES_MAX);
		s->full = true;
		return NULL;
	}
	MEM_GROW(s->files, s->cap, s->count + 1);
	memmove(&s->files[at + 1], &s->files[at], (s->count - at) * sizeof(*s->files));
	s->count++;
	s->files[at] = (struct file){ .name = mem_strdup(name), .reread = true };
	return &s->files[at];
}

/* Only marks: what is the case is looked at when the events have settled. */
static void take_event(struct source_files *s, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		for (size_t i = 0; i < s->count; i++)
			s->files[i].writing_ms = 0;
	/* What follows about a watch given up is not about the directory of that name. */
	if (e->wd != s->watch)
		return;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) {
		inotify_rm_watch(s->fd, s->watch);
		s->watch = -1;
	}
	if (!e->len || !manifest_name(e->name))
		return;
	struct file *f = e->mask & (IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO) ? file_get(s, e->name) : NULL;
	if (!f)
		return;
	f->reread = true;
	f->writing_ms = e->mask & IN_MODIFY ? clock_mono_ms() : 0;
}

/* True: there were events, so that the directory has to be looked at again. */
static bool drain(struct source_files *s)
{
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n;
	bool any = false;
	while ((n = read(s->fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)at;
			take_event(s, e);
			at += sizeof(*e) + e->len;
			any = true;
		}
	return any;
}

static void read_one(struct source_files *s, size_t index)
{
	_cleanup_(parsed_done) struct parsed p = { .places = map_new(NULL) };
	_cleanup_free_ char *name = mem_strdup(s->files[index].name);
	_cleanup_free_ char *path = str_printf("%s/%s", s->dir, name);
	s->files[index].reread = false;
	if (parse_file(s, path, name, &p) < 0)
		return;
	/* What happened meanwhile, to whichever file, wakes nobody any more. */
	if (drain(s))
		s->missed = true;
	struct file *f = file_get(s, name); /* files that just came may have moved it */
	if (!f || f->reread || f->writing_ms) {
		s->missed = true; /* it was changed while it was read */
		return;
	}
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

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Which files there are, and which of them changed. */
static int look(struct source_files *s)
{
	DIR *d = opendir(s->dir);
	if (!d)
		return -errno;
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
	return 0;
}

static void drop_unseen(struct source_files *s)
{
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
		s->full = false;
	}
}

/* Half a file may well parse: one that is being written is left alone until it is closed. Returns how long that may still
 * be for some file, 0 when none is left. */
static int64_t read_changed(struct source_files *s)
{
	int64_t now = clock_mono_ms(), wait = 0;
	/* Reading one may let go of an object that another has: those come in a second round. */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < s->count; i++) {
			struct file *f = &s->files[i];
			int64_t left = f->writing_ms ? f->writing_ms + WRITING_MS - now : 0;
			if (left > 0)
				wait = wait ? MIN(wait, left) : left;
			else if (f->reread)
				read_one(s, i);
		}
	return wait;
}

static int watch(struct source_files *s)
{
	s->watch = inotify_add_watch(s->fd, s->dir, IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
				     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
	return s->watch < 0 ? -errno : 0;
}

static void scan(struct source_files *s)
{
	s->first_ms = 0;
	drain(s);
	int r = s->watch < 0 ? watch(s) : 0;
	if (r == 0)
		r = look(s);
	if (r < 0) {
		if (!s->away)
			complain(s, "%s: %s; everything stays as it was", s->dir, strerror(-r));
		s->away = true;
		uv_timer_start(s->timer, on_settled, RETURN_MS, 0);
		return;
	}
	s->away = false;
	drop_unseen(s);
	s->missed = false;
	int64_t wait = read_changed(s);
	if (s->missed)
		wait = SETTLE_MS;
	if (wait)
		uv_timer_start(s->timer, on_settled, (uint64_t)wait, 0);
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
	(void)events;
	if (status < 0)
		return;
	drain(s);
	int64_t now = clock_mono_ms();
	if (!s->first_ms)
		s->first_ms = now;
	if (now - s->first_ms < SETTLE_MAX_MS)
		uv_timer_start(s->timer, on_settled, SETTLE_MS, 0);
}

struct source_files *source_files_new(uv_loop_t *loop, const char *dir, const struct source_sink *sink, struct err *err)
{
	struct source_files *s = mem_new(struct source_files);
	s->dir = mem_strdup(dir);
	s->sink = *sink;
	s->owners = map_new(free);
	s->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = s->fd < 0 ? -errno : watch(s);
	if (r < 0) {
		err_set(err, -r, "--manifests %s: %s", dir, strerror(-r));
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
