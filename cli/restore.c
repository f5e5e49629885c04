/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson restore: makes a state directory from a backup; `keelson up` goes on from there. What always holds: nothing of the directory
 * is touched before the whole backup was found good, and cluster.json, by which the directory becomes a cluster, is put there last.
 * Certificates are made anew by `up`, so that the node may have another name and address.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/archive.h"
#include "cli/command.h"
#include "cli/lab.h"
#include "cli/store_copy.h"

#define STAGING "restore.tmp"

struct restore {
	const char *file;
	struct cluster asked; /* state, and what is to be another than in the backup */
	bool replace;
	uint64_t revision;
};

/* The parts of a state directory that a backup stands for, cluster.json first: without it there is no cluster. */
static const char *const parts[] = { "cluster.json", "admin.kubeconfig", "store", "etcd", "pki" };

/* The running cluster, or an API server started by hand. The locks are kept until the end. */
static int check_idle(const char *state, int *ret_lock, int *ret_store_lock, struct err *err)
{
	_cleanup_free_ char *lock = str_printf("%s/lock", state), *store = str_printf("%s/store/lock", state);
	int r = file_lock(lock, false, ret_lock);

	if (r == 0 && file_exists(store))
		r = file_lock(store, false, ret_store_lock);
	if (r == -EWOULDBLOCK)
		return err_set(err, EBUSY, "a cluster runs in %s; stop it first: keelson down", state);
	return r < 0 ? err_set(err, -r, "cannot lock %s: %s", state, strerror(-r)) : 0;
}

static int check_empty(const struct restore *o, struct err *err)
{
	const char *state = o->asked.state;
	_cleanup_(cluster_done) struct cluster there = { 0 };
	DIR *d = opendir(state);
	bool empty = true;

	if (!d)
		return err_set(err, errno, "cannot read %s: %s", state, strerror(errno));
	for (const struct dirent *e; (e = readdir(d));)
		empty &= str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || str_eq(e->d_name, "lock") || str_eq(e->d_name, STAGING);
	closedir(d);
	if (!empty && !o->replace)
		return err_set(err, ENOTEMPTY, "%s is not empty; name another --state, or give --replace to put what is there aside", state);
	if (cluster_load(state, &there, NULL) == 0 && there.server)
		return err_set(err, EINVAL, "%s is a node of the cluster of %s; take it away first: keelson down --purge", state, there.server);
	return 0;
}

static void set_text(char **p, const char *value)
{
	if (!value)
		return;
	free(*p);
	*p = mem_strdup(value);
}

/* What the former machine had, and this one has to find for itself. */
static void forget_machine(struct cluster *c)
{
	free(TAKE(c->cgroup2));
	json_decref(TAKE(c->sysctls));
	c->netns_created = c->complete = false;
}

static bool is_name(const char *s)
{
	return !s || (*s && *s != '.' && strlen(s) <= 64 && !strpbrk(s, "/ "));
}

/* What `up` checks as options, and paths and the kernel's names are made of. The rest is looked at by cluster_defaults() and `up`. */
static int check_description(const struct restore *o, const struct cluster *c, struct err *err)
{
	struct ip_addr a;
	bool good = is_name(c->netns) && is_name(c->lab) && str_eq(c->id, c->netns ? c->netns : "node") && ip_parse(c->node_ip, &a) == 0 &&
		    (!c->node_ip2 || ip_parse(c->node_ip2, &a) == 0) && (!c->cluster_dns || ip_parse(c->cluster_dns, &a) == 0) &&
		    (!c->runtime_endpoint || str_starts(c->runtime_endpoint, "unix:///")) &&
		    (!c->lab || (c->lab_nodes >= 1 && c->lab_nodes <= LAB_MAX_NODES && c->lab_segments <= LAB_MAX_NODES)) &&
		    (!c->cluster_domain || !c->cluster_domain[strspn(c->cluster_domain, "abcdefghijklmnopqrstuvwxyz0123456789-.")]);

	if (!good)
		return err_set(err, EBADMSG, "the cluster.json of %s is none that keelson up has written", o->file);
	return c->server ? err_set(err, EBADMSG, "%s is of a node without a control plane", o->file) : 0;
}

static int adapt(const struct restore *o, struct cluster *c, struct err *err)
{
	const struct cluster *a = &o->asked;
	int r = check_description(o, c, err);

	if (r < 0)
		return r;
	if (c->lab && (a->netns || a->node_name || a->node_ip))
		return err_set(err, EINVAL, "%s is of a lab, whose nodes have names and addresses of its own: no --netns, --node-name, --node-ip",
			       o->file);
	forget_machine(c);
	if (a->netns) {
		set_text(&c->netns, a->netns);
		set_text(&c->id, a->netns);
	}
	set_text(&c->node_name, a->node_name);
	if (a->node_ip) {
		set_text(&c->node_ip, a->node_ip);
		free(TAKE(c->node_ip2));
		c->node_ip2 = mem_strdup(a->node_ip2);
		c->lo_address[0] = c->lo_address[1] = false;
	}
	/* A namespace may not be there yet. */
	if (!c->netns && !cluster_is_local(c->node_ip))
		return err_set(err, EADDRNOTAVAIL, "the node had the address %s, which this machine has not; give --node-ip", c->node_ip);
	return cluster_defaults(c, err);
}

