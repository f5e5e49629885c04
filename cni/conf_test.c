/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Environment and configuration: what is accepted, and the code and sentence for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cni/conf.h"

#define BASE "\"cniVersion\":\"1.0.0\",\"name\":\"n\""
#define RUNTIME(x) ",\"runtimeConfig\":{" x "}"
#define IPAM "\"ipam\":{\"subnet\":\"10.244.3.0/24\"}"

static const char *env[4]; /* command, container id, netns, ifname */

static char *fake_getenv(const char *name)
{
	static const char *const names[] = { "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" };

	for (size_t i = 0; i < 4; i++)
		if (strcmp(name, names[i]) == 0)
			return (char *)env[i];
	return NULL;
}

static void environment(void **state _unused_)
{
	static const struct {
		const char *env[4], *msg;
	} bad[] = {
		{ { NULL }, "required env variables [CNI_COMMAND] missing" },
		{ { "" }, "required env variables [CNI_COMMAND] missing" },
		{ { "add", "c", "/n", "eth0" }, "unknown CNI_COMMAND: add" },
		{ { "ADD" }, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing" },
		{ { "CHECK", "c", "", "eth0" }, "required env variables [CNI_NETNS] missing" },
		{ { "DEL", "c", "" }, "required env variables [CNI_IFNAME] missing" },
		{ { "ADD", "../c", "/n", "eth0" }, "invalid characters in CNI_CONTAINERID: ../c" },
		{ { "ADD", "a:b", "/n", "eth0" }, "invalid characters in CNI_CONTAINERID: a:b" },
		{ { "ADD", "c", "/n", "0123456789abcdef" }, "CNI_IFNAME \"0123456789abcdef\" is longer than 15 characters" },
		{ { "ADD", "c", "/n", "a/b" }, "CNI_IFNAME \"a/b\" contains '/', ':', a blank or a control character" },
		{ { "ADD", "c", "/n", "a b" }, "CNI_IFNAME \"a b\" contains '/', ':', a blank or a control character" },
		{ { "ADD", "c", "/n", ".." }, "CNI_IFNAME \"..\" is not a name" },
	};
	struct conf_env e;
	struct fail f;
	char long_id[300];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(env, bad[i].env, sizeof(env));
		assert_int_equal(conf_env_read(&e, fake_getenv, &f), -1);
		assert_string_equal(f.msg, bad[i].msg);
		assert_int_equal(f.code, FAIL_ENV);
	}
	memset(long_id, 'a', sizeof(long_id));
	long_id[CONF_ID_MAX + 1] = '\0';
	memcpy(env, (const char *[]){ "ADD", long_id, "/n", "eth0" }, sizeof(env));
	assert_int_equal(conf_env_read(&e, fake_getenv, &f), -1);
	long_id[CONF_ID_MAX] = '\0';
	assert_int_equal(conf_env_read(&e, fake_getenv, &f), 0);
	assert_int_equal(e.command, CONF_ADD);
	assert_string_equal(e.ifname, "eth0");
	memcpy(env, (const char *[]){ "DEL", "c", NULL, "eth0" }, sizeof(env));
	assert_int_equal(conf_env_read(&e, fake_getenv, &f), 0);
	assert_string_equal(e.netns, "");
	memcpy(env, (const char *[]){ "VERSION", NULL, NULL, NULL }, sizeof(env));
	assert_int_equal(conf_env_read(&e, fake_getenv, &f), 0);
	assert_int_equal(e.command, CONF_VERSION);
}

static void good(void **state _unused_)
{
	static const char text[] = "{" BASE ",\"type\":\"keelson-cni\",\"bridge\":\"br1\",\"mtu\":1400,\"isGateway\":true,"
		"\"hairpinMode\":false,\"ipMasq\":false,\"clusterCIDR\":\"10.244.9.9/16\",\"serviceCIDR\":\"10.96.0.0/12\","
		"\"ipam\":{\"subnet\":\"10.244.3.7/24\",\"routes\":[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"192.0.2.1/24\",\"gw\":\"10.244.3.9\"}]},"
		"\"dataDir\":\"/d\",\"dns\":{\"nameservers\":[\"10.96.0.10\"]},\"vlan\":0,\"promiscMode\":false,\"unknown\":1}";
	char out[IP_PREFIX_TEXT_SIZE];
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_string_equal(c.version, "1.0.0");
	assert_string_equal(c.bridge, "br1");
	assert_int_equal(c.mtu, 1400);
	assert_true(c.is_gateway);
	assert_false(c.hairpin);
	assert_false(c.ip_masq);
	assert_string_equal(ip_prefix_format(&c.subnets[0].prefix, out), "10.244.3.0/24");
	assert_string_equal(ip_prefix_format(&c.subnets[0].cluster, out), "10.244.0.0/16");
	assert_string_equal(ip_format(&c.subnets[0].gateway, out), "10.244.3.1");
	assert_int_equal(c.route_count, 2);
	assert_string_equal(ip_prefix_format(&c.routes[1].dst, out), "192.0.2.0/24");
	assert_string_equal(ip_format(&c.routes[0].gw, out), "10.244.3.1");
	assert_string_equal(c.data_dir, "/d");
	assert_non_null(c.dns);
	conf_done(&c);
}

