/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs that a node's proxy has attached, taken from its interfaces, and run on packets of ours with the maps they
 * have: what comes in on a link passes XDP, when there is such a program, and then tc.
 */
#ifndef KEELSON_TESTS_BPF_PROGRAMS_H
#define KEELSON_TESTS_BPF_PROGRAMS_H

#include "tests/bpf/packet.h"
#include "tests/lab/lab.h"

struct link_programs {
	unsigned ifindex;
	uint8_t mac[6];
	int tc, tc_egress, xdp; /* -1: none attached */
};
/* Of an interface of a node. false when there is no such interface. */
bool programs_of(struct lab *l, unsigned node, const char *link, struct link_programs *ret);
void programs_done(struct link_programs *p);

enum fate { FATE_PASSED, FATE_SENT, FATE_DROPPED, FATE_ERROR }; /* to the kernel, out of a link by the program itself, gone */
/* Runs the packet through the link's ingress; it is changed in place. */
enum fate programs_run(struct lab *l, unsigned node, const struct link_programs *p, bool with_xdp, struct packet *packet);

#endif