static int stage_store(const struct restore *o, const struct cluster *c, const char *staging, struct err *err)
{
	_cleanup_free_ char *db = str_printf("%s/store/objects.db", staging), *snapshot = str_printf("%s/etcd/snapshot.db", staging);
	_cleanup_free_ char *aside = str_printf("%s/snapshot.db", staging), *etcd = str_printf("%s/etcd", staging);
	bool has_db = file_exists(db), wants_etcd = cluster_runs_etcd(c);

	if (has_db == wants_etcd || file_exists(snapshot) != wants_etcd)
		return err_set(err, EBADMSG, "%s has not the store that its cluster.json names", o->file);
	if (!wants_etcd)
		return store_bump_embedded(db, o->revision, err);
	if (rename(snapshot, aside) < 0 || rmdir(etcd) < 0)
		return err_set(err, errno, "cannot move %s: %s", snapshot, strerror(errno));
	int r = store_restore_etcd(aside, etcd, err);

	if (r == 0 && unlink(aside) < 0)
		r = err_set(err, errno, "cannot remove %s: %s", aside, strerror(errno));
	return r;
}

/* Everything in its final form below the staging directory. */
static int stage(struct restore *o, const char *staging, struct cluster *ret, struct err *err)
{
	_cleanup_json_ json_t *manifest = NULL;
	int r = file_rm_rf(staging);

	if (r == 0)
		r = file_mkdir_p(staging, 0700);
	if (r < 0)
		return err_set(err, -r, "cannot make %s: %s", staging, strerror(-r));
	r = archive_read(o->file, staging, &manifest, err);
	if (r == 0)
		r = cluster_load(staging, ret, err);
	if (r < 0)
		return r;
	o->revision = (uint64_t)json_int(manifest, "revision", 0);
	r = adapt(o, ret, err);
	if (r == 0)
		r = stage_store(o, ret, staging, err);
	return r < 0 ? r : cluster_save(ret, err);
}

static int move(const char *from_dir, const char *to_dir, const char *name, struct err *err)
{
	_cleanup_free_ char *from = str_printf("%s/%s", from_dir, name), *to = str_printf("%s/%s", to_dir, name);

	if (rename(from, to) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, errno, "cannot move %s to %s: %s", from, to, strerror(errno));
}

static int sync_dir(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? err_set(err, errno, "cannot sync %s: %s", path, strerror(errno)) : 0;
}

/* What is there goes to DIR/replaced-TIME, from where it can be moved back. */
static int put_aside(const char *state, struct err *err)
{
	char now[CLOCK_RFC3339_SIZE];
	int r = 0;

	clock_format_rfc3339(clock_wall_s(), now);
	_cleanup_free_ char *aside = str_printf("%s/replaced-%s", state, now);

	if (mkdir(aside, 0700) < 0)
		return err_set(err, errno, "cannot make %s: %s", aside, strerror(errno));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = move(state, aside, parts[i], err);
	if (r == 0 && rmdir(aside) < 0)
		printf("what was there is in %s\n", aside);
	return r < 0 ? r : sync_dir(state, err);
}

/* cluster.json last, when the rest is on disk. */
static int put_in_place(const char *staging, const char *state, struct err *err)
{
	int r = 0;

	for (size_t i = ARRAY_SIZE(parts); r == 0 && i-- > 1;)
		r = move(staging, state, parts[i], err);
	if (r == 0)
		r = sync_dir(state, err);
	if (r == 0)
		r = move(staging, state, parts[0], err);
	return r < 0 ? r : sync_dir(state, err);
}

static int restore(struct restore *o, struct err *err)
{
	const char *state = o->asked.state;
	_cleanup_free_ char *staging = str_printf("%s/" STAGING, state);
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_close_ int lock = -1, store_lock = -1;
	int r = check_idle(state, &lock, &store_lock, err);

	if (r == 0)
		r = check_empty(o, err);
	if (r < 0)
		return r;
	r = stage(o, staging, &c, err);
	if (r == 0 && o->replace)
		r = put_aside(state, err);
	if (r == 0)
		r = put_in_place(staging, state, err);
	(void)file_rm_rf(staging);
	if (r < 0)
		return r;
	if (cluster_runs_etcd(&c))
		printf("restored at revision %llu; clients that have seen later ones must be started again\n", (unsigned long long)o->revision);
	else
		printf("restored from revision %llu; it goes on at %llu\n", (unsigned long long)o->revision,
		       (unsigned long long)(o->revision + STORE_REVISION_BUMP));
	printf("start it: keelson up --state %s\n", state);
	return 0;
}

int command_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },     { "netns", required_argument, NULL, 'n' },
		{ "node-name", required_argument, NULL, 'N' }, { "node-ip", required_argument, NULL, 'i' },
		{ "replace", no_argument, NULL, 'R' },         { 0 },
	};
	struct restore o = { .asked.state = mem_strdup(CLUSTER_DEFAULT_STATE) };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;
	int r = 0;

	for (int opt; r == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (opt == 'R')
			o.replace = true;
		else if (opt == '?')
			r = command_usage("restore", "wrong option");
		else
			r = command_node_option("restore", opt, optarg, &o.asked);
	}
	if (r == 0 && optind + 1 != argc)
		r = command_usage("restore", "name the file of the backup");
	if (r == 0) {
		o.file = argv[optind];
		umask(0077);
		if (command_take_state(&o.asked, &lock, &err) < 0 || restore(&o, &err) < 0)
			r = command_fail(&err);
	}
	cluster_done(&o.asked);
	return r;
}
