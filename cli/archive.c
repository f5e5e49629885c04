/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing and reading the backup's archive. */
#include "cli/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define MANIFEST "MANIFEST.json"
enum { BLOCK = 512, CHUNK = 1 << 18, MANIFEST_MAX_BYTES = 1 << 20, SMALL_MAX_BYTES = 1 << 20 };
#define STORE_MAX_BYTES ((1ULL << 33) - 1) /* what a ustar header can say */

const char *const archive_names[] = { "cluster.json", "pki/ca.crt", "pki/ca.key", "pki/sa.key", "pki/sa.pub", "pki/encryption.yaml",
				      "store/objects.db", "etcd/snapshot.db", NULL };

static uint64_t max_bytes(const char *name)
{
	return str_ends(name, ".db") ? STORE_MAX_BYTES : SMALL_MAX_BYTES;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; archive_names[i]; i++)
		if (str_eq(archive_names[i], name))
			return true;
	return false;
}

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2], user[32], group[32],
		major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "POSIX.1-1988");

/* The sum of the header's bytes, the field of the sum counted as blanks. */
static unsigned sum_of(const struct header *h)
{
	const uint8_t *at = (const uint8_t *)h;
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, type) ? ' ' : at[i];
	return sum;
}

static int write_all(int fd, const void *data, size_t len)
{
	for (const char *at = data; len;) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Up to len bytes; fewer only at the end of the file. */
static ssize_t read_all(int fd, void *data, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)data + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

/* Hashing */

static EVP_MD_CTX *hash_new(void)
{
	EVP_MD_CTX *x = EVP_MD_CTX_new();

	BUG_ON(!x || EVP_DigestInit_ex(x, EVP_sha256(), NULL) != 1);
	return x;
}

static void hash_end(EVP_MD_CTX *x, char out[static ARCHIVE_HASH_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	_cleanup_strbuf_ struct strbuf hex = { 0 };
	unsigned len;

	BUG_ON(EVP_DigestFinal_ex(x, digest, &len) != 1);
	EVP_MD_CTX_free(x);
	hex_encode(&hex, digest, len);
	snprintf(out, ARCHIVE_HASH_SIZE, "%s", hex.data);
}

/* Copies len bytes, hashing them; out < 0: only hashes. -ENODATA: there were fewer. */
static int copy(int in, int out, uint64_t len, char hash[static ARCHIVE_HASH_SIZE])
{
	_cleanup_free_ char *buf = mem_alloc(CHUNK);
	EVP_MD_CTX *x = hash_new();
	int r = 0;

	while (len && r == 0) {
		size_t want = (size_t)MIN(len, (uint64_t)CHUNK);
		ssize_t n = read_all(in, buf, want);

		if (n < 0 || (size_t)n < want) {
			r = n < 0 ? (int)n : -ENODATA;
			break;
		}
		BUG_ON(EVP_DigestUpdate(x, buf, want) != 1);
		r = out < 0 ? 0 : write_all(out, buf, want);
		len -= want;
	}
	hash_end(x, hash);
	return r;
}

/* Writing */

static int pad(int fd, uint64_t len)
{
	static const char zeros[BLOCK];

	return write_all(fd, zeros, (size_t)((BLOCK - len % BLOCK) % BLOCK));
}

static int write_header(int fd, const char *name, uint64_t len)
{
	struct header h = { 0 };

	snprintf(h.name, sizeof(h.name), "%s", name);
	snprintf(h.mode, sizeof(h.mode), "%07o", 0600);
	snprintf(h.uid, sizeof(h.uid), "%07o", 0);
	snprintf(h.gid, sizeof(h.gid), "%07o", 0);
	snprintf(h.size, sizeof(h.size), "%011" PRIo64, len);
	snprintf(h.mtime, sizeof(h.mtime), "%011" PRIo64, (uint64_t)clock_wall_s());
	h.type = '0';
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	snprintf(h.sum, sizeof(h.sum), "%06o", sum_of(&h));
	h.sum[7] = ' ';
	return write_all(fd, &h, sizeof(h));
}

static int add_file(int out, const char *dir, const json_t *file, struct err *err)
{
	const char *name = json_str(file, "name");
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t len = (uint64_t)json_int(file, "bytes", 0);
	char hash[ARCHIVE_HASH_SIZE];
	int r = in < 0 ? -errno : write_header(out, name, len);

	if (r == 0)
		r = copy(in, out, len, hash);
	if (r == 0)
		r = pad(out, len);
	if (r < 0)
		return err_set(err, -r, "cannot copy %s: %s", path, strerror(-r));
	return str_eq(hash, json_str(file, "sha256")) ? 0 : err_set(err, EAGAIN, "%s was changed meanwhile; try again", path);
}

/* {name, bytes, sha256} of a file; NULL when there is none, with err when it cannot be read. */
static json_t *describe(const char *dir, const char *name, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char hash[ARCHIVE_HASH_SIZE];
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return NULL;
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) ? -EINVAL : 0;

	if (r == 0 && (uint64_t)st.st_size > max_bytes(name))
		r = -EFBIG;
	if (r == 0)
		r = copy(fd, -1, (uint64_t)st.st_size, hash);
	if (r < 0) {
		err_set(err, -r, "cannot read %s: %s", path, strerror(-r));
		return NULL;
	}
	return json_pack("{s:s,s:I,s:s}", "name", name, "bytes", (json_int_t)st.st_size, "sha256", hash);
}

static int write_members(int fd, const char *dir, json_t *manifest, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_t *files = json_array(), *file;
	size_t i;
	int r = 0;

	json_object_set_new(manifest, "format", json_integer(ARCHIVE_FORMAT));
	json_object_set_new(manifest, "files", files);
	for (i = 0; archive_names[i]; i++) {
		struct err bad = { 0 };

		file = describe(dir, archive_names[i], &bad);
		if (file)
			json_array_append_new(files, file);
		else if (bad.code) {
			r = err_set(err, bad.code, "%s", err_msg(&bad));
			err_done(&bad);
			return r;
		}
	}
	json_write_pretty(&text, manifest);
	strbuf_addc(&text, '\n');
	r = write_header(fd, MANIFEST, text.len);
	if (r == 0)
		r = write_all(fd, text.data, text.len);
	if (r == 0)
		r = pad(fd, text.len);
	if (r < 0)
		return err_set(err, -r, "cannot write: %s", strerror(-r));
	json_array_foreach(files, i, file) {
		r = add_file(fd, dir, file, err);
		if (r < 0)
			return r;
	}
	static const char end[2 * BLOCK];

	r = write_all(fd, end, sizeof(end));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_set(err, -r, "cannot write: %s", strerror(-r)) : 0;
}

static int sync_dir_of(const char *path)
{
	_cleanup_free_ char *copy_of = mem_strdup(path);
	_cleanup_close_ int fd = open(dirname(copy_of), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int archive_write(const char *path, const char *dir, json_t *manifest, struct err *err)
{
	_cleanup_free_ char *partial = str_printf("%s.partial", path);

	if (unlink(partial) < 0 && errno != ENOENT)
		return err_set(err, errno, "cannot write %s: %s", partial, strerror(errno));
	_cleanup_close_ int fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? err_set(err, errno, "cannot make %s: %s", partial, strerror(errno)) : write_members(fd, dir, manifest, err);

	if (r == 0 && rename(partial, path) < 0)
		r = err_set(err, errno, "cannot make %s: %s", path, strerror(errno));
	if (r == 0 && (r = sync_dir_of(path)) < 0)
		err_set(err, -r, "cannot sync the directory of %s: %s", path, strerror(-r));
	if (r < 0 && fd >= 0)
		(void)unlink(partial);
	return r;
}

/* Reading */

struct reader {
	const char *path;
	int fd;
	struct err *err;
};

static int broken(const struct reader *r, const char *fmt, ...) _printf_(2, 3);
static int broken(const struct reader *r, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	return err_set(r->err, EBADMSG, "%s is no whole backup of keelson: %s", r->path, b.data);
}

/* An octal number that fills its field but for one byte. */
static bool read_octal(const char *field, size_t size, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i + 1 < size; i++) {
		if (field[i] < '0' || field[i] > '7')
			return false;
		*ret = *ret * 8 + (uint64_t)(field[i] - '0');
	}
	return true;
}

/* The next member must be a file with this name. */
static int read_header(const struct reader *r, const char *name, uint64_t *ret_len)
{
	struct header h;
	ssize_t n = read_all(r->fd, &h, sizeof(h));
	uint64_t sum;

	if (n < 0)
		return err_set(r->err, (int)-n, "cannot read %s: %s", r->path, strerror((int)-n));
	if ((size_t)n < sizeof(h))
		return broken(r, "it ends before %s", name);
	if (memcmp(h.magic, "ustar", 6) != 0 || !read_octal(h.sum, 7, &sum) || sum != sum_of(&h) ||
	    !read_octal(h.size, sizeof(h.size), ret_len))
		return broken(r, "there is no header of %s", name);
	if (h.type != '0' || h.prefix[0] || memchr(h.name, '\0', sizeof(h.name)) == NULL || !str_eq(h.name, name))
		return broken(r, "%s is not where its manifest says", name);
	return 0;
}

static int skip_padding(const struct reader *r, uint64_t len)
{
	char rest[BLOCK];
	size_t want = (size_t)((BLOCK - len % BLOCK) % BLOCK);

	return read_all(r->fd, rest, want) == (ssize_t)want ? 0 : broken(r, "it ends too early");
}

static int check_manifest(const struct reader *r, const json_t *m)
{
	const json_t *files = json_object_get(m, "files"), *file;
	_cleanup_strlist_ struct strlist seen = { 0 };
	size_t i;

	if (!json_is_object(m) || json_int(m, "format", 0) != ARCHIVE_FORMAT)
		return broken(r, "its manifest has the format %" PRId64 ", this program knows %d", json_int(m, "format", 0), ARCHIVE_FORMAT);
	if (!json_is_array(files) || json_array_size(files) > ARCHIVE_MAX_MEMBERS)
		return broken(r, "its manifest has no list of files");
	json_array_foreach(files, i, file) {
		const char *name = json_str_or(file, "name", ""), *hash = json_str_or(file, "sha256", "");
		int64_t len = json_int(file, "bytes", -1);

		if (!is_known(name) || strlist_has(&seen, name))
			return broken(r, "its manifest names the file \"%.100s\"", name);
		if (len < 0 || (uint64_t)len > max_bytes(name))
			return broken(r, "its manifest says that %s has %" PRId64 " bytes", name, len);
		if (strlen(hash) != ARCHIVE_HASH_SIZE - 1)
			return broken(r, "its manifest has no SHA-256 of %s", name);
		strlist_add(&seen, name);
	}
	return strlist_has(&seen, "cluster.json") ? 0 : broken(r, "it has no cluster.json");
}

static int read_manifest(const struct reader *r, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	uint64_t len;
	int rc = read_header(r, MANIFEST, &len);

	if (rc < 0)
		return rc;
	if (len > MANIFEST_MAX_BYTES)
		return broken(r, "its manifest has %" PRIu64 " bytes", len);
	text = mem_alloc(len + 1);
	if (read_all(r->fd, text, len) != (ssize_t)len)
		return broken(r, "it ends in its manifest");
	rc = skip_padding(r, len);
	if (rc < 0)
		return rc;
	_cleanup_err_ struct err why = { 0 };
	_cleanup_json_ json_t *m = json_parse_peer(text, len, NULL, &why);

	if (!m)
		return broken(r, "its manifest: %s", err_msg(&why));
	rc = check_manifest(r, m);
	if (rc == 0)
		*ret = TAKE(m);
	return rc;
}

static int read_member(const struct reader *r, const char *dir, const json_t *file)
{
	const char *name = json_str(file, "name");
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name), *parent = mem_strdup(path);
	char hash[ARCHIVE_HASH_SIZE];
	uint64_t len;
	int rc = read_header(r, name, &len);

	if (rc < 0)
		return rc;
	if (len != (uint64_t)json_int(file, "bytes", -1))
		return broken(r, "%s has not the size that its manifest says", name);
	rc = file_mkdir_p(dirname(parent), 0700);
	_cleanup_close_ int out = rc < 0 ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (rc == 0)
		rc = out < 0 ? -errno : copy(r->fd, out, len, hash);
	if (rc == -ENODATA)
		return broken(r, "it ends in %s", name);
	if (rc == 0 && fsync(out) < 0)
		rc = -errno;
	if (rc == 0)
		rc = sync_dir_of(path);
	if (rc < 0)
		return err_set(r->err, -rc, "cannot unpack %s: %s", path, strerror(-rc));
	if (!str_eq(hash, json_str(file, "sha256")))
		return broken(r, "%s is damaged: its SHA-256 is %s, not %s", name, hash, json_str(file, "sha256"));
	return skip_padding(r, len);
}

int archive_read(const char *path, const char *dir, json_t **ret_manifest, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct reader r = { .path = path, .fd = fd, .err = err };
	_cleanup_json_ json_t *manifest = NULL;
	const json_t *file;
	size_t i;

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	int rc = read_manifest(&r, &manifest);

	json_array_foreach(json_object_get(manifest, "files"), i, file) {
		rc = read_member(&r, dir, file);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		*ret_manifest = TAKE(manifest);
	return rc;
}
