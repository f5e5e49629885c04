/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes by kind, as rows of a table: how each is made and where it then is. Files with contents (ConfigMaps, Secrets,
 * downward API, projections of them) are gathered in memory and written by the atomic writer; those that may hold
 * secrets stand in a tmpfs of their own. Every mount we make is below the pod's own directory.
 */
#include "agent/volume/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/sources.h"
#include "agent/volume/atomic.h"
#include "agent/volume/tokens.h"
#include "agent/spec.h"
#include "base/file.h"
#include "base/mem.h"
#include "kube/object.h"
#include "kube/quantity.h"

struct volume_call {
	struct agent *agent;
	const json_t *pod, *volume, *source; /* source: the value under the volume's kind */
	const struct pod_facts *facts;
	char *dir;
	gid_t gid; /* fsGroup or -1 */
};

char *volumes_pod_dir(const struct agent *a, const char *uid)
{
	return str_printf("%s/agent/pods/%s", a->o.state, uid);
}

static char *volume_dir(const struct agent *a, const char *uid, const char *name)
{
	return str_printf("%s/agent/pods/%s/volumes/%s", a->o.state, uid, name);
}

static bool is_mount_root(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int make_dir(const char *path, struct err *err)
{
	int r = file_mkdir_p(path, 0750);

	return r < 0 ? err_set(err, -r, "make directory %s: %s", path, strerror(-r)) : 0;
}

static int mount_tmpfs(const char *dir, int64_t size_bytes, const char *mode, struct err *err)
{
	_cleanup_free_ char *options = size_bytes > 0 ? str_printf("mode=%s,size=%lld", mode, (long long)size_bytes) :
							str_printf("mode=%s", mode);

	if (is_mount_root(dir))
		return 0;
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return err_set(err, errno, "mount a tmpfs on %s: %s", dir, strerror(errno));
	return 0;
}

/* emptyDir */

static int setup_empty_dir(struct volume_call *c, struct err *err)
{
	struct quantity limit;
	int64_t size = 0;
	bool fresh = !file_exists(c->dir);
	int r = make_dir(c->dir, err);

	if (r < 0)
		return r;
	if (str_eq(json_str(c->source, "medium"), "Memory")) {
		if (json_str(c->source, "sizeLimit") && quantity_parse(json_str(c->source, "sizeLimit"), &limit) == 0)
			size = quantity_value(&limit);
		r = mount_tmpfs(c->dir, size, "0777", err);
		if (r < 0)
			return r;
	}
	if (!fresh)
		return 0;
	/* Only when new: what containers made of it since is theirs. */
	if (c->gid != (gid_t)-1 && chown(c->dir, (uid_t)-1, c->gid) < 0)
		return err_set(err, errno, "change the group of %s: %s", c->dir, strerror(errno));
	if (chmod(c->dir, c->gid != (gid_t)-1 ? 02777 : 0777) < 0)
		return err_set(err, errno, "change the mode of %s: %s", c->dir, strerror(errno));
	return 0;
}

/* hostPath */

static int setup_host_path(struct volume_call *c, struct err *err)
{
	static const struct {
		const char *type, *noun;
		mode_t format;
	} types[] = {
		{ "Directory", "directory", S_IFDIR },	{ "DirectoryOrCreate", "directory", S_IFDIR },
		{ "File", "file", S_IFREG },		{ "FileOrCreate", "file", S_IFREG },
		{ "Socket", "socket file", S_IFSOCK },	{ "CharDevice", "character device", S_IFCHR },
		{ "BlockDevice", "block device", S_IFBLK },
	};
	const char *path = json_str_or(c->source, "path", ""), *type = json_str_or(c->source, "type", "");
	struct stat st;

	if (*path != '/' || strstr(path, "/../") || str_ends(path, "/.."))
		return err_set(err, EINVAL, "hostPath \"%s\" is not an absolute path without '..'", path);
	if (str_eq(type, "DirectoryOrCreate") && stat(path, &st) < 0) {
		int r = file_mkdir_p(path, 0755);

		if (r < 0)
			return err_set(err, -r, "make directory %s: %s", path, strerror(-r));
	} else if (str_eq(type, "FileOrCreate") && stat(path, &st) < 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0)
			return err_set(err, errno, "create %s: %s", path, strerror(errno));
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq(types[i].type, type) && (stat(path, &st) < 0 || (st.st_mode & S_IFMT) != types[i].format))
			return err_set(err, EINVAL, "hostPath type check failed: %s is not a %s", path, types[i].noun);
	return 0;
}

