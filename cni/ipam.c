/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address allocator. Every change of state is one openat(O_CREAT | O_EXCL) or one unlinkat(); the "last" file is a
 * hint for round-robin only, and anything in it is survived. Nothing is synced to disk: after a crash of the machine the
 * pods are gone as well, and leases that came back have no link and are reclaimed.
 */
#include "cni/ipam.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { NAME_SIZE = 256, VETH_TRIES = 8, SUBNET_MAX = 65536 };

struct entry {
	struct ip_addr addr;
	char veth[IFNAMSIZ], ifname[IFNAMSIZ];
	const char *container_id;
	char name[NAME_SIZE];
};

static void state_path(char *out, size_t size, const char *data_dir, const char *network)
{
	snprintf(out, size, "%s/%s", data_dir, network);
}

int ipam_open(struct ipam *i, const char *data_dir, const char *network, struct fail *f)
{
	char dir[4096], lock[4112];
	int r;

	*i = (struct ipam){ .dir_fd = -1, .lock_fd = -1 };
	if (strlen(data_dir) > sizeof(dir) - NAME_SIZE)
		return fail_set(f, FAIL_CONFIG, "dataDir is too long a path");
	state_path(dir, sizeof(dir), data_dir, network);
	i->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->dir_fd < 0) {
		r = file_mkdir_p(dir, 0700);
		if (r < 0)
			return fail_set(f, FAIL_IO, "create %s: %s", dir, strerror(-r));
		i->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (i->dir_fd < 0)
		return fail_set(f, FAIL_IO, "open %s: %s", dir, strerror(errno));
	snprintf(lock, sizeof(lock), "%s/lock", dir);
	r = file_lock(lock, true, &i->lock_fd);
	if (r < 0) {
		ipam_close(i);
		return fail_set(f, FAIL_IO, "lock %s: %s", lock, strerror(-r));
	}
	return 0;
}

int ipam_open_existing(struct ipam *i, const char *data_dir, const char *network, struct fail *f)
{
	char dir[4096];

	*i = (struct ipam){ .dir_fd = -1, .lock_fd = -1 };
	if (strlen(data_dir) > sizeof(dir) - NAME_SIZE)
		return fail_set(f, FAIL_CONFIG, "dataDir is too long a path");
	state_path(dir, sizeof(dir), data_dir, network);
	i->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (i->dir_fd >= 0)
		return 0;
	if (errno == ENOENT)
		return 1;
	return fail_set(f, FAIL_IO, "open %s: %s", dir, strerror(errno));
}

void ipam_close(struct ipam *i)
{
	if (i->lock_fd >= 0)
		close(i->lock_fd);
	if (i->dir_fd >= 0)
		close(i->dir_fd);
	*i = (struct ipam){ .dir_fd = -1, .lock_fd = -1 };
}

void ipam_veth_name(const char *container_id, const char *ifname, unsigned n, char out[static IFNAMSIZ])
{
	uint64_t h = hash_bytes(ifname, strlen(ifname), hash_bytes(container_id, strlen(container_id), n));

	snprintf(out, IFNAMSIZ, "kl%08x", (unsigned)(h ^ h >> 32));
}

static void entry_name(char *out, const struct ip_addr *addr, const char *veth, const char *ifname, const char *container_id)
{
	char ip[IP_ADDR_TEXT_SIZE];

	snprintf(out, NAME_SIZE, "%s:%s:%s:%s", ip_format(addr, ip), veth, ifname, container_id);
}

static bool take_part(char *out, size_t size, const char **s)
{
	size_t n = strcspn(*s, ":");

	if (n == 0 || n >= size || !(*s)[n])
		return false;
	memcpy(out, *s, n);
	out[n] = '\0';
	*s += n + 1;
	return true;
}

/* False for what is no lease: lock, last, and whatever somebody else put there. */
static bool entry_parse(struct entry *e, const char *name)
{
	char ip[INET_ADDRSTRLEN];
	const char *s = e->name;

	if (strlen(name) >= sizeof(e->name))
		return false;
	memcpy(e->name, name, strlen(name) + 1);
	if (!take_part(ip, sizeof(ip), &s) || !take_part(e->veth, sizeof(e->veth), &s) ||
	    !take_part(e->ifname, sizeof(e->ifname), &s) || !*s)
		return false;
	e->container_id = s;
	return ip_parse(ip, &e->addr) == 0 && e->addr.family == AF_INET;
}