static void defaults(void **state _unused_)
{
	static const char text[] = "{" BASE "," IPAM "}";
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_string_equal(c.bridge, "kl0");
	assert_string_equal(c.data_dir, "/var/lib/keelson/cni/state");
	assert_true(c.is_gateway && c.hairpin && c.ip_masq && c.mtu == 0);
	assert_memory_equal(&c.subnets[0].cluster, &c.subnets[0].prefix, sizeof(c.subnets[0].prefix));
	conf_done(&c);
}

static void two_families(void **state _unused_)
{
	static const char text[] = "{" BASE ",\"clusterCIDR\":\"10.244.0.0/16,fd00:244::/48\",\"ipam\":{\"subnets\":[\"fd00:244:0:1::/64\","
		"\"10.244.1.0/24\"],\"routes\":[{\"dst\":\"::/0\"}]}" RUNTIME("\"portMappings\":[{\"hostPort\":80,\"containerPort\":8080},"
		"{\"hostPort\":0,\"containerPort\":9},{\"hostPort\":53,\"containerPort\":5353,\"protocol\":\"UDP\",\"hostIP\":\"2001:db8::1\"},"
		"{\"hostPort\":81,\"containerPort\":81,\"protocol\":\"SCTP\",\"hostIP\":\"0.0.0.0\"}],"
		"\"bandwidth\":{\"ingressRate\":1000000,\"ingressBurst\":4294967295,\"egressRate\":2000000}") "}";
	char out[IP_PREFIX_TEXT_SIZE];
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_int_equal(c.subnet_count, 2);
	assert_string_equal(ip_prefix_format(&c.subnets[0].prefix, out), "fd00:244:0:1::/64");
	assert_string_equal(ip_format(&c.subnets[0].gateway, out), "fd00:244:0:1::1");
	assert_string_equal(ip_prefix_format(&c.subnets[0].cluster, out), "fd00:244::/48");
	assert_string_equal(ip_prefix_format(&c.subnets[1].cluster, out), "10.244.0.0/16");
	assert_string_equal(ip_format(&c.routes[0].gw, out), "fd00:244:0:1::1");
	assert_int_equal(c.port_count, 3);
	assert_int_equal(c.ports[0].host_ip.family, 0);
	assert_int_equal(c.ports[0].proto, IPPROTO_TCP);
	assert_int_equal(c.ports[1].proto, IPPROTO_UDP);
	assert_string_equal(ip_format(&c.ports[1].host_ip, out), "2001:db8::1");
	assert_int_equal(c.ports[2].host_ip.family, 0);
	assert_int_equal(c.ports[2].proto, IPPROTO_SCTP);
	assert_int_equal(c.bandwidth.ingress_burst, 4294967295);
	assert_int_equal(c.bandwidth.egress_rate, 2000000);
	conf_done(&c);
}

/* As containerd 1.6.20 passes them. */
static void names_of_go(void **state _unused_)
{
	static const char text[] = "{" BASE "," IPAM RUNTIME("\"portMappings\":[{\"HostPort\":18080,\"ContainerPort\":8080,"
		"\"Protocol\":\"udp\",\"HostIP\":\"\"}],\"bandwidth\":{\"IngressRate\":10000000,\"IngressBurst\":4294967295,"
		"\"EgressRate\":0,\"EgressBurst\":0}") "}";
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_int_equal(c.port_count, 1);
	assert_int_equal(c.ports[0].host_port, 18080);
	assert_int_equal(c.ports[0].port, 8080);
	assert_int_equal(c.ports[0].proto, IPPROTO_UDP);
	assert_int_equal(c.bandwidth.ingress_rate, 10000000);
	assert_int_equal(c.bandwidth.egress_rate, 0);
	conf_done(&c);
}

