/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of validation as tables: cases/NAME.txt, a rule a line, run through the steps of a request: decoding, defaults,
 * strategy, validation. What a line of those files means stands in cases/README.md.
 *
 * Besides its lines, every base object has to be valid, to be stable under defaulting, and to pass an update that changes nothing.
 */
#include <dirent.h>
#include <libgen.h>

#include "apiserver/validate/validate_fixture.h"
#include "base/file.h"
#include "base/map.h"

struct table {
	const char *path;
	size_t line;
	struct map *bases;   /* name -> json_t, decoded but without defaults */
	struct map *defines; /* NAME -> text */
	size_t ran, failed;
};

static void free_json(void *v)
{
	json_decref(v);
}

_printf_(2, 3) static void complain(struct table *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s:%zu: ", t->path, t->line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	t->failed++;
}

/* Splits s at each sep, blanks around the parts dropped. */
static void split(struct strlist *out, const char *s, const char *sep)
{
	for (;;) {
		const char *end = strstr(s, sep);
		size_t len = end ? (size_t)(end - s) : strlen(s);

		while (len && (*s == ' ' || *s == '\t'))
			s++, len--;
		while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
			len--;
		if (len)
			strlist_take(out, mem_strndup(s, len));
		if (!end)
			return;
		s = end + strlen(sep);
	}
}

/* "a.b[0][x.io/y]" as its steps. */
static void path_steps(struct strlist *out, const char *path)
{
	while (*path) {
		size_t len;

		if (*path == '.')
			path++;
		if (*path == '[') {
			len = strcspn(++path, "]");
			strlist_take(out, mem_strndup(path, len));
			path += len + 1;
		} else {
			len = strcspn(path, ".[");
			strlist_take(out, mem_strndup(path, len));
			path += len;
		}
	}
}

static bool number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

/* Sets (value, moved) or deletes (NULL) what stands at the path; objects and the element behind a list's last are made. */
static bool patch_at(json_t *at, const char *path, json_t *value)
{
	_cleanup_strlist_ struct strlist steps = {0};
	bool ok = true;

	path_steps(&steps, path);
	for (size_t i = 0; ok && i < steps.count; i++) {
		const char *step = steps.items[i];
		bool last = i + 1 == steps.count, list = json_is_array(at);
		size_t n = list && number(step) ? strtoul(step, NULL, 10) : 0;
		json_t *next = list ? json_array_get(at, n) : json_object_get(at, step);

		if (list ? n > json_array_size(at) || !number(step) : !json_is_object(at)) {
			ok = false;
		} else if (last && !value) {
			ok = (list ? json_array_remove(at, n) : json_object_del(at, step)) == 0;
		} else if (last || !next) {
			json_t *v = last ? json_incref(value) : number(steps.items[i + 1]) ? json_array() : json_object();

			if (!list)
				json_object_set_new(at, step, v);
			else if (next)
				json_array_set_new(at, n, v);
			else
				json_array_append_new(at, v);
			at = v;
		} else {
			at = next;
		}
	}
	json_decref(value);
	return ok;
}

static void apply_patches(struct table *t, json_t *o, const char *text)
{
	_cleanup_strlist_ struct strlist patches = {0};

	split(&patches, text, " ; ");
	for (size_t i = 0; i < patches.count; i++) {
		const char *p = patches.items[i], *equals = strstr(p, " = ");
		_cleanup_free_ char *path = equals ? mem_strndup(p, (size_t)(equals - p)) : NULL;
		_cleanup_err_ struct err e = {0};
		json_t *value = equals ? json_parse(equals + 3, strlen(equals + 3), NULL, NULL) : NULL;

		if (equals && !value)
			value = yaml_parse(equals + 3, strlen(equals + 3), &e);
		if (equals ? !value || !patch_at(o, path, value) : *p != '-' || !patch_at(o, p + 1, NULL))
			complain(t, "cannot patch: %s (%s)", p, err_msg(&e));
	}
}