/* Files with contents */

static json_t *get_source(struct volume_call *c, const char *plural, const char *name, enum source_state *state)
{
	return sources_get(c->agent->sources, plural, object_namespace(c->pod), name, state);
}

static int add_key(struct atomic_files *f, const json_t *object, bool secret, const char *key, const char *path,
		   mode_t mode, struct err *err)
{
	const char *text = json_string_value(json_object_get(json_object_get(object, "data"), key));
	const char *binary = secret ? text : json_string_value(json_object_get(json_object_get(object, "binaryData"), key));
	struct strbuf data = { 0 };

	if (!secret && text)
		strbuf_adds(&data, text);
	else if (!binary || base64_decode(&data, binary, strlen(binary)) < 0) {
		strbuf_done(&data);
		return -ENOENT;
	}
	{
		size_t len = data.len;

		return atomic_files_add(f, path, strbuf_take(&data), len, mode, (uid_t)-1, err);
	}
}

/* A ConfigMap or Secret, whole or by items. */
static int add_object(struct volume_call *c, struct atomic_files *f, const json_t *source, bool secret, const char *name,
		      mode_t default_mode, struct err *err)
{
	const char *plural = secret ? "secrets" : "configmaps", *noun = secret ? "secret" : "configmap";
	bool optional = json_bool(source, "optional", false);
	json_t *items = json_object_get(source, "items"), *item, *v;
	enum source_state state;
	json_t *object = get_source(c, plural, name, &state);
	const char *key;
	size_t i;
	int r;

	if (state == SOURCE_LOADING)
		return err_set(err, EAGAIN, "waiting for %s \"%s\"", noun, name);
	if (!object)
		return optional ? 0 : err_set(err, ENOENT, "%s \"%s\" not found", noun, name);
	if (!json_is_array(items) || json_array_size(items) == 0) {
		json_object_foreach(json_object_get(object, "data"), key, v) {
			r = add_key(f, object, secret, key, key, default_mode, err);
			if (r < 0 && r != -ENOENT)
				return r;
		}
		json_object_foreach(json_object_get(object, "binaryData"), key, v) {
			r = add_key(f, object, secret, key, key, default_mode, err);
			if (r < 0 && r != -ENOENT)
				return r;
		}
		return 0;
	}
	json_array_foreach(items, i, item) {
		key = json_str_or(item, "key", "");
		r = add_key(f, object, secret, key, json_str_or(item, "path", ""),
			    (mode_t)json_int(item, "mode", default_mode) & 0777, err);
		if (r == -ENOENT && !optional)
			return err_set(err, ENOENT, "references non-existent %s key: %s", secret ? "secret" : "config", key);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int add_downward(struct volume_call *c, struct atomic_files *f, const json_t *items, mode_t default_mode,
			struct err *err)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		json_t *ref = json_object_get(item, "resourceFieldRef");
		char *value = ref ? env_resource(c->pod, NULL, ref, c->facts, err) :
				    env_field(c->pod, json_str_or(item, "fieldRef.fieldPath", ""), c->facts, err);
		int r;

		if (!value)
			return -EINVAL;
		r = atomic_files_add(f, json_str_or(item, "path", ""), value, strlen(value),
				     (mode_t)json_int(item, "mode", default_mode) & 0777, (uid_t)-1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The user every container runs as, or -1 when they differ or none is given: the token may be theirs alone then. */
static uid_t common_user(const json_t *pod)
{
	int64_t of_pod = json_int(pod, "spec.securityContext.runAsUser", -1), common = -2;

	for (size_t l = 0; l < SPEC_LISTS; l++) {
		json_t *container;
		size_t i;

		json_array_foreach(json_object_get(json_object_get(pod, "spec"), spec_lists[l]), i, container) {
			int64_t user = json_int(container, "securityContext.runAsUser", of_pod);

			if (user < 0 || (common != -2 && user != common))
				return (uid_t)-1;
			common = user;
		}
	}
	return common < 0 ? (uid_t)-1 : (uid_t)common;
}

static int add_token(struct volume_call *c, struct atomic_files *f, const json_t *source, mode_t default_mode,
		     struct err *err)
{
	const char *token = tokens_get(c->agent->tokens, c->pod, json_str(source, "audience"),
				       json_int(source, "expirationSeconds", 3600), err);
	uid_t user = common_user(c->pod);
	mode_t mode = c->gid != (gid_t)-1 || user != (uid_t)-1 ? 0600 : default_mode;

	if (!token)
		return err ? -err->code : -EIO;
	return atomic_files_add(f, json_str_or(source, "path", "token"), mem_strdup(token), strlen(token), mode,
				c->gid == (gid_t)-1 ? user : (uid_t)-1, err);
}

static int add_projected(struct volume_call *c, struct atomic_files *f, mode_t default_mode, struct err *err)
{
	json_t *source, *s;
	size_t i;

	json_array_foreach(json_object_get(c->source, "sources"), i, source) {
		int r;

		if ((s = json_object_get(source, "configMap")))
			r = add_object(c, f, s, false, json_str_or(s, "name", ""), default_mode, err);
		else if ((s = json_object_get(source, "secret")))
			r = add_object(c, f, s, true, json_str_or(s, "name", ""), default_mode, err);
		else if ((s = json_object_get(source, "downwardAPI")))
			r = add_downward(c, f, json_object_get(s, "items"), default_mode, err);
		else if ((s = json_object_get(source, "serviceAccountToken")))
			r = add_token(c, f, s, default_mode, err);
		else
			r = err_set(err, ENOTSUP, "unsupported source of a projected volume");
		if (r < 0)
			return r;
	}
	return 0;
}

static int finish_files(struct volume_call *c, const struct atomic_files *f, bool secret, struct err *err)
{
	bool fresh = !file_exists(c->dir);
	int r = make_dir(c->dir, err);

	if (r < 0)
		return r;
	if (secret) {
		r = mount_tmpfs(c->dir, 0, "0755", err);
		if (r < 0)
			return r;
	}
	if (fresh && (chmod(c->dir, c->gid != (gid_t)-1 ? 02775 : 0755) < 0 ||
		      (c->gid != (gid_t)-1 && chown(c->dir, (uid_t)-1, c->gid) < 0)))
		return err_set(err, errno, "set owner and mode of %s: %s", c->dir, strerror(errno));
	return atomic_update(c->dir, f, c->gid, NULL, err);
}

static mode_t default_mode_of(struct volume_call *c)
{
	return (mode_t)json_int(c->source, "defaultMode", 0644) & 0777;
}

static int setup_config_map(struct volume_call *c, struct err *err)
{
	_cleanup_atomic_files_ struct atomic_files f = { 0 };
	int r = add_object(c, &f, c->source, false, json_str_or(c->source, "name", ""), default_mode_of(c), err);

	return r < 0 ? r : finish_files(c, &f, false, err);
}

static int setup_secret(struct volume_call *c, struct err *err)
{
	_cleanup_atomic_files_ struct atomic_files f = { 0 };
	int r = add_object(c, &f, c->source, true, json_str_or(c->source, "secretName", ""), default_mode_of(c), err);

	return r < 0 ? r : finish_files(c, &f, true, err);
}

static int setup_downward(struct volume_call *c, struct err *err)
{
	_cleanup_atomic_files_ struct atomic_files f = { 0 };
	int r = add_downward(c, &f, json_object_get(c->source, "items"), default_mode_of(c), err);

	return r < 0 ? r : finish_files(c, &f, false, err);
}

static int setup_projected(struct volume_call *c, struct err *err)
{
	_cleanup_atomic_files_ struct atomic_files f = { 0 };
	int r = add_projected(c, &f, default_mode_of(c), err);

	return r < 0 ? r : finish_files(c, &f, true, err);
}

static const struct volume_kind {
	const char *name;
	int (*setup)(struct volume_call *c, struct err *err);
	bool live;
	bool read_only; /* containers never write there */
} kinds[] = {
	{ "emptyDir", setup_empty_dir, false, false },  { "hostPath", setup_host_path, false, false },
	{ "configMap", setup_config_map, true, true },	{ "secret", setup_secret, true, true },
	{ "downwardAPI", setup_downward, true, true },	{ "projected", setup_projected, true, true },
};

static const struct volume_kind *kind_of(const json_t *volume)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (json_is_object(json_object_get(volume, kinds[i].name)))
			return &kinds[i];
	return NULL;
}

static int setup_one(struct agent *a, const json_t *pod, const json_t *volume, const struct pod_facts *facts,
		     struct err *err)
{
	const char *name = json_str_or(volume, "name", "");
	const struct volume_kind *k = kind_of(volume);
	int64_t gid = json_int(pod, "spec.securityContext.fsGroup", -1);
	_cleanup_free_ char *dir = volume_dir(a, object_uid(pod), name);
	struct volume_call c = {
		.agent = a, .pod = pod, .volume = volume, .facts = facts, .dir = dir, .gid = gid < 0 ? (gid_t)-1 : (gid_t)gid,
	};
	int r;

	if (!*name || strchr(name, '/') || str_starts(name, "."))
		return err_set(err, EINVAL, "\"%s\" cannot be the name of a volume", name);
	if (!k) {
		const char *kind = "";
		const char *key;
		json_t *v;

		json_object_foreach((json_t *)volume, key, v)
			if (!str_eq(key, "name"))
				kind = key;
		return err_set(err, ENOTSUP, "MountVolume.SetUp failed for volume \"%s\" : volumes of the kind %s are not supported",
			       name, kind);
	}
	c.source = json_object_get(volume, k->name);
	r = k->setup(&c, err);
	if (r < 0 && r != -EAGAIN)
		err_wrap(err, "MountVolume.SetUp failed for volume \"%s\" ", name);
	return r;
}

int volumes_setup(struct agent *a, const json_t *pod, const struct pod_facts *facts, struct err *err)
{
	_cleanup_free_ char *dir = volumes_pod_dir(a, object_uid(pod));
	_cleanup_free_ char *volumes = str_printf("%s/volumes", dir);
	json_t *volume;
	size_t i;
	int r = make_dir(volumes, err), pending = 0;

	if (r < 0)
		return r;
	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		r = setup_one(a, pod, volume, facts, err);
		if (r == -EAGAIN)
			pending = r; /* ask for the others' sources meanwhile */
		else if (r < 0)
			return r;
	}
	return pending;
}

bool volumes_are_live(const json_t *pod)
{
	json_t *volume;
	size_t i;

	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		const struct volume_kind *k = kind_of(volume);

		if (k && k->live)
			return true;
	}
	return false;
}

