// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * WebSockets of watches. What always holds: no more than a frame's head and a control frame's payload of what the client
 * sends is kept, and after a close frame was written nothing else is.
 */
#include "apiserver/watch/websocket.h"

#include <arpa/inet.h>
#include <endian.h>
#include <openssl/evp.h>
#include <string.h>

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { CLOSE_NORMAL = 1000, CLOSE_PROTOCOL_ERROR = 1002 };
enum { MAX_HEAD = 14, MAX_CONTROL = 125, KEY_BYTES = 16 };

struct websocket {
	struct http_conn *conn;
	struct watcher *watcher;
	bool text, wants_drain, closing;
	uint64_t skip;                          /* bytes of a data frame still to come */
	size_t have;                            /* of a head, or of a control frame */
	uint8_t in[MAX_HEAD + MAX_CONTROL];
};

/* A header is a list with this among its elements. */
static bool has_element(const char *header, const char *element)
{
	size_t want = strlen(element);
	while (header && *header) {
		header += strspn(header, " \t,");
		size_t len = strcspn(header, " \t,");
		if (len == want && strncasecmp(header, element, len) == 0)
			return true;
		header += len;
	}
	return false;
}

bool websocket_asked(const struct http_request *req)
{
	return !http_is_h2(req) && has_element(http_header(req, "Upgrade"), "websocket") &&
	       has_element(http_header(req, "Connection"), "upgrade");
}

static void write_frame(struct websocket *s, unsigned opcode, const void *data, size_t len)
{
	uint8_t head[10] = { (uint8_t)(0x80 | opcode) };
	size_t n = 2;
	if (s->closing)
		return;
	if (len < 126) {
		head[1] = (uint8_t)len;
	} else if (len <= UINT16_MAX) {
		uint16_t l = htons((uint16_t)len);
		head[1] = 126;
		memcpy(head + 2, &l, sizeof(l));
		n += sizeof(l);
	} else {
		uint64_t l = htobe64(len);
		head[1] = 127;
		memcpy(head + 2, &l, sizeof(l));
		n += sizeof(l);
	}
	http_conn_write(s->conn, head, n);
	http_conn_write(s->conn, data, len);
}

static void close_with(struct websocket *s, uint16_t code)
{
	code = htons(code);
	write_frame(s, OP_CLOSE, &code, sizeof(code));
	s->closing = true;
	http_conn_close(s->conn);
}

/* What the client sends */

/* Length of the head that begins in, 0 while it is not all there. */
static size_t head_length(const struct websocket *s)
{
	unsigned len = s->have > 1 ? s->in[1] & 0x7f : 0;
	size_t n = 2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + 4 /* mask */;
	return s->have < 2 || s->have < n ? 0 : n;
}

static uint64_t payload_length(const struct websocket *s)
{
	unsigned len = s->in[1] & 0x7f;
	uint16_t l16;
	uint64_t l64;
	if (len < 126)
		return len;
	memcpy(&l16, s->in + 2, sizeof(l16));
	memcpy(&l64, s->in + 2, sizeof(l64));
	return len == 126 ? ntohs(l16) : be64toh(l64);
}

/* A control frame is there as a whole. */
static void control_frame(struct websocket *s, size_t head, size_t len)
{
	unsigned opcode = s->in[0] & 0x0f;
	uint8_t *payload = s->in + head;
	for (size_t i = 0; i < len; i++)
		payload[i] ^= s->in[head - 4 + i % 4];
	if (opcode == OP_PING)
		write_frame(s, OP_PONG, payload, len);
	else if (opcode == OP_CLOSE)
		close_with(s, CLOSE_NORMAL);
	else if (opcode != OP_PONG)
		close_with(s, CLOSE_PROTOCOL_ERROR);
}

/* Looks at a byte more. */
static void take(struct websocket *s, uint8_t byte)
{
	s->in[s->have++] = byte;
	size_t head = head_length(s);
	if (s->have == 2 && !(s->in[1] & 0x80)) {
		close_with(s, CLOSE_PROTOCOL_ERROR); /* a client masks (5.1) */
		return;
	}
	if (!head)
		return;
	uint64_t len = payload_length(s);
	bool control = s->in[0] & 0x08;
	if (control && (len > MAX_CONTROL || !(s->in[0] & 0x80))) {
		close_with(s, CLOSE_PROTOCOL_ERROR);
	} else if (!control) {
		s->skip = len;
		s->have = 0;
	} else if (s->have == head + len) {
		control_frame(s, head, (size_t)len);
		s->have = 0;
	}
}

