/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS configurations by policy, image references and credentials, cgroup layouts, removal of a pod's tree. */
#include "agent/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/cgroup.h"
#include "agent/handler.h"
#include "agent/image.h"
#include "agent/volume/volumes.h"
#include "base/file.h"

static json_t *parse(const char *s)
{
	json_t *v = json_parse(s, strlen(s), NULL, NULL);

	assert_non_null(v);
	return v;
}

static char *join(const struct strlist *l)
{
	struct strbuf b = { 0 };

	for (size_t i = 0; i < l->count; i++)
		strbuf_addf(&b, "%s%s", i ? " " : "", l->items[i]);
	return strbuf_take(&b);
}

#define RESOLV "# c\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch corp.example\toffice.example\noptions timeout:2 rotate\n"
#define POD(spec) "{\"metadata\":{\"namespace\":\"ns\"},\"spec\":{" spec "}}"
#define CLUSTER "ns.svc.c.l svc.c.l c.l corp.example office.example"

static void test_dns(void **state)
{
	static const struct {
		const char *pod, *servers, *searches, *options;
	} rows[] = {
		{ POD("\"dnsPolicy\":\"ClusterFirst\""), "10.0.0.10", CLUSTER, "ndots:5" },
		{ POD("\"x\":1"), "10.0.0.10", CLUSTER, "ndots:5" },
		{ POD("\"dnsPolicy\":\"ClusterFirst\",\"hostNetwork\":true"), "192.0.2.53 192.0.2.54", "corp.example office.example",
		  "timeout:2 rotate" },
		{ POD("\"dnsPolicy\":\"ClusterFirstWithHostNet\",\"hostNetwork\":true"), "10.0.0.10", CLUSTER, "ndots:5" },
		{ POD("\"dnsPolicy\":\"Default\""), "192.0.2.53 192.0.2.54", "corp.example office.example", "timeout:2 rotate" },
		{ POD("\"dnsPolicy\":\"None\",\"dnsConfig\":{\"nameservers\":[\"9.9.9.9\"],\"searches\":[\"a\"],\"options\":[{"
		      "\"name\":\"ndots\",\"value\":\"2\"},{\"name\":\"edns0\"}]}"),
		  "9.9.9.9", "a", "ndots:2 edns0" },
		{ POD("\"dnsPolicy\":\"ClusterFirst\",\"dnsConfig\":{\"nameservers\":[\"10.0.0.10\",\"1.1.1.1\",\"2.2.2.2\",\"3.3.3.3\"],"
		      "\"options\":[{\"name\":\"ndots\",\"value\":\"1\"}]}"),
		  "10.0.0.10 1.1.1.1 2.2.2.2", CLUSTER, "ndots:1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *pod = parse(rows[i].pod);
		struct config_dns d;
		_cleanup_free_ char *servers = NULL, *searches = NULL, *options = NULL;

		config_dns(pod, "10.0.0.10", "c.l", RESOLV, &d);
		servers = join(&d.servers);
		searches = join(&d.searches);
		options = join(&d.options);
		assert_string_equal(servers, rows[i].servers);
		assert_string_equal(searches, rows[i].searches);
		assert_string_equal(options, rows[i].options);
		config_dns_done(&d);
	}
}

static void test_image_policy(void **state)
{
	static const struct {
		const char *image, *policy;
	} rows[] = {
		{ "nginx", "Always" },
		{ "nginx:latest", "Always" },
		{ "nginx:1.2", "IfNotPresent" },
		{ "host:5000/nginx", "Always" },
		{ "host:5000/a/nginx:1", "IfNotPresent" },
		{ "nginx@sha256:00", "IfNotPresent" },
		{ "nginx:latest@sha256:00", "Always" },
		{ "", "Always" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *c = json_pack("{s:s}", "image", rows[i].image);

		assert_string_equal(image_policy(c), rows[i].policy);
		json_object_set_new(c, "imagePullPolicy", json_string("Never"));
		assert_string_equal(image_policy(c), "Never");
	}
}

static void test_image_registry(void **state)
{
	static const struct {
		const char *image, *registry;
	} rows[] = {
		{ "nginx", "docker.io" },	    { "library/nginx:1", "docker.io" },	       { "quay.io/a/b", "quay.io" },
		{ "localhost/a", "localhost" }, { "reg:5000/a@sha256:0", "reg:5000" }, { "", "docker.io" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = image_registry(rows[i].image);

		assert_string_equal(got, rows[i].registry);
	}
}

static void test_credentials(void **state)
{
	static const char config[] = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
				     "\"reg:5000\":{\"username\":\"a\",\"password\":\"b\"},\"broken\":{\"auth\":\"!\"}}}";
	char *user = NULL, *password = NULL;

	(void)state;
	assert_true(image_credentials(config, "docker.io", &user, &password));
	assert_string_equal(user, "user");
	assert_string_equal(password, "pa:ss");
	free(user);
	free(password);
	assert_true(image_credentials(config, "reg:5000", &user, &password));
	assert_string_equal(user, "a");
	free(user);
	free(password);
	assert_false(image_credentials(config, "broken", &user, &password));
	assert_false(image_credentials(config, "elsewhere", &user, &password));
	assert_false(image_credentials("nonsense", "docker.io", &user, &password));
}

static void test_ports(void **state)
{
	_cleanup_json_ json_t *c = parse("{\"ports\":[{\"name\":\"web\",\"containerPort\":8080}]}");
	static const struct {
		const char *port;
		int expect;
	} rows[] = { { "80", 80 }, { "\"web\"", 8080 }, { "\"81\"", 81 }, { "\"none\"", -1 }, { "0", -1 }, { "70000", -1 }, { "null", -1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *port = json_loads(rows[i].port, JSON_DECODE_ANY, NULL);

		assert_int_equal(handler_port(c, port), rows[i].expect);
		json_decref(port);
	}
}

/* Directories stand in for the hierarchies: what is made, written and removed is what counts. */
static void test_cgroup(void **state)
{
	char dir[] = "/tmp/agent-cgroup-XXXXXX";
	_cleanup_free_ char *mountinfo = NULL, *v1 = NULL, *v2 = NULL, *cpu = NULL, *file = NULL, *root = NULL;
	struct resources_pod limits = { .cpu_shares = 1024, .cpu_quota_us = 50000, .memory_bytes = 1 << 20 };
	_cleanup_strlist_ struct strlist pods = { 0 };
	_cleanup_strbuf_ struct strbuf text = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	mountinfo = str_printf("1 0 0:1 / %s/v1 rw - cgroup cgroup rw,cpu,cpuacct\n2 0 0:1 / %s/v2 rw - cgroup2 cgroup2 rw\n", dir,
			       dir);
	v1 = str_printf("%s/v1/k/kubepods/burstable/podu", dir);
	v2 = str_printf("%s/v2/k/kubepods/burstable/podu", dir);
	assert_int_equal(file_mkdir_p(v1, 0755), 0);
	root = str_printf("%s/v2", dir);
	assert_int_equal(file_mkdir_p(root, 0755), 0);
	cpu = str_printf("%s/cpu.shares", v1);
	file = str_printf("%s/cpu.cfs_quota_us", v1);
	assert_int_equal(file_write_atomic(cpu, "", 0, 0644), 0);
	assert_int_equal(file_write_atomic(file, "", 0, 0644), 0);
	cgroup_use_mountinfo(mountinfo);
	assert_int_equal(cgroup_create("/k/kubepods/burstable/podu", &limits, NULL), 0);
	assert_int_equal(file_read(cpu, 100, &text), 0);
	assert_string_equal(text.data, "1024");
	strbuf_reset(&text);
	assert_int_equal(file_read(file, 100, &text), 0);
	assert_string_equal(text.data, "50000");
	assert_true(file_exists(v2));
	cgroup_list_pods("/k", &pods);
	assert_int_equal(pods.count, 1);
	assert_string_equal(pods.items[0], "burstable/podu");
	unlink(cpu);
	unlink(file);
	assert_int_equal(cgroup_remove("/k/kubepods/burstable/podu", NULL), 0);
	assert_false(file_exists(v1));
	assert_false(file_exists(v2));
	assert_int_equal(cgroup_remove("/k/kubepods/burstable/podu", NULL), 0);
	cgroup_use_mountinfo("");
	file_rm_rf(dir);
}

/* Somebody's data mounted below a pod's directory is unmounted, never removed. */
static void test_remove_tree(void **state)
{
	char dir[] = "/tmp/agent-tree-XXXXXX";
	_cleanup_free_ char *data = NULL, *file = NULL, *at = NULL, *link_path = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	data = str_printf("%s/data", dir);
	file = str_printf("%s/keep", data);
	at = str_printf("%s/pod/sub paths/0", dir);
	link_path = str_printf("%s/pod/link", dir);
	assert_int_equal(file_mkdir_p(data, 0755), 0);
	assert_int_equal(file_mkdir_p(at, 0755), 0);
	assert_int_equal(file_write_atomic(file, "x", 1, 0644), 0);
	assert_int_equal(symlink(data, link_path), 0);
	if (mount(data, at, NULL, MS_BIND, NULL) < 0) {
		file_rm_rf(dir);
		skip(); /* needs root */
	}
	{
		_cleanup_free_ char *pod = str_printf("%s/pod", dir);

		assert_int_equal(volumes_remove_tree(pod, NULL), 0);
		assert_false(file_exists(pod));
		assert_int_equal(volumes_remove_tree(pod, NULL), 0);
	}
	assert_true(file_exists(file));
	file_rm_rf(dir);
}

/* Host ports of containers and sidecars, and the annotations, reach the runtime. */
static void test_sandbox(void **state)
{
	static const char text[] =
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\",\"annotations\":{"
		"\"kubernetes.io/ingress-bandwidth\":\"1M\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{"
		"\"containerPort\":80,\"hostPort\":8080,\"protocol\":\"UDP\",\"hostIP\":\"192.0.2.1\"},{\"containerPort\":81}]}],"
		"\"initContainers\":[{\"name\":\"i\",\"ports\":[{\"containerPort\":1,\"hostPort\":1}]},{\"name\":\"s\","
		"\"restartPolicy\":\"Always\",\"ports\":[{\"containerPort\":82,\"hostPort\":8082}]}]}}";
	_cleanup_json_ json_t *pod = parse(text);
	struct agent a = { .o = { .state = "/tmp", .cgroup_root = "/keelson-x", .cluster_dns = "10.0.0.10,fd00::a",
				  .cluster_domain = "c.l" } };
	struct arena *m = arena_new();
	Cri__PodSandboxConfig *c = config_sandbox(m, &a, pod, 0);

	(void)state;
	assert_int_equal(c->n_port_mappings, 2);
	assert_int_equal(c->port_mappings[0]->protocol, CRI__PROTOCOL__UDP);
	assert_int_equal(c->port_mappings[0]->host_port, 8080);
	assert_int_equal(c->port_mappings[0]->container_port, 80);
	assert_string_equal(c->port_mappings[0]->host_ip, "192.0.2.1");
	assert_int_equal(c->port_mappings[1]->host_port, 8082);
	assert_string_equal(c->annotations[0]->key, "kubernetes.io/ingress-bandwidth");
	assert_string_equal(c->annotations[0]->value, "1M");
	assert_int_equal(c->dns_config->n_servers, 2);
	assert_string_equal(c->dns_config->servers[1], "fd00::a");
	arena_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dns),	    cmocka_unit_test(test_image_policy), cmocka_unit_test(test_image_registry),
		cmocka_unit_test(test_credentials), cmocka_unit_test(test_ports),	 cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_remove_tree),	    cmocka_unit_test(test_sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
