/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroups by the file system. The hierarchies are read once from mountinfo; every function works on all of them, so that
 * the callers need not know which layout the machine has.
 */
#include "agent/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { MAX_HIERARCHIES = 24, CFS_PERIOD_US = 100000 };

static struct hierarchy {
	char *mount;
	char *controllers; /* of v1: "cpu,cpuacct", "name=systemd"; NULL: cgroup2 */
} hierarchies[MAX_HIERARCHIES];
static size_t hierarchy_count;

static void forget(void)
{
	while (hierarchy_count > 0) {
		free(hierarchies[--hierarchy_count].mount);
		free(hierarchies[hierarchy_count].controllers);
	}
}

static void add_line(char *line)
{
	char *separator = strstr(line, " - "), type[32], options[512], mount[512];

	if (!separator || hierarchy_count == MAX_HIERARCHIES)
		return;
	*separator = '\0';
	if (sscanf(separator + 3, "%31s %*s %511s", type, options) != 2 ||
	    sscanf(line, "%*d %*d %*s %*s %511s", mount) != 1)
		return;
	if (str_eq(type, "cgroup2")) {
		hierarchies[hierarchy_count++] = (struct hierarchy){ mem_strdup(mount), NULL };
	} else if (str_eq(type, "cgroup")) {
		const char *controllers = str_after(options, "rw,");

		hierarchies[hierarchy_count++] =
			(struct hierarchy){ mem_strdup(mount), mem_strdup(controllers ? controllers : options) };
	}
}

void cgroup_use_mountinfo(const char *text)
{
	_cleanup_strlist_ struct strlist lines = { 0 };

	forget();
	strlist_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.count; i++)
		add_line(lines.items[i]);
}

static void discover(void)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };

	if (hierarchy_count == 0 && file_read("/proc/self/mountinfo", 4 << 20, &text) == 0)
		cgroup_use_mountinfo(text.data ? text.data : "");
}

static bool has_controller(const struct hierarchy *h, const char *name)
{
	_cleanup_strlist_ struct strlist l = { 0 };

	if (!h->controllers)
		return false;
	strlist_split(&l, h->controllers, ',');
	return strlist_has(&l, name);
}

char *cgroup_pod_path(const char *cgroup_root, enum qos q, const char *uid)
{
	return str_printf("%s/kubepods/%s/pod%s", cgroup_root, qos_cgroup(q), uid);
}

static int write_value(const char *dir, const char *file, int64_t value)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, file);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || dprintf(fd, "%lld", (long long)value) < 0 ? -errno : 0;
}

static int write_text(const char *dir, const char *file, const char *value)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, file);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* A cpuset of v1 starts empty and then takes no process: each new level inherits its parent's. */
static void inherit_cpuset(const char *parent, const char *dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *from = str_printf("%s/%s", parent, files[i]);
		_cleanup_free_ char *to = str_printf("%s/%s", dir, files[i]);
		_cleanup_strbuf_ struct strbuf have = { 0 }, value = { 0 };

		if (file_read(to, 4096, &have) == 0 && have.len > 1)
			continue;
		if (file_read(from, 4096, &value) == 0 && value.len > 1)
			(void)write_text(dir, files[i], value.data);
	}
}

/* cgroup2: children get the controllers that their parent hands down. What it does not have is left out. */
static void enable_controllers(const char *dir)
{
	static const char *const wanted[] = { "+cpu", "+memory", "+pids" };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		(void)write_text(dir, "cgroup.subtree_control", wanted[i]);
}

static int make_path(const struct hierarchy *h, const char *path, struct err *err)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	_cleanup_free_ char *at = mem_strdup(h->mount);

	strlist_split(&parts, path, '/');
	for (size_t i = 0; i < parts.count; i++) {
		char *next = str_printf("%s/%s", at, parts.items[i]);

		if (!h->controllers)
			enable_controllers(at);
		if (mkdir(next, 0755) < 0 && errno != EEXIST) {
			int r = err_set(err, errno, "make the cgroup %s: %s", next, strerror(errno));

			free(next);
			return r;
		}
		if (has_controller(h, "cpuset"))
			inherit_cpuset(at, next);
		free(at);
		at = next;
	}
	return 0;
}

