/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemons' command lines and certificates; what the cluster remembers, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cluster.h"
#include "cli/daemons.h"
#include "cli/pki.h"

static char dir[64];

static int setup(void **state _unused_)
{
	snprintf(dir, sizeof(dir), "/tmp/keelson-daemons-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state _unused_)
{
	return file_rm_rf(dir);
}

static struct cluster example(void)
{
	struct cluster c = { .state = mem_strdup(dir), .bin_dir = mem_strdup("/opt/keelson"), .netns = mem_strdup("Lab_1"),
			     .node_ip = mem_strdup("127.0.0.1"), .cgroup2 = mem_strdup("/sys/fs/cgroup") };

	return c;
}

static void completes_and_remembers(void **state _unused_)
{
	_cleanup_(cluster_done) struct cluster c = example(), back = { 0 };
	_cleanup_err_ struct err err = { 0 };

	assert_int_equal(cluster_complete(&c, &err), 0);
	assert_string_equal(c.id, "Lab_1");
	assert_string_equal(c.node_name, "lab-1");
	assert_string_equal(c.cluster_dns, "10.96.0.10");
	json_object_set_new(c.sysctls, "net.ipv4.ip_forward", json_string("0"));
	c.netns_created = true;
	assert_int_equal(cluster_save(&c, &err), 0);
	assert_int_equal(cluster_load(dir, &back, &err), 0);
	assert_string_equal(back.netns, "Lab_1");
	assert_string_equal(back.node_name, "lab-1");
	assert_string_equal(back.service_cidr, "10.96.0.0/12");
	assert_null(back.runtime_endpoint);
	assert_true(back.netns_created);
	assert_false(back.lo_address[0]);
	assert_string_equal(json_string_value(json_object_get(back.sysctls, "net.ipv4.ip_forward")), "0");
}

static void refuses_what_is_no_cluster(void **state _unused_)
{
	static const char *const texts[] = { "", "[]", "{}", "{\"id\":5}", "{\"id\":\"x\"" };
	_cleanup_free_ char *path = str_printf("%s/cluster.json", dir);
	struct cluster c = { 0 };

	unlink(path);
	assert_int_equal(cluster_load(dir, &c, NULL), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_err_ struct err err = { 0 };

		assert_int_equal(file_write_atomic(path, texts[i], strlen(texts[i]), 0600), 0);
		assert_true(cluster_load(dir, &c, &err) < 0);
		assert_non_null(strstr(err_msg(&err), "cluster.json"));
		assert_null(c.state);
	}
}

static void refuses_bad_names_and_ranges(void **state _unused_)
{
	static const char *const names[] = { "Upper", "under_score", "-x", "x-", "a b", "" };
	_cleanup_err_ struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(cluster_done) struct cluster c = example();

		c.node_name = mem_strdup(names[i]);
		assert_int_equal(cluster_complete(&c, &err), -EINVAL);
		assert_non_null(strstr(err_msg(&err), "is not a node name"));
	}
	_cleanup_(cluster_done) struct cluster c = example();

	c.service_cidr = mem_strdup("10.96.0.0/30");
	assert_int_equal(cluster_complete(&c, &err), -EINVAL);
}

static bool has_option(const struct strlist *argv, const char *flag, const char *value)
{
	for (size_t i = 0; i + 1 < argv->count; i++)
		if (str_eq(argv->items[i], flag) && str_eq(argv->items[i + 1], value))
			return true;
	return false;
}

static void command_lines(void **state _unused_)
{
	_cleanup_(cluster_done) struct cluster c = example();

	assert_int_equal(cluster_complete(&c, NULL), 0);
	for (int i = 0; i < DAEMON_MAX; i++) {
		_cleanup_strlist_ struct strlist argv = { 0 };

		daemon_argv(&c, (enum daemon_id)i, false, &argv);
		assert_true(argv.count >= 3);
		assert_false(strlist_has(&argv, "--cleanup"));
	}
	_cleanup_strlist_ struct strlist proxy = { 0 }, host = { 0 };

	daemon_argv(&c, DAEMON_PROXY, true, &proxy);
	assert_true(strlist_has(&proxy, "--cleanup"));
	assert_true(has_option(&proxy, "--cgroup", "/sys/fs/cgroup/keelson-Lab_1"));
	free(TAKE(c.netns));
	daemon_argv(&c, DAEMON_PROXY, false, &host);
	assert_true(has_option(&host, "--cgroup", "/sys/fs/cgroup"));
	/* With somebody else's runtime there is no containerd to run. */
	assert_true(daemon_wanted(&c, DAEMON_CONTAINERD));
	c.runtime_endpoint = mem_strdup("unix:///run/x.sock");
	assert_false(daemon_wanted(&c, DAEMON_CONTAINERD));
	_cleanup_free_ char *sock = containerd_socket(&c);

	assert_string_equal(sock, "/run/x.sock");
}

static void stores(void **state _unused_)
{
	_cleanup_(cluster_done) struct cluster c = example();

	assert_int_equal(cluster_complete(&c, NULL), 0);
	_cleanup_strlist_ struct strlist embedded = { 0 }, own = { 0 }, theirs = { 0 }, etcd = { 0 };

	daemon_argv(&c, DAEMON_APISERVER, false, &embedded);
	assert_true(strlist_has(&embedded, "--data-dir"));
	assert_false(strlist_has(&embedded, "--etcd-servers"));
	assert_false(strlist_has(&embedded, "--encryption-provider-config"));
	assert_false(daemon_wanted(&c, DAEMON_ETCD));

	free(c.store);
	c.store = mem_strdup("etcd");
	assert_true(daemon_wanted(&c, DAEMON_ETCD));
	daemon_argv(&c, DAEMON_ETCD, false, &etcd);
	assert_string_equal(etcd.items[0], "etcd");
	assert_true(strlist_has(&etcd, "--client-cert-auth"));
	c.encrypts = true;
	daemon_argv(&c, DAEMON_APISERVER, false, &own);
	_cleanup_free_ char *keys = cluster_path(&c, "pki/encryption.yaml");

	assert_true(has_option(&own, "--encryption-provider-config", keys));
	assert_true(has_option(&own, "--encryption-provider-config-automatic-reload", "true"));
	assert_true(has_option(&own, "--etcd-servers", "https://127.0.0.1:2379"));
	assert_false(strlist_has(&own, "--data-dir"));

	c.etcd_servers = mem_strdup("https://192.0.2.1:2379,https://192.0.2.2:2379");
	c.etcd_cafile = mem_strdup("/etc/their-ca.crt");
	assert_false(daemon_wanted(&c, DAEMON_ETCD));
	daemon_argv(&c, DAEMON_APISERVER, false, &theirs);
	assert_true(has_option(&theirs, "--etcd-servers", c.etcd_servers));
	assert_true(has_option(&theirs, "--etcd-cafile", "/etc/their-ca.crt"));
	assert_false(strlist_has(&theirs, "--etcd-certfile"));

	/* One that has joined keeps no store. */
	free(TAKE(c.etcd_servers));
	c.server = mem_strdup("https://192.0.2.1:6443");
	assert_false(daemon_wanted(&c, DAEMON_ETCD));
}

static void certificates_are_kept(void **state _unused_)
{
	_cleanup_(cluster_done) struct cluster c = example();
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *pki = str_printf("%s/pki", dir), *ca = str_printf("%s/pki/ca.crt", dir);
	_cleanup_free_ char *server = str_printf("%s/pki/apiserver.crt", dir), *admin = str_printf("%s/admin.kubeconfig", dir);
	_cleanup_strbuf_ struct strbuf ca1 = { 0 }, ca2 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 }, config = { 0 };

	assert_int_equal(cluster_complete(&c, NULL), 0);
	assert_int_equal(file_mkdir_p(pki, 0700), 0);
	assert_int_equal(pki_prepare(&c, &err), 1);
	assert_int_equal(file_read(ca, 1 << 20, &ca1) | file_read(server, 1 << 20, &s1), 0);
	assert_int_equal(pki_prepare(&c, &err), 0);
	assert_int_equal(file_read(ca, 1 << 20, &ca2) | file_read(server, 1 << 20, &s2), 0);
	assert_string_equal(ca1.data, ca2.data);
	assert_string_equal(s1.data, s2.data);
	assert_int_equal(file_read(admin, 1 << 20, &config), 0);
	assert_non_null(strstr(config.data, "server: https://127.0.0.1:6443"));
	/* A node with a new address needs a server certificate that names it. */
	free(c.node_ip);
	c.node_ip = mem_strdup("127.0.0.2");
	assert_int_equal(pki_prepare(&c, &err), 1);
	assert_int_equal(file_read(server, 1 << 20, &s3), 0);
	assert_string_not_equal(s1.data, s3.data);
	/* etcd's certificates are not of the CA that the cluster's users have theirs of. */
	_cleanup_free_ char *etcd = str_printf("%s/pki/etcd.crt", dir), *etcd_ca = str_printf("%s/pki/etcd-ca.crt", dir);
	_cleanup_free_ char *client = str_printf("%s/pki/apiserver-etcd-client.crt", dir);
	static const char *const loopback[] = { "127.0.0.1", NULL };

	assert_false(file_exists(etcd));
	free(c.store);
	c.store = mem_strdup("etcd");
	assert_int_equal(pki_prepare(&c, &err), 1);
	assert_true(pki_cert_good(etcd, loopback, etcd_ca));
	assert_true(pki_cert_good(client, NULL, etcd_ca));
	assert_false(pki_cert_good(client, NULL, ca));
	assert_int_equal(pki_prepare(&c, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(completes_and_remembers), cmocka_unit_test(refuses_what_is_no_cluster),
		cmocka_unit_test(refuses_bad_names_and_ranges), cmocka_unit_test(command_lines), cmocka_unit_test(stores),
		cmocka_unit_test(certificates_are_kept),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