bool volumes_is_read_only(const json_t *pod, const char *name)
{
	json_t *volume;
	size_t i;

	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		const struct volume_kind *k = kind_of(volume);

		if (k && str_eq(json_str(volume, "name"), name))
			return k->read_only;
	}
	return false;
}

/* subPath */

static int open_beneath(int dir_fd, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
}

/* Opens what sub_path names beneath root, making missing directories. */
static int open_sub_path(const char *root, const char *sub_path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_strlist_ struct strlist parts = { 0 };
	_cleanup_strbuf_ struct strbuf path = { 0 };
	struct stat st;

	if (root_fd < 0 || fstat(root_fd, &st) < 0)
		return err_set(err, errno, "open %s: %s", root, strerror(errno));
	*ret_fd = open_beneath(root_fd, sub_path, O_PATH);
	if (*ret_fd >= 0)
		return 0;
	if (errno != ENOENT)
		return err_set(err, errno, "subPath %s of %s: %s", sub_path, root, strerror(errno));
	strlist_split(&parts, sub_path, '/');
	for (size_t i = 0; i < parts.count; i++) {
		_cleanup_close_ int parent = path.len ? open_beneath(root_fd, path.data, O_PATH | O_DIRECTORY) :
							open_beneath(root_fd, ".", O_PATH | O_DIRECTORY);

		if (parent < 0)
			return err_set(err, errno, "subPath %s of %s: %s", sub_path, root, strerror(errno));
		if (mkdirat(parent, parts.items[i], st.st_mode & 07777) == 0)
			(void)fchownat(parent, parts.items[i], st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
		else if (errno != EEXIST)
			return err_set(err, errno, "make directory %s of %s: %s", sub_path, root, strerror(errno));
		if (path.len)
			strbuf_addc(&path, '/');
		strbuf_adds(&path, parts.items[i]);
	}
	*ret_fd = open_beneath(root_fd, sub_path, O_PATH);
	return *ret_fd < 0 ? err_set(err, errno, "subPath %s of %s: %s", sub_path, root, strerror(errno)) : 0;
}

/* Pins what sub_path is now with a bind mount of our own: links changed later do not matter. */
static int bind_sub_path(struct agent *a, const json_t *pod, const char *root, const char *container, size_t index,
			 const char *volume, const char *sub_path, char **ret_path, struct err *err)
{
	_cleanup_free_ char *dir = str_printf("%s/agent/pods/%s/subpaths/%s/%s", a->o.state, object_uid(pod), volume,
					      container);
	_cleanup_free_ char *target = str_printf("%s/%zu", dir, index), *source = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (*sub_path == '/')
		return err_set(err, EINVAL, "subPath \"%s\" is not a relative path", sub_path);
	r = open_sub_path(root, sub_path, &fd, err);
	if (r < 0)
		return r;
	r = make_dir(dir, err);
	if (r < 0)
		return r;
	if (is_mount_root(target) && umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		return err_set(err, errno, "unmount %s: %s", target, strerror(errno));
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "stat subPath %s: %s", sub_path, strerror(errno));
	/* The mount point is of the same kind as what is mounted. */
	if (unlink(target) < 0 && errno == EISDIR)
		(void)rmdir(target);
	if (S_ISDIR(st.st_mode)) {
		r = mkdir(target, 0750) < 0 ? -errno : 0;
	} else {
		int file = open(target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

		r = file < 0 ? -errno : 0;
		if (file >= 0)
			close(file);
	}
	if (r < 0)
		return err_set(err, -r, "make the mount point %s: %s", target, strerror(-r));
	source = str_printf("/proc/self/fd/%d", fd);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_set(err, errno, "mount subPath %s of volume %s: %s", sub_path, volume, strerror(errno));
	*ret_path = TAKE(target);
	return 0;
}

int volumes_mount_source(struct agent *a, const json_t *pod, const char *container, size_t index, const char *volume_name,
			 const char *sub_path, char **ret_path, struct err *err)
{
	json_t *volume;
	size_t i;

	json_array_foreach(json_at(pod, "spec.volumes"), i, volume) {
		const char *host_path = json_str(volume, "hostPath.path");
		_cleanup_free_ char *root = NULL;

		if (!str_eq(json_str(volume, "name"), volume_name))
			continue;
		root = host_path ? mem_strdup(host_path) : volume_dir(a, object_uid(pod), volume_name);
		if (!str_empty(sub_path))
			return bind_sub_path(a, pod, root, container, index, volume_name, sub_path, ret_path, err);
		/* As before there were types: a path that is missing becomes a directory. */
		if (host_path && str_empty(json_str(volume, "hostPath.type")) && !file_exists(host_path))
			(void)file_mkdir_p(host_path, 0755);
		*ret_path = TAKE(root);
		return 0;
	}
	return err_set(err, ENOENT, "cannot find volume \"%s\" to mount into container \"%s\"", volume_name, container);
}

/* Taking away */

static void unescape_mount(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Unmounts everything at or below dir, the last mounted first. */
static int unmount_below(const char *dir, struct err *err)
{
	_cleanup_strlist_ struct strlist mounts = { 0 };
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0, len = strlen(dir);

	if (!f)
		return err_set(err, errno, "open /proc/self/mountinfo: %s", strerror(errno));
	while (getline(&line, &cap, f) > 0) {
		char path[4096 + 1];

		if (sscanf(line, "%*d %*d %*s %*s %4096s", path) != 1)
			continue;
		unescape_mount(path);
		if (strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0'))
			strlist_add(&mounts, path);
	}
	free(line);
	fclose(f);
	for (size_t i = mounts.count; i-- > 0;)
		if (umount2(mounts.items[i], UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT &&
		    umount2(mounts.items[i], UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
			return err_set(err, errno, "unmount %s: %s", mounts.items[i], strerror(errno));
	return 0;
}

int volumes_remove_tree(const char *dir, struct err *err)
{
	_cleanup_free_ char *real = realpath(dir, NULL);
	int r;

	if (!real)
		return errno == ENOENT ? 0 : err_set(err, errno, "resolve %s: %s", dir, strerror(errno));
	r = unmount_below(real, err);
	if (r < 0)
		return r;
	r = file_rm_rf(real);
	return r < 0 ? err_set(err, -r, "remove %s: %s", dir, strerror(-r)) : 0;
}

struct teardown {
	uv_work_t work;
	char *dir;
	struct err err;
	void (*done)(const char *error, void *user);
	void *user;
};

static void teardown_work(uv_work_t *w)
{
	struct teardown *t = w->data;

	(void)volumes_remove_tree(t->dir, &t->err);
}

static void teardown_done(uv_work_t *w, int status)
{
	struct teardown *t = w->data;

	t->done(status < 0 ? "cancelled" : t->err.code ? err_msg(&t->err) : NULL, t->user);
	err_done(&t->err);
	free(t->dir);
	free(t);
}

void volumes_teardown(struct agent *a, const char *uid, void (*done)(const char *error, void *user), void *user)
{
	struct teardown *t = mem_new(struct teardown);

	t->work.data = t;
	t->dir = volumes_pod_dir(a, uid);
	t->done = done;
	t->user = user;
	BUG_ON(uv_queue_work(&a->loop, &t->work, teardown_work, teardown_done) < 0);
}