static int set_limits(const struct hierarchy *h, const char *dir, const struct resources_pod *l)
{
	char max[64];
	int r = 0;

	if (!h->controllers) {
		_cleanup_free_ char *probe = str_printf("%s/cpu.weight", dir);

		if (!file_exists(probe))
			return 0; /* the v2 half of a hybrid layout has no such controllers */
		snprintf(max, sizeof(max), "%lld %d", (long long)l->cpu_quota_us, CFS_PERIOD_US);
		r = write_value(dir, "cpu.weight", resources_cpu_weight(l->cpu_shares));
		if (r == 0 && l->cpu_quota_us > 0)
			r = write_text(dir, "cpu.max", max);
		if (r == 0 && l->memory_bytes > 0)
			r = write_value(dir, "memory.max", l->memory_bytes);
		return r;
	}
	if (has_controller(h, "cpu")) {
		r = write_value(dir, "cpu.shares", l->cpu_shares);
		if (r == 0 && l->cpu_quota_us > 0)
			r = write_value(dir, "cpu.cfs_quota_us", l->cpu_quota_us);
		if (r == -ENOENT)
			r = 0; /* a kernel without bandwidth control: shares still count */
	}
	if (r == 0 && has_controller(h, "memory") && l->memory_bytes > 0)
		r = write_value(dir, "memory.limit_in_bytes", l->memory_bytes);
	return r;
}

int cgroup_create(const char *path, const struct resources_pod *limits, struct err *err)
{
	discover();
	if (hierarchy_count == 0)
		return err_set(err, ENOENT, "no cgroup file system is mounted");
	for (size_t i = 0; i < hierarchy_count; i++) {
		_cleanup_free_ char *dir = str_printf("%s%s", hierarchies[i].mount, path);
		int r = make_path(&hierarchies[i], path, err);

		if (r == 0) {
			r = set_limits(&hierarchies[i], dir, limits);
			if (r < 0)
				err_set(err, -r, "set the limits of the cgroup %s: %s", dir, strerror(-r));
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int remove_below(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		_cleanup_free_ char *path = NULL;

		if (e->d_type != DT_DIR || str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		path = str_printf("%s/%s", dir, e->d_name);
		r = remove_below(path);
		if (r < 0)
			break;
	}
	closedir(d);
	return r < 0 ? r : rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_remove(const char *path, struct err *err)
{
	int r = 0;

	discover();
	for (size_t i = 0; i < hierarchy_count; i++) {
		_cleanup_free_ char *dir = str_printf("%s%s", hierarchies[i].mount, path);
		int one = remove_below(dir);

		if (one < 0)
			r = err_set(err, -one, "remove the cgroup %s: %s", dir, strerror(-one));
	}
	return r;
}

void cgroup_list_pods(const char *cgroup_root, struct strlist *out)
{
	discover();
	for (size_t i = 0; i < hierarchy_count; i++)
		for (int q = 0; q < QOS_MAX; q++) {
			_cleanup_free_ char *dir =
				str_printf("%s%s/kubepods/%s", hierarchies[i].mount, cgroup_root, qos_cgroup(q));
			DIR *d = opendir(dir);
			struct dirent *e;

			while (d && (e = readdir(d))) {
				_cleanup_free_ char *entry = str_printf("%s/%s", qos_cgroup(q), e->d_name);

				if (str_starts(e->d_name, "pod") && !strlist_has(out, entry))
					strlist_add(out, entry);
			}
			if (d)
				closedir(d);
		}
}

static int read_number(const char *dir, const char *file, uint64_t *ret)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, file);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	int r = file_read(path, 4096, &text);

	if (r < 0)
		return r;
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	return str_to_u64(text.data ? text.data : "", UINT64_MAX, ret);
}

/* The number behind "key " in a file of such lines. */
static uint64_t read_key(const char *dir, const char *file, const char *key)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, file);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };

	if (file_read(path, 64 << 10, &text) < 0 || !text.data)
		return 0;
	strlist_split(&lines, text.data, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		const char *value = str_after(lines.items[i], key);
		uint64_t n;

		if (value && *value == ' ' && str_to_u64(value + 1, UINT64_MAX, &n) == 0)
			return n;
	}
	return 0;
}

int cgroup_usage(const char *path, struct cgroup_usage *ret)
{
	struct cgroup_usage u = { 0 };
	bool found = false;

	discover();
	for (size_t i = 0; i < hierarchy_count; i++) {
		const struct hierarchy *h = &hierarchies[i];
		_cleanup_free_ char *dir = str_printf("%s%s", h->mount, path);
		uint64_t inactive = 0;

		if (!h->controllers) {
			if (read_number(dir, "memory.current", &u.memory_bytes) < 0)
				continue;
			u.cpu_ns = read_key(dir, "cpu.stat", "usage_usec") * 1000;
			inactive = read_key(dir, "memory.stat", "inactive_file");
			found = true;
		} else if (has_controller(h, "memory")) {
			if (read_number(dir, "memory.usage_in_bytes", &u.memory_bytes) < 0)
				continue;
			inactive = read_key(dir, "memory.stat", "total_inactive_file");
			found = true;
		} else {
			if (has_controller(h, "cpuacct"))
				(void)read_number(dir, "cpuacct.usage", &u.cpu_ns);
			continue;
		}
		u.working_set_bytes = u.memory_bytes > inactive ? u.memory_bytes - inactive : 0;
	}
	if (!found)
		return -ENOENT;
	*ret = u;
	return 0;
}