static void on_data(struct http_conn *c, const void *data, size_t len, void *user)
{
	struct websocket *s = user;
	const uint8_t *at = data, *end = at + len;
	(void)c;
	while (at < end && !s->closing) {
		if (s->skip) {
			uint64_t n = MIN(s->skip, (uint64_t)(end - at));
			at += n;
			s->skip -= n;
		} else {
			take(s, *at++);
		}
	}
}

static void on_eof(struct http_conn *c, void *user)
{
	struct websocket *s = user;
	s->closing = true;
	http_conn_close(c);
}

static void on_drain(struct http_conn *c, void *user)
{
	struct websocket *s = user;
	(void)c;
	if (!s->wants_drain)
		return;
	s->wants_drain = false;
	watch_peer_drained(s->watcher);
}

static void on_close(struct http_conn *c, void *user)
{
	struct websocket *s = user;
	(void)c;
	watch_peer_closed(s->watcher);
	free(s);
}

/* The handshake */

static void accept_key(const char *key, struct strbuf *out)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* 1.3 */
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	_cleanup_free_ char *text = str_printf("%s%s", key, guid);
	BUG_ON(EVP_Digest(text, strlen(text), md, &len, EVP_sha1(), NULL) != 1);
	base64_encode(out, md, len);
}

static const char *refusal(const struct http_request *req)
{
	const char *key = http_header(req, "Sec-WebSocket-Key"), *protocol = http_header(req, "Sec-WebSocket-Protocol");
	_cleanup_strbuf_ struct strbuf nonce = { 0 };
	if (!str_eq(http_header(req, "Sec-WebSocket-Version"), "13"))
		return "the WebSocket version is not 13";
	if (str_empty(key) || base64_decode(&nonce, key, strlen(key)) < 0 || nonce.len != KEY_BYTES)
		return "Sec-WebSocket-Key is not the base64 of 16 bytes";
	if (protocol && protocol[strcspn(protocol, ", \t")])
		return "a watch has no use for several WebSocket protocols: offer one or none";
	return NULL;
}

struct websocket *websocket_accept(struct http_request *req, bool text, const char **ret_why)
{
	static const struct http_conn_callbacks callbacks = { on_data, on_eof, on_drain, on_close };
	const char *protocol = http_header(req, "Sec-WebSocket-Protocol");
	_cleanup_strbuf_ struct strbuf head = { 0 };
	struct websocket *s;
	*ret_why = refusal(req);
	if (*ret_why)
		return NULL;
	s = mem_new(struct websocket);
	s->text = text;
	if (http_hijack(req, &callbacks, s, &s->conn) < 0) {
		free(s);
		*ret_why = "the connection cannot be upgraded";
		return NULL;
	}
	strbuf_adds(&head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
	accept_key(http_header(req, "Sec-WebSocket-Key"), &head);
	if (protocol)
		strbuf_addf(&head, "\r\nSec-WebSocket-Protocol: %s", protocol);
	strbuf_adds(&head, "\r\n\r\n");
	http_conn_write(s->conn, head.data, head.len);
	return s;
}

/* As a peer of the hub */

static void peer_attach(void *peer, struct watcher *w)
{
	struct websocket *s = peer;
	s->watcher = w;
}

static void peer_write(void *peer, struct bytes *frame)
{
	struct websocket *s = peer;
	/* Binary events have their length in front for streams; a message knows its own. */
	size_t skip = s->text ? 0 : sizeof(uint32_t);
	write_frame(s, s->text ? OP_TEXT : OP_BINARY, frame->data + skip, frame->len - skip);
}

static size_t peer_queued(const void *peer)
{
	const struct websocket *s = peer;
	return http_conn_queued(s->conn);
}

static void peer_on_drain(void *peer)
{
	struct websocket *s = peer;
	s->wants_drain = true;
}

static void peer_end(void *peer)
{
	struct websocket *s = peer;
	if (!s->closing)
		close_with(s, CLOSE_NORMAL);
}

static void peer_cut(void *peer)
{
	struct websocket *s = peer;
	s->closing = true;
	http_conn_close(s->conn);
}

const struct watch_peer_ops watch_peer_websocket = { peer_attach, peer_write, peer_queued, peer_on_drain, peer_end, peer_cut };
