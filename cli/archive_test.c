/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's archive: what was written comes back; damaged, cut and hostile ones are refused and write nothing elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/archive.h"

struct dirs {
	char top[32];
	char *from, *to, *tar;
};

static void put(const char *dir, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name), *parent = mem_strndup(path, (size_t)(strrchr(path, '/') - path));

	assert_int_equal(file_mkdir_p(parent, 0700), 0);
	assert_int_equal(file_write_atomic(path, data, len, 0600), 0);
}

static int setup(void **state)
{
	struct dirs *d = mem_new(struct dirs);
	char big[5000];

	strcpy(d->top, "/tmp/archive-test-XXXXXX");
	assert_non_null(mkdtemp(d->top));
	d->from = str_printf("%s/from", d->top);
	d->to = str_printf("%s/to", d->top);
	d->tar = str_printf("%s/b.tar", d->top);
	memset(big, 'b', sizeof(big));
	put(d->from, "cluster.json", "{}\n", 3);
	put(d->from, "pki/ca.key", "", 0);
	put(d->from, "store/objects.db", big, sizeof(big));
	put(d->from, "pki/other.key", "x", 1); /* is not asked for */
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct dirs *d = *state;

	file_rm_rf(d->top);
	free(d->from);
	free(d->to);
	free(d->tar);
	free(d);
	return 0;
}

static void write_it(const struct dirs *d)
{
	_cleanup_json_ json_t *m = json_pack("{s:i}", "revision", 7);
	_cleanup_err_ struct err err = { 0 };

	if (archive_write(d->tar, d->from, m, &err) < 0)
		fail_msg("%s", err_msg(&err));
}

/* Into an empty directory. */
static int read_it(const struct dirs *d, json_t **ret, struct err *err)
{
	assert_int_equal(file_rm_rf(d->to), 0);
	assert_int_equal(file_mkdir_p(d->to, 0700), 0);
	return archive_read(d->tar, d->to, ret, err);
}

static void load(const struct dirs *d, struct strbuf *out)
{
	assert_int_equal(file_read(d->tar, 1 << 20, out), 0);
}

static void store(const struct dirs *d, const struct strbuf *b, size_t len)
{
	assert_int_equal(file_write_atomic(d->tar, b->data, len, 0600), 0);
}

static void refused(const struct dirs *d, const char *why)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *m = NULL;
	int r = read_it(d, &m, &err);

	if (r >= 0 || (why && !strstr(err_msg(&err), why)))
		fail_msg("wanted \"%s\", got %d: %s", why ? why : "a refusal", r, err_msg(&err));
	assert_null(m);
}

