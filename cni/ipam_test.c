/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The address allocator: order, exhaustion, reclaiming, remains of cut-short calls, several processes, kill -9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "cni/ipam.h"

static char dir[40];
static const char *dead_link; /* the links that exist: all but this one; NULL: none do */
static bool all_exist;

static bool exists(const char *name, void *user _unused_)
{
	return all_exist && !(dead_link && strcmp(name, dead_link) == 0);
}

static int setup(void **state _unused_)
{
	strcpy(dir, "/tmp/cni-ipam-test-XXXXXX");
	all_exist = false;
	dead_link = NULL;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state _unused_)
{
	return file_rm_rf(dir);
}

/* A configuration with one subnet, or two with a comma. */
static struct conf network(const char *subnets)
{
	struct conf c = { 0 };
	char text[128], *save = NULL;

	snprintf(text, sizeof(text), "%s", subnets);
	for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save))
		assert_int_equal(ip_prefix_parse(p, &c.subnets[c.subnet_count++].prefix), 0);
	return c;
}

/* The address given to the container, or the code of the failure. */
static const char *reserve(const char *subnet, const char *id, struct ipam_lease *ret)
{
	static char out[2 * IP_ADDR_TEXT_SIZE + 1];
	struct conf c = network(subnet);
	char ip[IP_ADDR_TEXT_SIZE];
	struct ipam_lease lease;
	struct ipam i;
	struct fail f;

	assert_int_equal(ipam_open(&i, dir, "net", &f), 0);
	if (ipam_reserve(&i, &c, id, "eth0", exists, NULL, &lease, &f) < 0) {
		snprintf(out, sizeof(out), "%d", f.code);
	} else {
		out[0] = '\0';
		for (size_t n = 0; n < lease.addr_count; n++)
			snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", n ? " " : "", ip_format(&lease.addrs[n], ip));
		if (ret)
			*ret = lease;
	}
	ipam_close(&i);
	return out;
}

static void release(const char *id)
{
	struct ipam_lease lease;
	struct ipam i;
	struct fail f;

	assert_int_equal(ipam_open_existing(&i, dir, "net", &f), 0);
	assert_int_equal(ipam_find(&i, id, "eth0", &lease, &f), 0);
	assert_int_equal(ipam_release(&i, &lease, id, "eth0", &f), 0);
	assert_int_equal(ipam_release(&i, &lease, id, "eth0", &f), 0);
	assert_int_equal(ipam_find(&i, id, "eth0", &lease, &f), 1);
	ipam_close(&i);
}

static void round_robin(void **state _unused_)
{
	assert_string_equal(reserve("10.0.0.0/29", "a", NULL), "10.0.0.2");
	assert_string_equal(reserve("10.0.0.0/29", "b", NULL), "10.0.0.3");
	release("a");
	assert_string_equal(reserve("10.0.0.0/29", "c", NULL), "10.0.0.4");
	assert_string_equal(reserve("10.0.0.0/29", "d", NULL), "10.0.0.5");
	assert_string_equal(reserve("10.0.0.0/29", "e", NULL), "10.0.0.6");
	/* Neither the broadcast address nor network and gateway. */
	assert_string_equal(reserve("10.0.0.0/29", "f", NULL), "10.0.0.2");
}

static void smallest(void **state _unused_)
{
	assert_string_equal(reserve("10.0.0.0/30", "a", NULL), "10.0.0.2");
	all_exist = true;
	assert_string_equal(reserve("10.0.0.0/30", "b", NULL), "11");
	release("a");
	all_exist = false;
	assert_string_equal(reserve("10.0.0.0/30", "b", NULL), "10.0.0.2");
}

