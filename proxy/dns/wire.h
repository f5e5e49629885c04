/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DNS messages (RFC 1035, 2782, 6891): reading a query, writing an answer into a fixed buffer. No allocation, no I/O.
 * Everything read is bounded by the message; everything written by the buffer, and what does not fit sets TC.
 */
#ifndef KEELSON_PROXY_DNS_WIRE_H
#define KEELSON_PROXY_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33,
	DNS_OPT = 41, DNS_ANY = 255,
};
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5, DNS_BADVERS = 16 };
enum { DNS_IN = 1, DNS_HEADER = 12, DNS_NAME_MAX = 255, DNS_LABELS_MAX = 128, DNS_UDP_MIN = 512, DNS_UDP_MAX = 4096,
       DNS_EDNS_SIZE = 1232, DNS_TCP_MAX = 65535 };

/* A name in wire form without compression, lower case, ending with the empty label. */
struct dns_name {
	uint8_t wire[DNS_NAME_MAX];
	uint8_t len;            /* bytes in wire, the last 0 included */
	uint8_t labels;         /* not counting the empty one */
	uint8_t at[DNS_LABELS_MAX]; /* where each label's length byte stands */
};
/* From "a.b.c" (a final dot may be there). false: a label or the name is too long or empty. */
bool dns_name_from_text(struct dns_name *n, const char *text);
/* Reads a possibly compressed name at *pos and moves *pos behind it. false on anything malformed. */
bool dns_name_read(const uint8_t *msg, size_t len, size_t *pos, struct dns_name *ret);
/* Label i from the left as text into out[64]; false when it has bytes other than printable ASCII without '.'. */
bool dns_name_label(const struct dns_name *n, unsigned i, char out[static 64]);
/* The number of labels left of suffix, or -1 when n does not end with it. */
int dns_name_under(const struct dns_name *n, const struct dns_name *suffix);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);

struct dns_query {
	uint16_t id, flags, type, qclass;
	struct dns_name name;
	size_t question_end;    /* offset behind the question */
	bool edns;
	uint8_t edns_version;
	uint16_t udp_size;      /* what the client takes over UDP: 512 without EDNS */
};
/* 0: fine. DNS_FORMERR, DNS_NOTIMP: refuse with that code. -1: not worth an answer (too short, or an answer itself). */
int dns_query_read(const uint8_t *msg, size_t len, struct dns_query *ret);

struct dns_writer {
	uint8_t *buf;
	size_t cap, len;
	size_t limit;           /* <= cap: beyond it records are dropped and TC is set */
	uint16_t counts[4];     /* questions, answers, authority, additional */
	bool truncated;
	const struct dns_query *query;
};
/* Starts an answer with the query's question. limit is at least 512. */
void dns_begin(struct dns_writer *w, uint8_t *buf, size_t cap, size_t limit, const struct dns_query *q);
enum dns_section { DNS_ANSWER = 1, DNS_AUTHORITY = 2, DNS_ADDITIONAL = 3 };
/* Each writes a whole record or none (then TC). owner NULL: the question's name. */
void dns_put(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type, uint32_t ttl_s,
	     const void *rdata, uint16_t rdata_len);
void dns_put_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint16_t type, uint32_t ttl_s,
		  const struct dns_name *target);
void dns_put_srv(struct dns_writer *w, enum dns_section s, const struct dns_name *owner, uint32_t ttl_s, uint16_t weight,
		 uint16_t port, const struct dns_name *target);
void dns_put_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone, const struct dns_name *server,
		 uint32_t ttl_s);
/* Finishes: header, EDNS when the query had it. Returns the length. */
size_t dns_end(struct dns_writer *w, int rcode, bool authoritative);
/* An answer without records to a message that could or could not be read (q NULL: only its first bytes are used). */
size_t dns_refusal(uint8_t *buf, size_t cap, const uint8_t *msg, size_t len, const struct dns_query *q, int rcode);

/* One record of an upstream's answer. */
struct dns_record {
	struct dns_name owner;
	uint16_t type, rclass;
	uint32_t ttl_s;
	size_t rdata, rdata_len; /* offset and length in the message */
};
/* Moves *pos behind the record. false at anything malformed. */
bool dns_record_read(const uint8_t *msg, size_t len, size_t *pos, struct dns_record *ret);

#endif
