/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers and clients of a lab in one event loop: servers answer whatever comes with their name, the client's address as
 * they saw it, their own, and the number of the question. Nothing here blocks longer than it was told to.
 */
#ifndef KEELSON_TESTS_LAB_TALK_H
#define KEELSON_TESTS_LAB_TALK_H

#include "tests/lab/lab.h"

struct talk;
struct talk *talk_new(struct lab *l);
struct talk *talk_free(struct talk *t); /* closes every socket of it */

/* Serves TCP and UDP, IPv4 and IPv6, on a port of the place. The name has at most 15 characters. The number names the server. */
int talk_serve(struct talk *t, struct lab_place at, uint16_t port, const char *name);
/* Closes its sockets, those of accepted connections too: as a pod that is gone. */
void talk_unserve(struct talk *t, int server);

struct talk_answer {
	int error;                 /* 0: answered; else an errno: ECONNREFUSED, ETIMEDOUT (silence), EINVAL... */
	char name[16];
	struct ip_addr client, local, from; /* whom the server saw, what it was addressed as, where the answer came from */
	uint16_t client_port, local_port, from_port;
	size_t bytes;              /* of the answer */
};
/* One client socket. It stays open for more questions until talk_close(). */
struct talk_client;
enum talk_kind {
	TALK_TCP,
	TALK_UDP,           /* unconnected: sendto and recvfrom */
	TALK_UDP_CONNECTED,
};
/* TCP: connects, waiting at most timeout_ms. Own; *ret_error says why it is NULL. port 0: any local port. */
struct talk_client *talk_open(struct talk *t, struct lab_place from, enum talk_kind kind, const struct ip_addr *to,
			      uint16_t to_port, uint16_t local_port, int timeout_ms, int *ret_error);
void talk_close(struct talk *t, struct talk_client *c);
/* One question of `bytes` (at least 16) and its answer of the same size. */
void talk_ask(struct talk *t, struct talk_client *c, size_t bytes, int timeout_ms, struct talk_answer *ret);
/* Open, ask, close. */
void talk_once(struct talk *t, struct lab_place from, enum talk_kind kind, const struct ip_addr *to, uint16_t to_port,
	       int timeout_ms, struct talk_answer *ret);

/* Steady flows: questions are sent without waiting; the loop counts the answers as they come. */
void talk_send(struct talk *t, struct talk_client *c);
/* Runs the loop until every answer is there or timeout_ms are over. */
void talk_settle(struct talk *t, struct talk_client *c, int timeout_ms);
struct talk_count {
	uint64_t sent, answered, errors;
	int last_error;
};
struct talk_count talk_counted(const struct talk_client *c);
const char *talk_name(const struct talk_client *c); /* of the server that answered last; "" none */
/* How many different servers have answered this client so far, changes of mind included. */
unsigned talk_changes(const struct talk_client *c);
int talk_fd(const struct talk_client *c); /* borrow */

/* Runs the loop for that long; 0: only what is there. */
void talk_run(struct talk *t, int ms);
const char *talk_text(const struct talk_answer *a, char out[static 160]);

#endif
