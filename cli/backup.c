/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson backup: what a cluster needs to come back, in one file: its store at one revision, the keys it signs and encrypts by, and
 * cluster.json. Certificates are not in it: they are made anew. The API server may run, and be written to, meanwhile.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/archive.h"
#include "cli/command.h"
#include "cli/secrets.h"
#include "cli/store_copy.h"
#include "kube/encryption.h"

enum { SMALL_MAX_BYTES = 1 << 20 };

/* Members that are small files of the state directory. */
static bool is_small(const char *name)
{
	return !str_ends(name, ".db");
}

static int copy_small(const struct cluster *c, const char *dir, const char *name, struct err *err)
{
	_cleanup_free_ char *from = cluster_path(c, name), *to = str_printf("%s/%s", dir, name);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	int r = file_read(from, SMALL_MAX_BYTES, &text);

	if (r == -ENOENT && str_eq(name, "pki/encryption.yaml") && !c->encrypts)
		return 0;
	if (r < 0)
		return err_set(err, -r, "cannot read %s: %s", from, strerror(-r));
	r = file_write_atomic(to, text.data ? text.data : "", text.len, 0600);
	return r < 0 ? err_set(err, -r, "cannot write %s: %s", to, strerror(-r)) : 0;
}

/* The prefixes of the keys there are. */
static int read_prefixes(const struct cluster *c, struct strlist *out, struct err *err)
{
	_cleanup_free_ char *path = secrets_file(c);
	_cleanup_(encryption_config_freep) struct encryption_config *config = NULL;

	if (!c->encrypts)
		return 0;
	config = encryption_config_load(path, err);
	if (!config)
		return -EINVAL;
	for (size_t i = 0; i < config->count; i++)
		for (size_t j = 0; j < config->rules[i].count; j++)
			strlist_take(out, encryption_key_prefix(&config->rules[i].keys[j]));
	return 0;
}

static int copy_store(const struct cluster *c, const char *dir, uint64_t *ret_revision, struct err *err)
{
	_cleanup_strlist_ struct strlist prefixes = { 0 };
	bool etcd = cluster_runs_etcd(c);
	_cleanup_free_ char *from = cluster_path(c, "store/objects.db");
	_cleanup_free_ char *to = str_printf("%s/%s", dir, etcd ? "etcd/snapshot.db" : "store/objects.db");
	_cleanup_free_ char *parent = str_printf("%s/%s", dir, etcd ? "etcd" : "store");
	int r = file_mkdir_p(parent, 0700);

	if (r < 0)
		return err_set(err, -r, "cannot make %s: %s", parent, strerror(-r));
	if (etcd) {
		r = cluster_enter_netns(c, err);
		return r < 0 ? r : store_copy_etcd(c, to, ret_revision, err);
	}
	r = read_prefixes(c, &prefixes, err);
	return r < 0 ? r : store_copy_embedded(from, to, &prefixes, ret_revision, err);
}

static json_t *manifest_of(const struct cluster *c, uint64_t revision)
{
	char now[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(clock_wall_s(), now);
	return json_pack("{s:s,s:s,s:s,s:s,s:I}", "keelson", KEELSON_VERSION, "made", now, "node", c->node_name, "store", c->store,
			 "revision", (json_int_t)revision);
}

static int gather(const struct cluster *c, const char *dir, uint64_t *ret_revision, struct err *err)
{
	_cleanup_free_ char *pki = str_printf("%s/pki", dir);
	int r = file_rm_rf(dir);

	if (r == 0)
		r = file_mkdir_p(pki, 0700);
	if (r < 0)
		return err_set(err, -r, "cannot make %s: %s", pki, strerror(-r));
	r = copy_store(c, dir, ret_revision, err);
	for (size_t i = 0; r == 0 && archive_names[i]; i++)
		if (is_small(archive_names[i]))
			r = copy_small(c, dir, archive_names[i], err);
	return r;
}

static int backup(const struct cluster *c, const char *file, struct err *err)
{
	_cleanup_free_ char *dir = cluster_path(c, "backup.tmp");
	uint64_t revision = 0;

	if (c->server)
		return err_set(err, EINVAL, "this node has joined the cluster of %s; the store is there", c->server);
	if (c->etcd_servers)
		return err_set(err, EINVAL, "the store is in an etcd that keelson does not run (%s): save it there (etcdctl snapshot save), with "
			       "%s/pki and %s/cluster.json", c->etcd_servers, c->state, c->state);
	int r = gather(c, dir, &revision, err);

	if (r == 0) {
		_cleanup_json_ json_t *manifest = manifest_of(c, revision);

		r = archive_write(file, dir, manifest, err);
	}
	(void)file_rm_rf(dir);
	if (r == 0)
		printf("%s: revision %llu\n", file, (unsigned long long)revision);
	return r;
}

int command_backup(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' }, { 0 } };
	_cleanup_(cluster_done) struct cluster c = { 0 };
	_cleanup_free_ char *state = mem_strdup(CLUSTER_DEFAULT_STATE);
	_cleanup_err_ struct err err = { 0 };
	_cleanup_close_ int lock = -1;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o != 's')
			return command_usage("backup", "wrong option");
		free(state);
		state = command_absolute(optarg);
	}
	if (optind + 1 != argc)
		return command_usage("backup", "name the file that is to be made");
	_cleanup_free_ char *file = command_absolute(argv[optind]);
	int r = command_load_state(state, &c);

	if (r >= 0)
		return r;
	umask(0077);
	/* Neither keys nor the cluster change while they are copied. */
	if (command_lock(c.state, &lock, &err) < 0 || backup(&c, file, &err) < 0)
		return command_fail(&err);
	return 0;
}
