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
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { NAME_SIZE = 256, VETH_TRIES = 8, PORTS_TEXT_SIZE = CONF_PORTS_MAX * 80 };

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

static void swap_char(char *s, char from, char to)
{
	for (; *s; s++)
		if (*s == from)
			*s = to;
}

static void entry_name(char *out, const struct ip_addr *addr, const char *veth, const char *ifname, const char *container_id)
{
	char ip[IP_ADDR_TEXT_SIZE];

	ip_format(addr, ip);
	swap_char(ip, ':', '-');
	snprintf(out, NAME_SIZE, "%s:%s:%s:%s", ip, veth, ifname, container_id);
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
static bool entry_parse(struct ipam_entry *e, const char *name)
{
	char ip[INET6_ADDRSTRLEN];
	const char *s = e->name;

	if (strlen(name) >= sizeof(e->name))
		return false;
	memcpy(e->name, name, strlen(name) + 1);
	if (!take_part(ip, sizeof(ip), &s) || !take_part(e->veth, sizeof(e->veth), &s) ||
	    !take_part(e->ifname, sizeof(e->ifname), &s) || !*s)
		return false;
	e->container_id = s;
	swap_char(ip, '-', ':');
	return ip_parse(ip, &e->addr) == 0;
}

int ipam_each(struct ipam *i, bool (*fn)(const struct ipam_entry *e, void *user), void *user, struct fail *f)
{
	int fd = openat(i->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *de;
	struct ipam_entry e;
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
	struct ipam *ipam;
	const char *container_id, *ifname;
	struct ipam_lease *lease;
};

static bool match_owner(const struct ipam_entry *e, void *user)
{
	struct owner_search *s = user;
	struct ipam_lease *l = s->lease;
	struct stat st;

	if (strcmp(e->container_id, s->container_id) != 0 || strcmp(e->ifname, s->ifname) != 0 ||
	    l->addr_count == ARRAY_SIZE(l->addrs))
		return true;
	l->addrs[l->addr_count++] = e->addr;
	memcpy(l->veth, e->veth, sizeof(l->veth));
	l->has_ports = l->has_ports || (fstatat(s->ipam->dir_fd, e->name, &st, 0) == 0 && st.st_size > 0);
	return true;
}

int ipam_find(struct ipam *i, const char *container_id, const char *ifname, struct ipam_lease *ret, struct fail *f)
{
	struct ipam_lease lease = { 0 };
	struct owner_search s = { .ipam = i, .container_id = container_id, .ifname = ifname, .lease = &lease };

	if (ipam_each(i, match_owner, &s, f) < 0)
		return -1;
	if (!lease.addr_count)
		return 1;
	*ret = lease;
	return 0;
}

struct link_search {
	const char *name;
	bool found;
};

static bool match_link(const struct ipam_entry *e, void *user)
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
	return ipam_each(i, match_link, &s, &ignored) < 0 || s.found;
}

int ipam_release(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		 struct fail *f)
{
	char name[NAME_SIZE];

	/* The first address last: with it go the ports' names. */
	for (size_t n = lease->addr_count; n-- > 0;) {
		entry_name(name, &lease->addrs[n], lease->veth, ifname, container_id);
		if (unlinkat(i->dir_fd, name, 0) < 0 && errno != ENOENT)
			return fail_set(f, FAIL_IO, "release %s: %s", name, strerror(errno));
	}
	return 0;
}

int ipam_release_entry(struct ipam *i, const struct ipam_entry *e, struct fail *f)
{
	if (unlinkat(i->dir_fd, e->name, 0) < 0 && errno != ENOENT)
		return fail_set(f, FAIL_IO, "release %s: %s", e->name, strerror(errno));
	return 0;
}

/* Host ports. */

int ipam_ports_write(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		     const struct conf_port *ports, size_t count, struct fail *f)
{
	_cleanup_free_ char *text = mem_alloc(PORTS_TEXT_SIZE);
	char name[NAME_SIZE], ip[IP_ADDR_TEXT_SIZE];
	size_t len = 0;
	bool ok;
	int fd;

	for (size_t n = 0; n < count; n++)
		len += (size_t)snprintf(text + len, PORTS_TEXT_SIZE - len, "%u %s %u %u\n", ports[n].proto,
					ports[n].host_ip.family ? ip_format(&ports[n].host_ip, ip) : "-", ports[n].host_port,
					ports[n].port);
	entry_name(name, &lease->addrs[0], lease->veth, ifname, container_id);
	fd = openat(i->dir_fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return fail_set(f, FAIL_IO, "note the host ports in %s: %s", name, strerror(errno));
	ok = write(fd, text, len) == (ssize_t)len;
	if (!ok)
		fail_record(f, FAIL_IO, "note the host ports in %s: %s", name, strerror(errno));
	close(fd);
	return ok ? 0 : -1;
}

static size_t read_ports(struct ipam *i, const char *name, struct conf_port *ret)
{
	_cleanup_free_ char *text = mem_zalloc(PORTS_TEXT_SIZE + 1);
	int fd = openat(i->dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, PORTS_TEXT_SIZE) : -1;
	char *save = NULL;
	size_t count = 0;

	if (fd >= 0)
		close(fd);
	for (char *line = len > 0 ? strtok_r(text, "\n", &save) : NULL; line && count < CONF_PORTS_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		struct conf_port p = { 0 };
		unsigned proto, host_port, port;
		char ip[64];

		if (sscanf(line, "%u %63s %u %u", &proto, ip, &host_port, &port) != 4 || (*ip != '-' && ip_parse(ip, &p.host_ip) < 0))
			continue;
		p.proto = (uint8_t)proto;
		p.host_port = (uint16_t)host_port;
		p.port = (uint16_t)port;
		ret[count++] = p;
	}
	return count;
}

size_t ipam_ports_read(struct ipam *i, const struct ipam_entry *e, struct conf_port ret[static CONF_PORTS_MAX])
{
	return read_ports(i, e->name, ret);
}

size_t ipam_ports_find(struct ipam *i, const struct ipam_lease *lease, const char *container_id, const char *ifname,
		       struct conf_port ret[static CONF_PORTS_MAX])
{
	char name[NAME_SIZE];
	size_t count = 0;

	for (size_t n = 0; n < lease->addr_count && count == 0; n++) {
		entry_name(name, &lease->addrs[n], lease->veth, ifname, container_id);
		count = read_ports(i, name, ret);
	}
	return count;
}

/* Choosing. An address is known by its distance from the subnet's first: 64 bits are enough for a /64. */

static uint64_t low_bits(const struct ip_addr *a)
{
	size_t size = conf_addr_size(a->family), from = size > 8 ? size - 8 : 0;
	uint64_t n = 0;

	for (size_t k = from; k < size; k++)
		n = n << 8 | a->bytes[k];
	return n;
}

static uint64_t offset(const struct ip_prefix *subnet, const struct ip_addr *a)
{
	return low_bits(a) - low_bits(&subnet->addr);
}

/* The largest that is given: IPv4 has a broadcast address behind it. */
static uint64_t last_offset(const struct ip_prefix *subnet)
{
	unsigned bits = conf_addr_size(subnet->addr.family) * 8 - subnet->len;
	uint64_t largest = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;

	return subnet->addr.family == AF_INET ? largest - 1 : largest;
}

/* What one look at the directory tells a new lease. */
struct survey {
	struct ipam *ipam;
	const struct ip_prefix *subnet; /* the one that an address is chosen from */
	uint64_t *taken;                /* offsets in it */
	size_t taken_count, taken_cap;
	struct owner_search owner;
	char veth[VETH_TRIES][IFNAMSIZ];
	bool veth_taken[VETH_TRIES];
	ipam_link_exists exists;
	void *user;
};

static bool survey_entry(const struct ipam_entry *e, void *user)
{
	struct survey *s = user;

	for (size_t n = 0; n < VETH_TRIES; n++)
		s->veth_taken[n] = s->veth_taken[n] || strcmp(e->veth, s->veth[n]) == 0;
	if (ip_prefix_contains(s->subnet, &e->addr)) {
		MEM_GROW(s->taken, s->taken_cap, s->taken_count + 1);
		s->taken[s->taken_count++] = offset(s->subnet, &e->addr);
	}
	return true;
}

static bool reclaim_entry(const struct ipam_entry *e, void *user)
{
	struct survey *s = user;
	struct stat st;

	if (s->exists(e->veth, s->user))
		return true;
	if (s->ipam->on_reclaim && fstatat(s->ipam->dir_fd, e->name, &st, 0) == 0 && st.st_size > 0)
		s->ipam->on_reclaim(s->ipam, e, s->user);
	unlinkat(s->ipam->dir_fd, e->name, 0);
	return true;
}

static const char *last_file(const struct ip_prefix *subnet)
{
	return subnet->addr.family == AF_INET6 ? "last6" : "last";
}

/* Of the address last given, 1 (the gateway's) when that is unknown or of another subnet. */
static uint64_t read_last(struct ipam *i, const struct ip_prefix *subnet)
{
	char text[INET6_ADDRSTRLEN + 1] = "";
	struct ip_addr a;
	int fd = openat(i->dir_fd, last_file(subnet), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
	return ip_parse(text, &a) == 0 && ip_prefix_contains(subnet, &a) ? offset(subnet, &a) : 1;
}

static void write_last(struct ipam *i, const struct ip_prefix *subnet, const struct ip_addr *addr)
{
	char ip[IP_ADDR_TEXT_SIZE], text[INET6_ADDRSTRLEN + 1];
	int fd = openat(i->dir_fd, last_file(subnet), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	/* Always as long as the longest: one write, nothing of an older, longer one behind it. */
	memset(text, ' ', sizeof(text));
	ip_format(addr, ip);
	memcpy(text, ip, strlen(ip));
	text[strlen(ip)] = '\n';
	(void)!write(fd, text, sizeof(text));
	close(fd);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The first free offset from start on, at most end. */
static bool free_from(const struct survey *s, uint64_t start, uint64_t end, uint64_t *ret)
{
	uint64_t at = start;

	for (size_t n = 0; n < s->taken_count; n++) {
		if (s->taken[n] < at)
			continue;
		if (s->taken[n] > at)
			break;
		if (at == end)
			return false;
		at++;
	}
	*ret = at;
	return at <= end;
}

/* The first free address behind the last one given; the network's, the gateway's and the broadcast address never are. */
static bool pick(struct survey *s, uint64_t *ret)
{
	uint64_t end = last_offset(s->subnet), last = read_last(s->ipam, s->subnet);

	if (s->taken_count)
		qsort(s->taken, s->taken_count, sizeof(*s->taken), by_number);
	if (last >= 1 && last < end && free_from(s, last + 1, end, ret))
		return true;
	return free_from(s, 2, end, ret);
}

/* As pick(), looking anew after the dead are gone when there is none. */
static int pick_or_reclaim(struct survey *s, uint64_t *ret, struct fail *f)
{
	for (int tries = 0; tries < 2; tries++) {
		s->taken_count = 0;
		if (tries == 1 && ipam_each(s->ipam, reclaim_entry, s, f) < 0)
			return -1;
		if (ipam_each(s->ipam, survey_entry, s, f) < 0)
			return -1;
		if (pick(s, ret))
			return 0;
	}
	return fail_set(f, FAIL_TRY_AGAIN, "no free address: all %llu of the subnet are in use",
			(unsigned long long)last_offset(s->subnet) - 1);
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

static int reserve(struct survey *s, struct ipam_lease *lease, struct fail *f)
{
	char name[NAME_SIZE];
	struct ip_addr addr = s->subnet->addr;
	uint64_t at;
	int fd;

	if (pick_or_reclaim(s, &at, f) < 0)
		return -1;
	if (!*lease->veth && !choose_veth(s, lease->veth))
		return fail_set(f, FAIL_TRY_AGAIN, "no free name for the host's end of the veth pair");
	BUG_ON(!ip_addr_add(&addr, at));
	entry_name(name, &addr, lease->veth, s->owner.ifname, s->owner.container_id);
	write_last(s->ipam, s->subnet, &addr);
	fd = openat(s->ipam->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_set(f, FAIL_IO, "reserve %s: %s", name, strerror(errno));
	close(fd);
	lease->addrs[lease->addr_count++] = addr;
	return 0;
}

/* The address of a lease that is in a subnet, or NULL. */
static const struct ip_addr *address_in(const struct ipam_lease *l, const struct ip_prefix *subnet)
{
	for (size_t n = 0; n < l->addr_count; n++)
		if (ip_prefix_contains(subnet, &l->addrs[n]))
			return &l->addrs[n];
	return NULL;
}

/* Takes over what an earlier ADD of the owner has: each address that is in a subnet. Others are of a configuration that the
 * node had before. */
static int adopt(struct survey *s, const struct conf *c, const struct ipam_lease *had, const struct ip_addr *ret[static 2],
		 struct fail *f)
{
	for (size_t n = 0; n < c->subnet_count; n++)
		ret[n] = address_in(had, &c->subnets[n].prefix);
	for (size_t k = 0; k < had->addr_count; k++) {
		struct ipam_lease one = { .addrs = { had->addrs[k] }, .addr_count = 1 };

		if (ret[0] == &had->addrs[k] || (c->subnet_count > 1 && ret[1] == &had->addrs[k]))
			continue;
		memcpy(one.veth, had->veth, sizeof(one.veth));
		if (ipam_release(s->ipam, &one, s->owner.container_id, s->owner.ifname, f) < 0)
			return -1;
	}
	return 0;
}

static struct survey *survey_new(struct ipam *i, ipam_link_exists exists, void *user)
{
	struct survey *s = mem_new(struct survey);

	s->ipam = i;
	s->exists = exists;
	s->user = user;
	return s;
}

static void survey_free(struct survey *s)
{
	free(s->taken);
	free(s);
}
DEFINE_CLEANUP(struct survey *, survey_free)

int ipam_reserve(struct ipam *i, const struct conf *c, const char *container_id, const char *ifname, ipam_link_exists exists,
		 void *user, struct ipam_lease *ret, struct fail *f)
{
	_cleanup_(survey_freep) struct survey *s = survey_new(i, exists, user);
	struct ipam_lease had = { 0 }, lease = { 0 };
	const struct ip_addr *kept[2] = { NULL, NULL };
	int found;

	s->owner = (struct owner_search){ .ipam = i, .container_id = container_id, .ifname = ifname };
	for (unsigned n = 0; n < VETH_TRIES; n++)
		ipam_veth_name(container_id, ifname, n, s->veth[n]);
	found = ipam_find(i, container_id, ifname, &had, f);
	if (found < 0 || (found == 0 && adopt(s, c, &had, kept, f) < 0))
		return -1;
	lease.found = kept[0] || kept[1];
	lease.has_ports = lease.found && had.has_ports;
	if (lease.found)
		memcpy(lease.veth, had.veth, sizeof(lease.veth));
	for (size_t n = 0; n < c->subnet_count; n++) {
		s->subnet = &c->subnets[n].prefix;
		if (kept[n]) {
			lease.addrs[lease.addr_count++] = *kept[n];
		} else if (reserve(s, &lease, f) < 0) {
			struct fail ignored;

			ipam_release(i, &lease, container_id, ifname, &ignored);
			return -1;
		}
	}
	*ret = lease;
	return 0;
}

int ipam_has_room(struct ipam *i, const struct conf *c, ipam_link_exists exists, void *user, struct fail *f)
{
	_cleanup_(survey_freep) struct survey *s = survey_new(i, exists, user);
	uint64_t at;

	for (size_t n = 0; n < c->subnet_count; n++) {
		s->subnet = &c->subnets[n].prefix;
		if (pick_or_reclaim(s, &at, f) < 0)
			return -1;
	}
	return 0;
}
