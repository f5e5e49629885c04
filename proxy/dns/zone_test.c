/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The zone by a table of questions; names and messages that are malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "proxy/dns/zone.h"

static const char *const objects[] = {
	"kind: Service\nmetadata: {name: kubernetes, namespace: default}\nspec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443}]}",
	"kind: Service\nmetadata: {name: dual, namespace: default}\nspec: {clusterIP: 10.96.0.2, clusterIPs: [10.96.0.2, 'fd00::2'], "
	"ports: [{name: dns, port: 53, protocol: UDP}, {name: web, port: 80}]}",
	"kind: Service\nmetadata: {name: hl, namespace: ns1}\nspec: {clusterIP: None, ports: [{name: web, port: 80}]}",
	"kind: Service\nmetadata: {name: gone, namespace: ns1}\nspec: {clusterIP: None, ports: [{name: web, port: 80}]}",
	"kind: Service\nmetadata: {name: ext, namespace: ns1}\nspec: {type: ExternalName, externalName: Example.COM}",
	"kind: Service\nmetadata: {name: alias, namespace: ns1}\nspec: {type: ExternalName, externalName: kubernetes.default.svc.cluster.local}",
	"kind: EndpointSlice\naddressType: IPv4\nmetadata: {name: hl-1, namespace: ns1, labels: {kubernetes.io/service-name: hl}}\n"
	"ports: [{name: web, port: 8080}]\nendpoints:\n- {addresses: [10.244.0.5], hostname: web-0}\n- {addresses: [10.244.0.6]}\n"
	"- {addresses: [10.244.0.7], conditions: {ready: false}}",
};

static struct model *make_model(void)
{
	const struct model_options o = { .size = sizeof(o) };
	struct model *m = model_new(&o);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		json_t *v = yaml_parse(objects[i], strlen(objects[i]), NULL);
		assert_non_null(v);
		if (str_eq(json_str(v, "kind"), "Service"))
			assert_int_equal(model_service_set(m, v, NULL), 0);
		else
			assert_int_equal(model_slice_set(m, v, NULL), 0);
		json_decref(v);
	}
	return m;
}

static size_t make_query(uint8_t *msg, const char *name, uint16_t type, bool edns)
{
	struct dns_name n;
	memset(msg, 0, DNS_HEADER);
	msg[0] = 0x12;
	msg[1] = 0x34;
	msg[2] = 1;
	msg[5] = 1;
	assert_true(dns_name_from_text(&n, name));
	memcpy(msg + DNS_HEADER, n.wire, n.len);
	size_t len = DNS_HEADER + n.len;
	msg[len++] = (uint8_t)(type >> 8);
	msg[len++] = (uint8_t)type;
	msg[len++] = 0;
	msg[len++] = DNS_IN;
	if (edns) {
		static const uint8_t opt[] = { 0, 0, DNS_OPT, 0x10, 0, 0, 0, 0, 0, 0, 0 };
		memcpy(msg + len, opt, sizeof(opt));
		len += sizeof(opt);
		msg[11] = 1;
	}
	return len;
}

static void put_name(struct strbuf *b, const struct dns_name *n)
{
	char label[64];
	for (unsigned i = 0; i < n->labels; i++) {
		assert_true(dns_name_label(n, i, label));
		strbuf_addf(b, "%s%s", i ? "." : "", label);
	}
}

/* An answer as text: "rcode; section type data; ...". */
static void describe(struct strbuf *b, const uint8_t *msg, size_t len)
{
	static const char *const rcodes[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };
	struct dns_name n;
	struct dns_record r;
	size_t pos = DNS_HEADER;
	strbuf_adds(b, rcodes[msg[3] & 0xf]);
	if (msg[2] & 2)
		strbuf_adds(b, " TC");
	assert_true(dns_name_read(msg, len, &pos, &n));
	pos += 4;
	for (int s = 1; s < 4; s++)
		for (unsigned k = (unsigned)msg[4 + 2 * s] << 8 | msg[5 + 2 * s]; k > 0; k--) {
			assert_true(dns_record_read(msg, len, &pos, &r));
			const uint8_t *d = msg + r.rdata;
			size_t at = r.rdata;
			char text[IP_ADDR_TEXT_SIZE];
			struct ip_addr ip = { .family = r.type == DNS_A ? AF_INET : AF_INET6 };
			strbuf_addf(b, "; %s ", s == 1 ? "an" : s == 2 ? "au" : "ad");
			switch (r.type) {
			case DNS_A:
			case DNS_AAAA:
				memcpy(ip.bytes, d, r.rdata_len);
				strbuf_addf(b, "A %s", ip_format(&ip, text));
				break;
			case DNS_SRV:
				at += 6;
				assert_true(dns_name_read(msg, len, &at, &n));
				strbuf_addf(b, "SRV %u ", d[4] << 8 | d[5]);
				put_name(b, &n);
				break;
			case DNS_PTR:
			case DNS_CNAME:
			case DNS_NS:
				assert_true(dns_name_read(msg, len, &at, &n));
				strbuf_addf(b, "%s ", r.type == DNS_PTR ? "PTR" : r.type == DNS_NS ? "NS" : "CNAME");
				put_name(b, &n);
				break;
			case DNS_SOA:
				strbuf_adds(b, "SOA ");
				put_name(b, &r.owner);
				break;
			case DNS_TXT:
				strbuf_addf(b, "TXT %.*s", d[0], d + 1);
				break;
			default:
				strbuf_addf(b, "type%u", r.type);
			}
		}
	assert_int_equal(pos, len);
}