static void reclaims_dead(void **state _unused_)
{
	struct ipam_lease lease;

	assert_string_equal(reserve("10.0.0.0/29", "a", NULL), "10.0.0.2");
	assert_string_equal(reserve("10.0.0.0/29", "b", &lease), "10.0.0.3");
	reserve("10.0.0.0/29", "c", NULL);
	reserve("10.0.0.0/29", "d", NULL);
	assert_string_equal(reserve("10.0.0.0/29", "e", NULL), "10.0.0.6");
	/* The new one's own link names must be free, all others are there. */
	all_exist = true;
	dead_link = lease.veth;
	assert_string_equal(reserve("10.0.0.0/29", "f", NULL), "11"); /* b's is reclaimed, but no name is free for f */
	dead_link = NULL;
	all_exist = false;
	assert_string_equal(reserve("10.0.0.0/29", "f", NULL), "10.0.0.3");
}

static void taken_over(void **state _unused_)
{
	struct ipam_lease first, second;

	reserve("10.0.0.0/24", "a", &first);
	reserve("10.0.0.0/24", "a", &second);
	assert_false(first.found);
	assert_true(second.found);
	assert_true(ip_addr_eq(&first.addrs[0], &second.addrs[0]));
	assert_string_equal(first.veth, second.veth);
	/* The node has got another subnet: the old lease goes. */
	assert_string_equal(reserve("10.0.1.0/24", "a", &second), "10.0.1.2");
	assert_false(second.found);
	release("a");
}

static void link_names(void **state _unused_)
{
	char first[IFNAMSIZ], second[IFNAMSIZ];
	struct ipam_lease lease;
	struct ipam i;
	struct fail f;
	char taken[128];

	ipam_veth_name("a", "eth0", 0, first);
	ipam_veth_name("a", "eth0", 1, second);
	assert_int_equal(strlen(first), 10);
	assert_string_not_equal(first, second);
	/* Another lease has the name already. */
	assert_int_equal(ipam_open(&i, dir, "net", &f), 0);
	assert_false(ipam_uses_link(&i, first));
	snprintf(taken, sizeof(taken), "%s/net/10.0.0.9:%s:eth0:other", dir, first);
	close(open(taken, O_CREAT | O_WRONLY, 0600));
	assert_true(ipam_uses_link(&i, first));
	ipam_close(&i);
	assert_string_equal(reserve("10.0.0.0/24", "a", &lease), "10.0.0.2");
	assert_string_equal(lease.veth, second);
}