/* Calls fn for each lease; stops when it returns false. */
static int each(struct ipam *i, bool (*fn)(const struct entry *e, void *user), void *user, struct fail *f)
{
	int fd = openat(i->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *de;
	struct entry e;
	int r;

	if (!d) {
		r = errno;
		if (fd >= 0)
			close(fd);
		return fail_set(f, FAIL_IO, "list the address state: %s", strerror(r));
	}
	errno = 0;
	while ((de = readdir(d))) {
		if (entry_parse(&e, de->d_name) && !fn(&e, user))
			break;
		errno = 0;
	}
	r = de ? 0 : errno;
	closedir(d);
	return r ? fail_set(f, FAIL_IO, "list the address state: %s", strerror(r)) : 0;
}

struct owner_search {
	const char *container_id, *ifname;
	struct ipam_lease *lease;
	bool found;
};

static bool match_owner(const struct entry *e, void *user)
{
	struct owner_search *s = user;

	if (strcmp(e->container_id, s->container_id) != 0 || strcmp(e->ifname, s->ifname) != 0)
		return true;
	s->lease->addr = e->addr;
	memcpy(s->lease->veth, e->veth, sizeof(s->lease->veth));
	s->found = true;
	return false;
}

int ipam_find(struct ipam *i, const char *container_id, const char *ifname, struct ipam_lease *ret, struct fail *f)
{
	struct ipam_lease lease = { 0 };
	struct owner_search s = { .container_id = container_id, .ifname = ifname, .lease = &lease };

	if (each(i, match_owner, &s, f) < 0)
		return -1;
	if (!s.found)
		return 1;
	*ret = lease;
	return 0;
}

struct link_search {
	const char *name;
	bool found;
};

static bool match_link(const struct entry *e, void *user)
{
	struct link_search *s = user;

	s->found = strcmp(e->veth, s->name) == 0;
	return !s->found;
}

bool ipam_uses_link(struct ipam *i, const char *name)
{
	struct link_search s = { .name = name };
	struct fail ignored;

	/* When in doubt, it is in use. */
	return each(i, match_link, &s, &ignored) < 0 || s.found;
}

int ipam_release(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		 struct fail *f)
{
	char name[NAME_SIZE];

	entry_name(name, &lease->addr, lease->veth, ifname, container_id);
	if (unlinkat(i->dir_fd, name, 0) < 0 && errno != ENOENT)
		return fail_set(f, FAIL_IO, "release %s: %s", name, strerror(errno));
	return 0;
}

/* What one look at the directory tells a new lease. */
struct survey {
	struct ipam *ipam;
	uint32_t base, size; /* of the subnet */
	uint32_t used;
	uint8_t taken[SUBNET_MAX / 8];
	struct owner_search owner;
	char veth[VETH_TRIES][IFNAMSIZ];
	bool veth_taken[VETH_TRIES];
	/* Reclaiming. */
	ipam_link_exists exists;
	void *user;
};

static bool survey_entry(const struct entry *e, void *user)
{
	struct survey *s = user;
	uint32_t at = conf_ip4(&e->addr) - s->base;

	match_owner(e, &s->owner);
	for (size_t n = 0; n < VETH_TRIES; n++)
		s->veth_taken[n] = s->veth_taken[n] || strcmp(e->veth, s->veth[n]) == 0;
	if (at < s->size && !(s->taken[at / 8] & 1 << at % 8)) {
		s->taken[at / 8] |= (uint8_t)(1 << at % 8);
		s->used++;
	}
	return true;
}

static bool reclaim_entry(const struct entry *e, void *user)
{
	struct survey *s = user;
	uint32_t at = conf_ip4(&e->addr) - s->base;

	if (!s->exists(e->veth, s->user) && unlinkat(s->ipam->dir_fd, e->name, 0) == 0 && at < s->size) {
		s->taken[at / 8] &= (uint8_t)~(1 << at % 8);
		s->used--;
	}
	return true;
}

static uint32_t read_last(struct ipam *i)
{
	char text[INET_ADDRSTRLEN + 1] = "";
	struct ip_addr a;
	int fd = openat(i->dir_fd, "last", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
	return ip_parse(text, &a) == 0 && a.family == AF_INET ? conf_ip4(&a) : 0;
}

static void write_last(struct ipam *i, const struct ip_addr *addr)
{
	char ip[IP_ADDR_TEXT_SIZE], text[INET_ADDRSTRLEN + 2];
	int fd = openat(i->dir_fd, "last", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	/* Always as long as the longest: one write, nothing of an older, longer one behind it. */
	snprintf(text, sizeof(text), "%s\n                ", ip_format(addr, ip));
	(void)!write(fd, text, INET_ADDRSTRLEN);
	close(fd);
}

/* The first free address behind the last one given; the network, gateway and broadcast addresses are never given. */
static bool pick(const struct survey *s, uint32_t last, uint32_t *ret)
{
	uint32_t first = 2, count = s->size - 3, start = last - s->base - first;

	if (start >= count)
		start = count - 1;
	for (uint32_t n = 1; n <= count; n++) {
		uint32_t at = first + (start + n) % count;

		if (!(s->taken[at / 8] & 1 << at % 8)) {
			*ret = s->base + at;
			return true;
		}
	}
	return false;
}

static bool choose_veth(const struct survey *s, char out[static IFNAMSIZ])
{
	for (size_t n = 0; n < VETH_TRIES; n++) {
		if (s->veth_taken[n] || s->exists(s->veth[n], s->user))
			continue;
		memcpy(out, s->veth[n], IFNAMSIZ);
		return true;
	}
	return false;
}

static int reserve(struct survey *s, const char *container_id, const char *ifname, struct ipam_lease *lease, struct fail *f)
{
	char name[NAME_SIZE];
	uint32_t addr;
	int fd;

	if (!pick(s, read_last(s->ipam), &addr)) {
		if (each(s->ipam, reclaim_entry, s, f) < 0)
			return -1;
		if (!pick(s, read_last(s->ipam), &addr))
			return fail_set(f, FAIL_TRY_AGAIN, "no free address: all %u of the subnet are in use", s->size - 3);
	}
	if (!choose_veth(s, lease->veth))
		return fail_set(f, FAIL_TRY_AGAIN, "no free name for the host's end of the veth pair");
	lease->addr = conf_ip4_addr(addr);
	entry_name(name, &lease->addr, lease->veth, ifname, container_id);
	write_last(s->ipam, &lease->addr);
	fd = openat(s->ipam->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_set(f, FAIL_IO, "reserve %s: %s", name, strerror(errno));
	close(fd);
	return 0;
}

int ipam_reserve(struct ipam *i, const struct ip_prefix *subnet, const char *container_id, const char *ifname,
		 ipam_link_exists exists, void *user, struct ipam_lease *ret, struct fail *f)
{
	struct ipam_lease lease = { 0 };
	_cleanup_free_ struct survey *s = mem_new(struct survey);

	s->ipam = i;
	s->base = conf_ip4(&subnet->addr);
	s->size = conf_prefix_size(subnet);
	s->exists = exists;
	s->user = user;
	s->owner = (struct owner_search){ .container_id = container_id, .ifname = ifname, .lease = &lease };
	for (unsigned n = 0; n < VETH_TRIES; n++)
		ipam_veth_name(container_id, ifname, n, s->veth[n]);
	if (each(i, survey_entry, s, f) < 0)
		return -1;
	if (s->owner.found && ip_prefix_contains(subnet, &lease.addr)) {
		lease.found = true;
		*ret = lease;
		return 0;
	}
	/* A lease of a subnet that the node had before. */
	if (s->owner.found && ipam_release(i, &lease, container_id, ifname, f) < 0)
		return -1;
	if (reserve(s, container_id, ifname, &lease, f) < 0)
		return -1;
	*ret = lease;
	return 0;
}