static void test_questions(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint16_t type;
		const char *want; /* "forward", "chase NAME" or the answer */
	} rows[] = {
		{ "kubernetes.default.svc.cluster.local", DNS_A, "NOERROR; an A 10.96.0.1" },
		{ "KUBERNETES.Default.SVC.cluster.Local.", DNS_A, "NOERROR; an A 10.96.0.1" },
		{ "kubernetes.default.svc.cluster.local", DNS_AAAA, "NOERROR; au SOA cluster.local" },
		{ "kubernetes.default.svc.cluster.local", DNS_TXT, "NOERROR; au SOA cluster.local" },
		{ "dual.default.svc.cluster.local", DNS_AAAA, "NOERROR; an A fd00::2" },
		{ "hl.ns1.svc.cluster.local", DNS_A, "NOERROR; an A 10.244.0.5; an A 10.244.0.6" },
		{ "gone.ns1.svc.cluster.local", DNS_A, "NOERROR; au SOA cluster.local" },
		{ "web-0.hl.ns1.svc.cluster.local", DNS_A, "NOERROR; an A 10.244.0.5" },
		{ "10-244-0-6.hl.ns1.svc.cluster.local", DNS_A, "NOERROR; an A 10.244.0.6" },
		{ "10-244-0-7.hl.ns1.svc.cluster.local", DNS_A, "NXDOMAIN; au SOA cluster.local" },
		{ "_https._tcp.kubernetes.default.svc.cluster.local", DNS_SRV,
		  "NOERROR; an SRV 443 kubernetes.default.svc.cluster.local; ad A 10.96.0.1" },
		{ "_https._udp.kubernetes.default.svc.cluster.local", DNS_SRV, "NXDOMAIN; au SOA cluster.local" },
		{ "_web._tcp.hl.ns1.svc.cluster.local", DNS_SRV,
		  "NOERROR; an SRV 8080 web-0.hl.ns1.svc.cluster.local; an SRV 8080 10-244-0-6.hl.ns1.svc.cluster.local; "
		  "ad A 10.244.0.5; ad A 10.244.0.6" },
		{ "ext.ns1.svc.cluster.local", DNS_A, "chase example.com" },
		{ "ext.ns1.svc.cluster.local", DNS_CNAME, "NOERROR; an CNAME example.com" },
		{ "alias.ns1.svc.cluster.local", DNS_A, "chase kubernetes.default.svc.cluster.local" },
		{ "nope.default.svc.cluster.local", DNS_A, "NXDOMAIN; au SOA cluster.local" },
		{ "default.svc.cluster.local", DNS_A, "NOERROR; au SOA cluster.local" },
		{ "nowhere.svc.cluster.local", DNS_A, "NXDOMAIN; au SOA cluster.local" },
		{ "svc.cluster.local", DNS_A, "NOERROR; au SOA cluster.local" },
		{ "cluster.local", DNS_SOA, "NOERROR; an SOA cluster.local" },
		{ "cluster.local", DNS_NS, "NOERROR; an NS ns.dns.cluster.local" },
		{ "dns-version.cluster.local", DNS_TXT, "NOERROR; an TXT 1.1.0" },
		{ "example.com.default.svc.cluster.local", DNS_A, "NXDOMAIN; au SOA cluster.local" },
		{ "10-244-3-4.ns1.pod.cluster.local", DNS_A, "NOERROR; an A 10.244.3.4" },
		{ "10-244-3-400.ns1.pod.cluster.local", DNS_A, "NXDOMAIN; au SOA cluster.local" },
		{ "1.0.96.10.in-addr.arpa", DNS_PTR, "NOERROR; an PTR kubernetes.default.svc.cluster.local" },
		{ "5.0.244.10.in-addr.arpa", DNS_PTR, "NOERROR; an PTR web-0.hl.ns1.svc.cluster.local" },
		{ "9.9.96.10.in-addr.arpa", DNS_PTR, "NXDOMAIN; au SOA 9.9.96.10.in-addr.arpa" },
		{ "1.1.1.1.in-addr.arpa", DNS_PTR, "forward" },
		{ "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_PTR,
		  "NOERROR; an PTR dual.default.svc.cluster.local" },
		{ "example.com", DNS_A, "forward" },
		{ "xcluster.local", DNS_A, "forward" },
	};
	struct model *m = make_model();
	struct zone z;
	struct ip_prefix range;
	uint8_t msg[DNS_UDP_MIN], out[DNS_UDP_MAX];
	assert_int_equal(zone_init(&z, m, "Cluster.Local"), 0);
	ip_prefix_parse("10.96.0.0/12", &range);
	zone_add_range(&z, &range);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_strbuf_ struct strbuf got = { 0 };
		struct dns_query q;
		struct dns_name target;
		size_t n = make_query(msg, rows[i].name, rows[i].type, false);
		z.turn = 0;
		assert_int_equal(dns_query_read(msg, n, &q), 0);
		switch (zone_answer(&z, &q, out, sizeof(out), sizeof(out), &n, &target)) {
		case ZONE_FORWARD:
			strbuf_adds(&got, "forward");
			break;
		case ZONE_CHASE:
			strbuf_adds(&got, "chase ");
			put_name(&got, &target);
			break;
		case ZONE_DONE:
			assert_int_equal(out[0] << 8 | out[1], 0x1234);
			describe(&got, out, n);
			for (char *p = strstr(got.data, "Cluster.Local"); p; p = NULL)
				fail_msg("case is kept");
		}
		if (strcmp(got.data, rows[i].want) != 0)
			print_message("%s type %u\n", rows[i].name, rows[i].type);
		assert_string_equal(got.data, rows[i].want);
	}
	model_free(m);
}