/* $NAME and ${NAME} become what they are defined as, \n a newline. Own. */
static char *expand(struct table *t, const char *s)
{
	struct strbuf out = {0};

	while (*s) {
		size_t skip = s[0] == '$' && s[1] == '{' ? 2 : 1;
		size_t len = *s == '$' ? strspn(s + skip, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") : 0;
		_cleanup_free_ char *name = mem_strndup(s + (len ? skip : 0), len);
		const char *text = len ? map_get(t->defines, name) : NULL;

		if (!len) {
			bool newline = s[0] == '\\' && s[1] == 'n';

			strbuf_addc(&out, newline ? '\n' : *s);
			s += newline ? 2 : 1;
			continue;
		}
		if (!text)
			complain(t, "%s is not defined", name);
		strbuf_adds(&out, text);
		s += skip + len + (skip == 2);
	}
	return strbuf_take(&out);
}

/* The defaults of a decoded request body. */
static void decode(struct table *t, json_t *o)
{
	const struct schema_resource *r = fixture_resource(o);
	struct codec_report report = {0};
	_cleanup_err_ struct err e = {0};

	if (codec_normalize(r->message, o, &report, &e) < 0)
		complain(t, "cannot be decoded: %s", err_msg(&e));
	for (size_t i = 0; i < report.unknown.count; i++)
		complain(t, "%s", report.unknown.items[i]);
	codec_report_done(&report);
	defaults_apply(r, o);
}

/* What stands behind a stored object: the strategy of a create, and a namespace, a version and a time. */
static void store(json_t *o)
{
	const struct schema_resource *r = fixture_resource(o);

	if (r->namespaced && !json_str(o, "metadata.namespace"))
		json_set_str(o, "metadata.namespace", "default");
	json_set_str(o, "metadata.uid", "11111111-2222-3333-4444-555555555555");
	json_set_str(o, "metadata.creationTimestamp", "2026-01-02T03:04:05Z");
	strategy_prepare_create(r, o);
}

static void collect(const struct field_errors *e, struct strlist *out)
{
	for (size_t i = 0; i < e->count; i++) {
		_cleanup_free_ char *line = str_printf("%s: %s", e->items[i].field, e->items[i].body);

		if (!strlist_has(out, line))
			strlist_add(out, line);
	}
}

/* The lines that a request gets: errors, or of "warn" the warnings. */
static void request(struct table *t, const char *verb, const json_t *base, const char *setup, const char *patch, struct strlist *out)
{
	_cleanup_json_ json_t *old = json_deep_copy(base), *o = NULL;
	const struct schema_resource *r = fixture_resource(base);
	bool creates = str_eq(verb, "create") || str_eq(verb, "warn"), warns = str_starts(verb, "warn");
	const char *sub = creates || str_eq(verb, "update") || warns ? NULL : verb;
	struct field_errors e = {0};

	/* A status is set behind the create, which would drop it. */
	decode(t, old);
	if (!creates)
		store(old);
	apply_patches(t, old, setup);
	o = json_deep_copy(old);
	apply_patches(t, o, patch);
	decode(t, o);
	decode(t, old);
	if (creates) {
		store(o);
	} else {
		strategy_prepare_update(r, sub, o, old);
		json_set_str(o, "metadata.resourceVersion", "1");
	}
	if (warns) {
		validate_warnings(r, sub, o, creates ? NULL : old, out);
		return;
	}
	validate_object(r, sub, o, creates ? NULL : old, &e);
	collect(&e, out);
	field_errors_done(&e);
}

static bool line_matches(const char *want, const char *got)
{
	size_t len = strlen(want);

	return len > 4 && str_ends(want, " ...") ? strncmp(want, got, len - 4) == 0 : strcmp(want, got) == 0;
}

static void check_lines(struct table *t, const char *expectation, const struct strlist *got)
{
	_cleanup_strlist_ struct strlist want = {0};
	bool same;

	if (strcmp(expectation, "ok") != 0)
		split(&want, expectation, " && ");
	same = want.count == got->count;
	for (size_t i = 0; same && i < want.count; i++) {
		_cleanup_free_ char *line = expand(t, want.items[i]);

		same = line_matches(line, got->items[i]);
	}
	if (same)
		return;
	complain(t, "expected %s", expectation);
	for (size_t i = 0; i < got->count; i++)
		fprintf(stderr, "    got: %s\n", got->items[i]);
	if (!got->count)
		fprintf(stderr, "    got: ok\n");
}

/* What stands at the path; NULL: nothing. */
static const json_t *value_at(const json_t *at, const char *path)
{
	_cleanup_strlist_ struct strlist steps = {0};

	path_steps(&steps, path);
	for (size_t i = 0; at && i < steps.count; i++)
		at = json_is_array(at) ? json_array_get(at, strtoul(steps.items[i], NULL, 10)) :
					 json_object_get(at, steps.items[i]);
	return at;
}

/* The values that a request body has behind its defaults. */
static void check_defaults(struct table *t, const json_t *base, const char *patch, const char *expectation)
{
	_cleanup_json_ json_t *o = json_deep_copy(base), *again = NULL;
	_cleanup_strlist_ struct strlist want = {0};

	apply_patches(t, o, patch);
	decode(t, o);
	again = json_deep_copy(o);
	decode(t, again);
	if (!json_equal(o, again))
		complain(t, "defaulting twice changes it");
	split(&want, expectation, " && ");
	for (size_t i = 0; i < want.count; i++) {
		const char *line = want.items[i], *equals = strstr(line, " = ");
		_cleanup_free_ char *path = equals ? mem_strndup(line, (size_t)(equals - line)) : mem_strdup(line + 1);
		_cleanup_json_ json_t *value = equals ? yaml_parse(equals + 3, strlen(equals + 3), NULL) : NULL;
		const json_t *got = value_at(o, path);
		_cleanup_strbuf_ struct strbuf text = {0};

		if (equals ? got && value && json_same(got, value) : !got)
			continue;
		if (got)
			json_write(&text, got);
		complain(t, "expected %s, got %s", line, text.data ? text.data : "nothing");
	}
}

/* "VERB BASE: [SETUP |] PATCH => LINES" */
static void run_case(struct table *t, char *line)
{
	_cleanup_strlist_ struct strlist got = {0};
	char *arrow = strstr(line, " => "), *colon = strchr(line, ':'), *blank = strchr(line, ' '), *bar;
	const char *setup = "", *patch;
	const json_t *base;

	if (!arrow || !colon || !blank || blank > colon || colon > arrow) {
		complain(t, "no case: %s", line);
		return;
	}
	*arrow = *colon = *blank = '\0';
	base = map_get(t->bases, blank + 1);
	if (!base) {
		complain(t, "no base %s", blank + 1);
		return;
	}
	patch = colon + 1;
	bar = strstr(colon + 1, " | ");
	if (bar) {
		*bar = '\0';
		setup = patch;
		patch = bar + 3;
	}
	t->ran++;
	if (str_eq(line, "default")) {
		check_defaults(t, base, patch, arrow + 4);
		return;
	}
	request(t, line, base, setup, patch, &got);
	check_lines(t, arrow + 4, &got);
}

/* Valid as it is, the same after another round of defaults, and an update to itself is valid and changes nothing. */
static void check_base(struct table *t, const char *name, const json_t *base)
{
	const struct schema_resource *r = fixture_resource(base);
	_cleanup_json_ json_t *o = json_deep_copy(base), *again = NULL;
	_cleanup_strlist_ struct strlist errors = {0};
	struct field_errors e = {0};

	decode(t, o);
	store(o);
	validate_object(r, NULL, o, NULL, &e);
	collect(&e, &errors);
	field_errors_done(&e);
	decode(t, o); /* as reading does */
	again = json_deep_copy(o);
	decode(t, again);
	if (!json_equal(o, again))
		complain(t, "defaulting %s twice changes it", name);
	strategy_prepare_update(r, NULL, again, o);
	if (!json_equal(o, again))
		complain(t, "an update of %s that changes nothing changes it", name);
	json_set_str(again, "metadata.resourceVersion", "1");
	validate_object(r, NULL, again, o, &e);
	collect(&e, &errors);
	field_errors_done(&e);
	for (size_t i = 0; i < errors.count; i++)
		complain(t, "base %s: %s", name, errors.items[i]);
}

static void add_base(struct table *t, const char *name, const char *yaml)
{
	_cleanup_err_ struct err e = {0};
	json_t *o = yaml_parse(yaml, strlen(yaml), &e);

	if (!o) {
		complain(t, "base %s: %s", name, err_msg(&e));
		return;
	}
	map_set(t->bases, name, o);
	check_base(t, name, o);
}

static void add_define(struct table *t, char *line)
{
	char *blank = strchr(line, ' ');

	if (!blank) {
		complain(t, "define NAME TEXT");
		return;
	}
	*blank = '\0';
	map_set(t->defines, line, expand(t, blank + 1));
}

static void run_file(struct table *t, const char *path)
{
	_cleanup_strbuf_ struct strbuf text = {0}, yaml = {0};
	_cleanup_free_ char *base = NULL;

	if (file_read(path, 1 << 20, &text) < 0)
		fail_msg("cannot read %s: run from the top of the tree", path);
	t->path = path;
	t->line = 0;
	for (char *line = text.data, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		t->line++;
		if (base && *line == '\t') {
			strbuf_addf(&yaml, "%s\n", line + 1);
			continue;
		}
		if (base) {
			add_base(t, base, yaml.data ? yaml.data : "");
			strbuf_reset(&yaml);
			free(TAKE(base));
		}
		if (str_starts(line, "base "))
			base = mem_strdup(line + 5);
		else if (str_starts(line, "define "))
			add_define(t, line + 7);
		else if (*line && *line != '#')
			run_case(t, line);
	}
	if (base)
		add_base(t, base, yaml.data ? yaml.data : "");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void cases(void **state _unused_)
{
	_cleanup_free_ char *here = mem_strdup(__FILE__), *dir = str_printf("%s/cases", dirname(here));
	struct table t = { .bases = map_new(free_json), .defines = map_new(free) };
	_cleanup_strlist_ struct strlist files = {0};
	DIR *d = opendir(dir);

	if (!d)
		fail_msg("cannot open %s: run from the top of the tree", dir);
	for (const struct dirent *entry = readdir(d); entry; entry = readdir(d))
		if (str_ends(entry->d_name, ".txt"))
			strlist_addf(&files, "%s/%s", dir, entry->d_name);
	closedir(d);
	qsort(files.items, files.count, sizeof(*files.items), by_name);
	/* 00-formats.txt is the first: its names are the other files', too. */
	for (size_t i = 0; i < files.count; i++)
		run_file(&t, files.items[i]);
	map_free(t.bases);
	map_free(t.defines);
	print_message("%zu rules\n", t.ran);
	if (t.failed)
		fail_msg("%zu complaints", t.failed);
	assert_true(t.ran > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cases) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
