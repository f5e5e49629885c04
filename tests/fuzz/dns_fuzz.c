/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links proxy kube io base */
/* DNS messages from anybody: the query reader and the zone never read or write outside, and what they write is DNS. */
#include <stdlib.h>
#include <string.h>

#include "proxy/dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct zone zone;

static void setup(void)
{
	static const char service[] =
		"{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\"},\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":"
		"[{\"name\":\"h\",\"port\":80}]}}";
	static const char headless[] =
		"{\"metadata\":{\"name\":\"hl\",\"namespace\":\"d\"},\"spec\":{\"clusterIP\":\"None\",\"ports\":"
		"[{\"name\":\"h\",\"port\":80}]}}";
	static const char external[] =
		"{\"metadata\":{\"name\":\"ex\",\"namespace\":\"d\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}";
	static const char slice[] =
		"{\"metadata\":{\"name\":\"hl-1\",\"namespace\":\"d\",\"labels\":{\"kubernetes.io/service-name\":\"hl\"}},"
		"\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"h\",\"port\":8080}],\"endpoints\":[{\"addresses\":[\"10.244.0.5\"],"
		"\"hostname\":\"h0\"},{\"addresses\":[\"10.244.0.6\"]}]}";
	static const char *const objects[] = { service, headless, external };
	const struct model_options mo = { .size = sizeof(mo) };
	struct model *m = model_new(&mo);
	for (size_t i = 0; i < 3; i++) {
		json_t *o = json_parse(objects[i], strlen(objects[i]), NULL, NULL);
		model_service_set(m, o, NULL);
		json_decref(o);
	}
	json_t *s = json_parse(slice, strlen(slice), NULL, NULL);
	model_slice_set(m, s, NULL);
	json_decref(s);
	zone_init(&zone, m, "cluster.local");
}

/* Everything written must read back. */
static void check_message(const uint8_t *msg, size_t len)
{
	struct dns_name name;
	struct dns_record r;
	size_t pos = DNS_HEADER;
	BUG_ON(len < DNS_HEADER || !(msg[2] & 0x80));
	for (unsigned q = (unsigned)msg[4] << 8 | msg[5]; q > 0; q--) {
		BUG_ON(!dns_name_read(msg, len, &pos, &name));
		pos += 4;
	}
	unsigned n = 0;
	for (size_t i = 6; i < 12; i += 2)
		n += (unsigned)msg[i] << 8 | msg[i + 1];
	while (n-- > 0)
		BUG_ON(!dns_record_read(msg, len, &pos, &r));
	BUG_ON(pos != len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[DNS_TCP_MAX];
	struct dns_query q;
	struct dns_name target;
	struct dns_record r;
	size_t n;
	if (!zone.model)
		setup();
	for (size_t pos = DNS_HEADER; pos < size && dns_record_read(data, size, &pos, &r);)
		;
	int code = dns_query_read(data, size, &q);
	if (code != 0) {
		if (code > 0 && (n = dns_refusal(out, sizeof(out), data, size, NULL, code)))
			check_message(out, n);
		return 0;
	}
	static const size_t limits[] = { DNS_UDP_MIN, DNS_EDNS_SIZE, DNS_TCP_MAX };
	for (size_t i = 0; i < 3; i++)
		if (zone_answer(&zone, &q, out, sizeof(out), limits[i], &n, &target) == ZONE_DONE) {
			BUG_ON(n > limits[i]);
			check_message(out, n);
		}
	return 0;
}