/* Many endpoints: cut over plain UDP with TC, whole where there is room; the order turns. */
static void test_truncation(void **state)
{
	(void)state;
	struct model *m = make_model();
	struct strbuf s = { 0 };
	strbuf_adds(&s, "addressType: IPv4\nmetadata: {name: big-1, namespace: ns1, labels: {kubernetes.io/service-name: gone}}\n"
			"ports: [{name: web, port: 8080}]\nendpoints:\n");
	for (int i = 1; i <= 60; i++)
		strbuf_addf(&s, "- {addresses: [10.244.1.%d]}\n", i);
	json_t *v = yaml_parse(s.data, s.len, NULL);
	assert_int_equal(model_slice_set(m, v, NULL), 0);
	json_decref(v);
	strbuf_done(&s);
	struct zone z;
	struct dns_query q;
	struct dns_name target;
	uint8_t msg[DNS_UDP_MIN], out[DNS_UDP_MAX];
	size_t n, len = make_query(msg, "gone.ns1.svc.cluster.local", DNS_A, false);
	assert_int_equal(zone_init(&z, m, "cluster.local"), 0);
	assert_int_equal(dns_query_read(msg, len, &q), 0);
	assert_int_equal(q.udp_size, 512);
	zone_answer(&z, &q, out, sizeof(out), q.udp_size, &n, &target);
	assert_true(n <= 512 && out[2] & 2);
	len = make_query(msg, "gone.ns1.svc.cluster.local", DNS_A, true);
	assert_int_equal(dns_query_read(msg, len, &q), 0);
	assert_int_equal(q.udp_size, 4096);
	zone_answer(&z, &q, out, sizeof(out), q.udp_size, &n, &target);
	assert_false(out[2] & 2);
	assert_int_equal(out[6] << 8 | out[7], 60);
	assert_int_equal(out[11], 1); /* EDNS is answered */
	uint8_t first = out[DNS_HEADER + q.name.len + 4 + 15];
	zone_answer(&z, &q, out, sizeof(out), q.udp_size, &n, &target);
	assert_int_not_equal(out[DNS_HEADER + q.name.len + 4 + 15], first);
	model_free(m);
}

static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t len;
		int want;
	} rows[] = {
		{ "\0\1\1\0\0\1\0\0\0\0\0", 11, -1 },                             /* shorter than a header */
		{ "\0\1\x81\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, -1 },               /* an answer */
		{ "\0\1\x29\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, DNS_NOTIMP },       /* opcode UPDATE */
		{ "\0\1\1\0\0\0\0\0\0\0\0\0", 12, DNS_FORMERR },                  /* no question */
		{ "\0\1\1\0\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1", 22, DNS_FORMERR }, /* two */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, DNS_FORMERR },  /* a pointer to itself */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x20\0\1\0\1", 18, DNS_FORMERR },  /* forward */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\x40\0\0\1\0\1", 18, DNS_FORMERR },    /* a reserved label type */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\5abc", 16, DNS_FORMERR },             /* a label beyond the end */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0", 16, DNS_FORMERR },          /* half a question */
		{ "\0\1\1\0\0\1\0\0\0\0\0\1\0\0\1\0\1\0\0\x29\0", 21, DNS_FORMERR }, /* half an OPT */
		{ "\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, 0 },                  /* the root: fine */
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct dns_query q;
		/* An exact copy on the heap, so that the sanitizer sees a read beyond it. */
		uint8_t *copy = memcpy(malloc(rows[i].len), rows[i].bytes, rows[i].len);
		assert_int_equal(dns_query_read(copy, rows[i].len, &q), rows[i].want);
		free(copy);
	}
	struct dns_name n;
	char text[300];
	memset(text, 'a', sizeof(text));
	text[64] = 0;
	assert_false(dns_name_from_text(&n, text));
	assert_false(dns_name_from_text(&n, "a..b"));
	for (int i = 0; i < 299; i++)
		text[i] = i % 10 == 9 ? '.' : 'a';
	text[299] = 0;
	assert_false(dns_name_from_text(&n, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