static void attachments(void **state _unused_)
{
	static const char text[] = "{" BASE "," IPAM ",\"cni.dev/valid-attachments\":[{\"containerID\":\"a\",\"ifname\":\"eth0\"}]}";
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_true(conf_is_valid_attachment(&c, "a", "eth0"));
	assert_false(conf_is_valid_attachment(&c, "a", "eth1"));
	assert_false(conf_is_valid_attachment(&c, "b", "eth0"));
	conf_done(&c);
}

static void loopback(void **state _unused_)
{
	static const char text[] = "{\"cniVersion\":\"0.3.1\",\"name\":\"cni-loopback\",\"type\":\"loopback\"}";
	struct conf c;
	struct fail f;

	assert_int_equal(conf_parse(&c, text, strlen(text), &f), 0);
	assert_true(c.loopback);
	conf_done(&c);
}

static void bad(void **state _unused_)
{
	static const struct {
		const char *text;
		int code;
		const char *msg;
	} cases[] = {
		{ "", FAIL_DECODE, "network configuration is not JSON: line 1" },
		{ "{", FAIL_DECODE, "network configuration is not JSON: line 1" },
		{ "[]", FAIL_DECODE, "network configuration is not a JSON object" },
		{ "{\"name\":\"a\",\"name\":\"b\"}", FAIL_DECODE, "network configuration is not JSON: line 1" },
		{ "{}", FAIL_VERSION, "cniVersion \"\" is not supported" },
		{ "{\"cniVersion\":\"0.2.0\"}", FAIL_VERSION, "cniVersion \"0.2.0\" is not supported" },
		{ "{\"cniVersion\":1}", FAIL_CONFIG, "cniVersion must be a string" },
		{ "{\"cniVersion\":\"1.0.0\"}", FAIL_CONFIG, "name is missing" },
		{ "{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\"}", FAIL_CONFIG, "name \"a/b\" is not a network name" },
		{ "{\"cniVersion\":\"1.0.0\",\"name\":\"..\"}", FAIL_CONFIG, "name \"..\" is not a network name" },
		{ "{" BASE "}", FAIL_CONFIG, "ipam is missing" },
		{ "{" BASE ",\"ipam\":[]}", FAIL_CONFIG, "ipam must be an object" },
		{ "{" BASE ",\"ipam\":{}}", FAIL_CONFIG, "ipam.subnet is missing" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/33\"}}", FAIL_CONFIG, "ipam.subnet: \"10.0.0.0/33\" is not a CIDR" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"fd00::/48\"}}", FAIL_CONFIG, "ipam.subnet: a /48 is larger than a node can use, a /64" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"fd00::/127\"}}", FAIL_CONFIG, "ipam.subnet: a /127 has no room" },
		{ "{" BASE ",\"ipam\":{\"subnets\":[]}}", FAIL_CONFIG, "ipam.subnet is missing" },
		{ "{" BASE ",\"ipam\":{\"subnets\":[1]}}", FAIL_CONFIG, "ipam.subnets must be a list of CIDRs" },
		{ "{" BASE ",\"ipam\":{\"subnets\":\"fd00::/64\"}}", FAIL_CONFIG, "ipam.subnets must be a list" },
		{ "{" BASE ",\"ipam\":{\"subnets\":[\"fd00::/64\",\"fd01::/64\"]}}", FAIL_CONFIG, "ipam.subnets: two of one family" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"subnets\":[\"fd01::/64\"]}}", FAIL_CONFIG, "ipam.subnet and ipam.subnets exclude" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"routes\":[{\"dst\":\"::/0\"}]}}", FAIL_CONFIG,
		  "ipam.routes: there is no subnet of the family" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"fd00::/64\"},\"mtu\":1000}", FAIL_CONFIG, "mtu must be 0 (automatic) or a number from 1280" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":3") "}", FAIL_CONFIG, "portMappings must be a list" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":[3]") "}", FAIL_CONFIG, "portMappings must be a list of objects" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":[{\"hostPort\":70000}]") "}", FAIL_CONFIG, "portMappings.hostPort must be a number" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":[{\"hostPort\":80}]") "}", FAIL_CONFIG, "portMappings: hostPort 80 has no containerPort" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":[{\"hostPort\":80,\"containerPort\":8,\"protocol\":\"icmp\"}]") "}", FAIL_CONFIG,
		  "portMappings: protocol \"icmp\" is not" },
		{ "{" BASE "," IPAM RUNTIME("\"portMappings\":[{\"hostPort\":80,\"containerPort\":8,\"hostIP\":\"x\"}]") "}", FAIL_CONFIG,
		  "portMappings: hostIP \"x\" is not" },
		{ "{" BASE "," IPAM RUNTIME("\"bandwidth\":{\"ingressRate\":-1}") "}", FAIL_CONFIG, "bandwidth.ingressRate must be a number" },
		{ "{" BASE "," IPAM RUNTIME("\"bandwidth\":{\"egressRate\":100}") "}", FAIL_CONFIG, "bandwidth: a rate below 8000" },
		{ "{" BASE "," IPAM ",\"cni.dev/valid-attachments\":[{\"containerID\":\"a\"}]}", FAIL_CONFIG, "cni.dev/valid-attachments must be a list" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/31\"}}", FAIL_CONFIG, "ipam.subnet: a /31 has no room" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/15\"}}", FAIL_CONFIG, "ipam.subnet: a /15 is larger" },
		{ "{" BASE "," IPAM ",\"bridge\":\"\"}", FAIL_CONFIG, "bridge \"\" is empty" },
		{ "{" BASE "," IPAM ",\"bridge\":\"a/b\"}", FAIL_CONFIG, "bridge \"a/b\" contains" },
		{ "{" BASE "," IPAM ",\"dataDir\":\"state\"}", FAIL_CONFIG, "dataDir \"state\" is not an absolute path" },
		{ "{" BASE "," IPAM ",\"mtu\":\"1500\"}", FAIL_CONFIG, "mtu must be 0" },
		{ "{" BASE "," IPAM ",\"mtu\":-1}", FAIL_CONFIG, "mtu must be 0" },
		{ "{" BASE "," IPAM ",\"mtu\":100}", FAIL_CONFIG, "mtu must be 0" },
		{ "{" BASE "," IPAM ",\"isGateway\":\"yes\"}", FAIL_CONFIG, "isGateway must be true or false" },
		{ "{" BASE "," IPAM ",\"clusterCIDR\":\"x\"}", FAIL_CONFIG, "clusterCIDR: \"x\" is not a CIDR" },
		{ "{" BASE "," IPAM ",\"serviceCIDR\":\"10.0.0.0/8,10.0.0.0/8\"}", FAIL_CONFIG, "serviceCIDR: \"10.0.0.0/8,10.0.0.0/8\" is not a CIDR" },
		{ "{" BASE "," IPAM ",\"dns\":3}", FAIL_CONFIG, "dns must be an object" },
		{ "{" BASE "," IPAM ",\"vlan\":7}", FAIL_UNSUPPORTED, "unsupported field in network configuration: vlan: 7" },
		{ "{" BASE "," IPAM ",\"promiscMode\":true}", FAIL_UNSUPPORTED, "unsupported field in network configuration: promiscMode: true" },
		{ "{" BASE ",\"ipam\":{\"type\":\"dhcp\"}}", FAIL_UNSUPPORTED, "unsupported field in network configuration: ipam.type: \"dhcp\"" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"routes\":{}}}", FAIL_CONFIG, "ipam.routes must be a list" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"routes\":[1]}}", FAIL_CONFIG, "ipam.routes must be a list of objects" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"routes\":[{}]}}", FAIL_CONFIG, "ipam.routes: a route has no dst" },
		{ "{" BASE ",\"ipam\":{\"subnet\":\"10.0.0.0/24\",\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"1.2.3.4\"}]}}", FAIL_CONFIG,
		  "ipam.routes: gw 1.2.3.4 is not in the subnet" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct conf c;
		struct fail f = { 0 };

		assert_int_equal(conf_parse(&c, cases[i].text, strlen(cases[i].text), &f), -1);
		if (strncmp(f.msg, cases[i].msg, strlen(cases[i].msg)) != 0 || (int)f.code != cases[i].code)
			fail_msg("%s: %d %s", cases[i].text, f.code, f.msg);
		conf_done(&c);
	}
}

static void version(void **state _unused_)
{
	static const struct {
		const char *text, *version;
	} cases[] = {
		{ "", "1.1.0" }, { "{\"cniVersion\":\"0.4.0\"}", "0.4.0" }, { "{\"cniVersion\":\"9.9.9\"}", "1.1.0" }, { "{}", "1.1.0" },
	};
	struct conf c;
	struct fail f;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(conf_parse_version(&c, cases[i].text, strlen(cases[i].text), &f), 0);
		assert_string_equal(c.version, cases[i].version);
		conf_done(&c);
	}
	assert_int_equal(conf_parse_version(&c, "x", 1, &f), -1);
	assert_int_equal(f.code, FAIL_DECODE);
	conf_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(environment), cmocka_unit_test(good), cmocka_unit_test(defaults), cmocka_unit_test(loopback), cmocka_unit_test(bad),
		cmocka_unit_test(version), cmocka_unit_test(two_families), cmocka_unit_test(names_of_go), cmocka_unit_test(attachments),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
