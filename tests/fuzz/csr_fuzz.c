/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links controllers kube io base */
/* Certificate requests (PKCS#10, DER) from anybody who holds a bootstrap token: read and judged without harm. */
#include "base/mem.h"
#include "controllers/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *object(const char *signer, const char *usage, const char *request)
{
	return json_pack("{s:{s:s}, s:{s:s, s:s, s:s, s:[s], s:[s,s]}}", "metadata", "name", "c", "spec", "signerName", signer, "request",
			 request, "username", "system:node:a", "groups", "system:nodes", "usages", "digital signature", usage);
}

static void judge(const char *signer, const char *usage, const char *request)
{
	_cleanup_json_ json_t *csr = object(signer, usage, request);
	_cleanup_csr_subject_ struct csr_subject s = { 0 };
	_cleanup_err_ struct err err = { 0 };
	struct object_list none = { 0 };
	struct ip_ranges services, pods;

	BUG_ON(!csr || ip_ranges_parse("10.96.0.0/12", &services, NULL) < 0 || ip_ranges_parse("10.244.0.0/16", &pods, NULL) < 0);
	if (csr_subject_read(csr, &s, &err) < 0) {
		BUG_ON(!err.message);
		return;
	}
	BUG_ON(!s.common_name);
	if (csr_check(csr, &s, &err) < 0)
		BUG_ON(!err.message);
	/* What is a node's own names only it. */
	if (csr_serving_is_own(csr, &s, &none, &services, &pods))
		BUG_ON(!str_eq(s.common_name, "system:node:a"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf b64 = { 0 }, pem = { 0 }, request = { 0 };

	base64_encode(&b64, data, size);
	strbuf_adds(&pem, "-----BEGIN CERTIFICATE REQUEST-----\n");
	for (size_t i = 0; i < b64.len; i += 64)
		strbuf_addf(&pem, "%.*s\n", (int)MIN(b64.len - i, (size_t)64), b64.data + i);
	strbuf_adds(&pem, "-----END CERTIFICATE REQUEST-----\n");
	base64_encode(&request, pem.data, pem.len);
	judge(SIGNER_NODE_CLIENT, "client auth", request.data);
	judge(SIGNER_NODE_SERVING, "server auth", request.data);
	return 0;
}