static void strange_files(void **state _unused_)
{
	static const char *const names[] = { "x", "10.0.0.2", "10.0.0.2:", "10.0.0.2:kl0::c", "1:2:3:4", "fd00--1:a", "fd00--g:a:b:c", ":::", "last.tmp" };
	char path[300];

	reserve("10.0.0.0/24", "z", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/net/%s", dir, names[i]);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	snprintf(path, sizeof(path), "%s/net/last", dir);
	assert_int_equal(file_write_atomic(path, "10.0.0.999\n", 11, 0600), 0);
	assert_string_equal(reserve("10.0.0.0/24", "a", NULL), "10.0.0.3");
	assert_int_equal(file_write_atomic(path, "", 0, 0600), 0);
	assert_string_equal(reserve("10.0.0.0/24", "b", NULL), "10.0.0.4");
	assert_int_equal(file_write_atomic(path, "10.0.0.254", 10, 0600), 0);
	assert_string_equal(reserve("10.0.0.0/24", "c", NULL), "10.0.0.5"); /* wraps around */
}

static void whole_16(void **state _unused_)
{
	char path[80];

	assert_string_equal(reserve("10.0.0.0/16", "a", NULL), "10.0.0.2");
	snprintf(path, sizeof(path), "%s/net/last", dir);
	assert_int_equal(file_write_atomic(path, "10.0.255.253\n", 13, 0600), 0);
	assert_string_equal(reserve("10.0.0.0/16", "b", NULL), "10.0.255.254");
	assert_string_equal(reserve("10.0.0.0/16", "c", NULL), "10.0.0.3");
}

/* Two addresses a pod, in the order of the subnets, each family with its own turn. */
static void two_families(void **state _unused_)
{
	struct ipam_lease lease;
	char path[300];
	struct ipam i;
	struct fail f;

	assert_string_equal(reserve("10.0.0.0/24,fd00::/64", "a", &lease), "10.0.0.2 fd00::2");
	assert_string_equal(reserve("10.0.0.0/24,fd00::/64", "b", NULL), "10.0.0.3 fd00::3");
	assert_string_equal(reserve("fd00::/64", "c", NULL), "fd00::4");
	assert_string_equal(reserve("fd00::/64,10.0.0.0/24", "d", NULL), "fd00::5 10.0.0.4");
	release("a");
	release("c");
	assert_string_equal(reserve("10.0.0.0/24,fd00::/64", "e", NULL), "10.0.0.5 fd00::6");
	/* An ADD that was killed between the two files. */
	snprintf(path, sizeof(path), "%s/net/10.0.0.77:kl01234567:eth0:half", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_string_equal(reserve("10.0.0.0/24,fd00::/64", "half", &lease), "10.0.0.77 fd00::7");
	assert_true(lease.found);
	assert_string_equal(lease.veth, "kl01234567");
	/* The node lost a family: what is not in a subnet any more goes. */
	assert_string_equal(reserve("fd00::/64", "half", &lease), "fd00::7");
	assert_int_equal(ipam_open_existing(&i, dir, "net", &f), 0);
	assert_int_equal(ipam_find(&i, "half", "eth0", &lease, &f), 0);
	assert_int_equal(lease.addr_count, 1);
	ipam_close(&i);
	/* One family is full: nothing is given, nothing is left of the other. */
	all_exist = true;
	assert_string_equal(reserve("10.9.0.0/30,fd00::/64", "x", NULL), "11"); /* no link name is free */
	all_exist = false;
	assert_string_equal(reserve("10.9.0.0/30", "x", NULL), "10.9.0.2");
	all_exist = true;
	assert_int_equal(ipam_open_existing(&i, dir, "net", &f), 0);
	assert_int_equal(ipam_find(&i, "y", "eth0", &lease, &f), 1);
	ipam_close(&i);
}

/* 64 bits of addresses: the end of the range, and its beginning again. */
static void whole_64(void **state _unused_)
{
	char path[80];

	assert_string_equal(reserve("fd00:1:2:3::/64", "a", NULL), "fd00:1:2:3::2");
	snprintf(path, sizeof(path), "%s/net/last6", dir);
	assert_int_equal(file_write_atomic(path, "fd00:1:2:3:ffff:ffff:ffff:fffe\n", 31, 0600), 0);
	assert_string_equal(reserve("fd00:1:2:3::/64", "b", NULL), "fd00:1:2:3:ffff:ffff:ffff:ffff");
	assert_string_equal(reserve("fd00:1:2:3::/64", "c", NULL), "fd00:1:2:3::3");
	assert_int_equal(file_write_atomic(path, "fd00:9::1\n", 10, 0600), 0);
	assert_string_equal(reserve("fd00:1:2:3::/64", "d", NULL), "fd00:1:2:3::4");
	assert_string_equal(reserve("fd00::/126", "e", NULL), "fd00::2");
	assert_string_equal(reserve("fd00::/126", "f", NULL), "fd00::3");
}

static void ports(void **state _unused_)
{
	struct conf_port in[2] = { { .host_port = 80, .port = 8080, .proto = IPPROTO_TCP }, { .host_port = 53, .port = 53, .proto = IPPROTO_UDP } };
	struct conf_port out[CONF_PORTS_MAX];
	struct ipam_lease lease;
	struct ipam i;
	struct fail f;

	ip_parse("2001:db8::1", &in[1].host_ip);
	reserve("10.0.0.0/24,fd00::/64", "a", &lease);
	assert_int_equal(ipam_open_existing(&i, dir, "net", &f), 0);
	assert_int_equal(ipam_find(&i, "a", "eth0", &lease, &f), 0);
	assert_false(lease.has_ports);
	assert_int_equal(ipam_ports_write(&i, &lease, "a", "eth0", in, 2, &f), 0);
	assert_int_equal(ipam_find(&i, "a", "eth0", &lease, &f), 0);
	assert_true(lease.has_ports);
	assert_int_equal(ipam_ports_find(&i, &lease, "a", "eth0", out), 2);
	assert_memory_equal(in, out, sizeof(in));
	ipam_close(&i);
	release("a");
}

static void no_state(void **state _unused_)
{
	struct ipam i;
	struct fail f;
	char path[80];

	assert_int_equal(ipam_open_existing(&i, dir, "none", &f), 1);
	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(ipam_open(&i, path, "net", &f), -1);
	assert_int_equal(f.code, FAIL_IO);
	assert_non_null(strstr(f.msg, path));
}

/* Leases in the directory; no address stands there twice. */
static size_t count_leases(void)
{
	static bool seen[65536];
	char path[80];
	struct dirent *de;
	size_t n = 0;
	DIR *d;

	memset(seen, 0, sizeof(seen));
	snprintf(path, sizeof(path), "%s/net", dir);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d))) {
		unsigned a, b;

		if (sscanf(de->d_name, "10.0.%u.%u:", &a, &b) != 2)
			continue;
		assert_false(seen[a * 256 + b]);
		seen[a * 256 + b] = true;
		n++;
	}
	closedir(d);
	return n;
}