static void comes_back(void **state)
{
	const struct dirs *d = *state;
	_cleanup_json_ json_t *m = NULL;
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf a = { 0 }, b = { 0 };
	_cleanup_free_ char *db = str_printf("%s/store/objects.db", d->to), *other = str_printf("%s/pki/other.key", d->to);
	_cleanup_free_ char *was = str_printf("%s/store/objects.db", d->from), *empty = str_printf("%s/pki/ca.key", d->to);
	struct stat st;

	write_it(d);
	assert_int_equal(stat(d->tar, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (read_it(d, &m, &err) < 0)
		fail_msg("%s", err_msg(&err));
	assert_int_equal(json_int(m, "revision", 0), 7);
	assert_int_equal(file_read(db, 1 << 20, &a), 0);
	assert_int_equal(file_read(was, 1 << 20, &b), 0);
	assert_true(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
	assert_int_equal(stat(empty, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(file_exists(other));
}

/* A cut before the end marks, and any other byte of what is not padding or a header's unused field. */
static void damage(void **state)
{
	const struct dirs *d = *state;
	_cleanup_strbuf_ struct strbuf b = { 0 };

	write_it(d);
	load(d, &b);
	for (size_t len = 0; len < b.len - 1024; len += 97) {
		store(d, &b, len);
		refused(d, NULL);
	}
	char *data = memmem(b.data, b.len, "bbbbb", 5);

	assert_non_null(data);
	for (size_t i = 0; i < 5000; i += 499) {
		data[i] ^= 1;
		store(d, &b, b.len);
		refused(d, "store/objects.db is damaged");
		data[i] ^= 1;
	}
	for (size_t i = 0; i < 154; i++) { /* the manifest's header and its sum, but for the blank behind that */
		b.data[i] ^= 1;
		store(d, &b, b.len);
		refused(d, NULL);
		b.data[i] ^= 1;
	}
}

/* Writes an archive by hand: the manifest's text and one member with that name and type. */
static void forge(const struct dirs *d, const char *manifest, const char *member, char type, const char *data)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const char *const names[] = { "MANIFEST.json", member }, *const bodies[] = { manifest, data };

	for (size_t i = 0; i < 2 && names[i]; i++) {
		char h[512] = { 0 };
		unsigned sum = 0;

		snprintf(h, 100, "%s", names[i]);
		snprintf(h + 124, 12, "%011o", (unsigned)strlen(bodies[i]));
		h[156] = i ? type : '0';
		snprintf(h + 157, 100, "/etc/passwd");
		memcpy(h + 257, "ustar\00000", 8);
		memset(h + 148, ' ', 8);
		for (size_t k = 0; k < sizeof(h); k++)
			sum += (unsigned char)h[k];
		snprintf(h + 148, 8, "%06o", sum);
		strbuf_add(&b, h, sizeof(h));
		strbuf_adds(&b, bodies[i]);
		while (b.len % 512)
			strbuf_addc(&b, '\0');
	}
	store(d, &b, b.len);
}

#define SUM "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc" */
#define FILE_OF(name, bytes) "{\"name\":\"" name "\",\"bytes\":" bytes ",\"sha256\":\"" SUM "\"}"
#define MANIFEST_OF(files) "{\"format\":1,\"files\":[" files "]}"

static void hostile(void **state)
{
	const struct dirs *d = *state;
	static const struct {
		const char *manifest, *member;
		char type;
		const char *why;
	} cases[] = {
		{ MANIFEST_OF(FILE_OF("../out", "3")), "../out", '0', "names the file \"../out\"" },
		{ MANIFEST_OF(FILE_OF("/etc/cron.d/x", "3")), "/etc/cron.d/x", '0', "names the file" },
		{ MANIFEST_OF(FILE_OF("pki/../../out", "3")), "pki/../../out", '0', "names the file" },
		{ MANIFEST_OF(FILE_OF("pki/admin.key", "3")), "pki/admin.key", '0', "names the file" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "3") "," FILE_OF("cluster.json", "3")), "cluster.json", '0', "names the file" },
		{ MANIFEST_OF(FILE_OF("pki/ca.crt", "3")), "pki/ca.crt", '0', "has no cluster.json" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "3")), "../out", '0', "is not where its manifest says" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "3")), "cluster.json", '2', "is not where its manifest says" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "3")), "cluster.json", '5', "is not where its manifest says" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "4")), "cluster.json", '0', "has not the size" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "-1")), "cluster.json", '0', "has -1 bytes" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "1048577")), "cluster.json", '0', "has 1048577 bytes" },
		{ MANIFEST_OF(FILE_OF("cluster.json", "3") "," FILE_OF("store/objects.db", "8589934592")), "cluster.json", '0', "bytes" },
		{ "{\"format\":2,\"files\":[]}", "cluster.json", '0', "has the format 2" },
		{ "{\"format\":1,\"files\":{}}", "cluster.json", '0', "no list of files" },
		{ "{\"format\":1", "cluster.json", '0', "its manifest: " },
		{ "[]", "cluster.json", '0', "has the format 0" },
	};
	_cleanup_json_ json_t *m = NULL;
	_cleanup_free_ char *out = str_printf("%s/out", d->top);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		forge(d, cases[i].manifest, cases[i].member, cases[i].type, "abc");
		refused(d, cases[i].why);
		assert_false(file_exists(out));
	}
	/* The same by hand, but honest. */
	forge(d, MANIFEST_OF(FILE_OF("cluster.json", "3")), "cluster.json", '0', "abc");
	assert_int_equal(read_it(d, &m, NULL), 0);
	forge(d, MANIFEST_OF(FILE_OF("cluster.json", "3")), "cluster.json", '0', "abd");
	refused(d, "is damaged");
}

/* Somebody else may write to the directory of the backup: a link in the way of the temporary file is not followed. */
static void link_in_the_way(void **state)
{
	const struct dirs *d = *state;
	_cleanup_free_ char *partial = str_printf("%s.partial", d->tar), *victim = str_printf("%s/victim", d->top);

	assert_int_equal(symlink(victim, partial), 0);
	write_it(d);
	assert_false(file_exists(victim));
	assert_false(file_exists(partial));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(damage, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(link_in_the_way, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