static void worker(unsigned n)
{
	for (unsigned k = 0;; k = (k + 1) % 5) {
		char id[32];
		struct ipam_lease lease;
		struct ipam i;
		struct fail f;

		snprintf(id, sizeof(id), "w%u-%u", n, k);
		reserve("10.0.0.0/24", id, &lease);
		if (ipam_open_existing(&i, dir, "net", &f) == 0 && rand() % 3)
			ipam_release(&i, &lease, id, "eth0", &f);
		ipam_close(&i);
	}
}

/* Workers take and give back until they are killed; whatever the instant, the state is whole and nothing leaks. */
static void killed(void **state _unused_)
{
	enum { ROUNDS = 40, WORKERS = 3 };

	reserve("10.0.0.0/24", "first", NULL);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[WORKERS];

		for (unsigned w = 0; w < WORKERS; w++) {
			pids[w] = fork();
			if (pids[w] == 0) {
				srand((unsigned)round * 7 + w);
				worker(w);
				_exit(0);
			}
		}
		usleep((useconds_t)(500 + rand() % 4000));
		for (unsigned w = 0; w < WORKERS; w++)
			kill(pids[w], SIGKILL);
		for (unsigned w = 0; w < WORKERS; w++)
			waitpid(pids[w], NULL, 0);
		assert_true(count_leases() <= WORKERS * 5 + 1);
	}
	/* What DEL would do for each: all goes. */
	for (unsigned w = 0; w < WORKERS; w++) {
		for (unsigned k = 0; k < 5; k++) {
			struct ipam_lease lease;
			struct ipam i;
			struct fail f;
			char id[32];

			snprintf(id, sizeof(id), "w%u-%u", w, k);
			assert_int_equal(ipam_open_existing(&i, dir, "net", &f), 0);
			if (ipam_find(&i, id, "eth0", &lease, &f) == 0)
				assert_int_equal(ipam_release(&i, &lease, id, "eth0", &f), 0);
			ipam_close(&i);
		}
	}
	assert_int_equal(count_leases(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(round_robin, setup, teardown),
		cmocka_unit_test_setup_teardown(smallest, setup, teardown),
		cmocka_unit_test_setup_teardown(reclaims_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_over, setup, teardown),
		cmocka_unit_test_setup_teardown(link_names, setup, teardown),
		cmocka_unit_test_setup_teardown(strange_files, setup, teardown),
		cmocka_unit_test_setup_teardown(whole_16, setup, teardown),
		cmocka_unit_test_setup_teardown(two_families, setup, teardown),
		cmocka_unit_test_setup_teardown(whole_64, setup, teardown),
		cmocka_unit_test_setup_teardown(ports, setup, teardown),
		cmocka_unit_test_setup_teardown(no_state, setup, teardown),
		cmocka_unit_test_setup_teardown(killed, setup, teardown),
	};

	return cmocka_run_group_tests_name("ipam", tests, NULL, NULL);
}
