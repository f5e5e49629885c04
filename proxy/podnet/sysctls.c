/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The note is written before the setting: a process killed in between has noted what is the case anyway. */
#include "proxy/podnet/sysctls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "proxy/podnet/batch.h"

#define NOTE "keelson:"
#define V4_FORWARD "net/ipv4/ip_forward"
#define V6_FORWARD "net/ipv6/conf/all/forwarding"

enum { LO_INDEX = 1, VALUE_MAX_BYTES = 64, RA_LINKS_MAX = 4, ALIAS_MAX = 250 };

static int read_value(const char *path, char *out, size_t size)
{
	char full[256];
	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	_cleanup_close_ int fd = open(full, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
	if (n < 0)
		return -errno;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

static int write_value(const char *path, const char *value, struct err *err)
{
	char full[256];
	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	_cleanup_close_ int fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_set(err, errno, "cannot write %s to %s: %s", value, full, strerror(errno));
	return 0;
}

/* The note. */

static int on_lo(const struct nlmsghdr *nlh, void *user)
{
	const struct nlattr *a;
	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(a) == IFLA_IFALIAS)
			strbuf_adds(user, mnl_attr_get_str(a));
	return MNL_CB_OK;
}

static int read_note(struct strbuf *note)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO)));
	_cleanup_free_ struct batch *b = mem_new(struct batch);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	int e = batch_open(b, NULL);
	if (e < 0)
		return e;
	nlh->nlmsg_type = RTM_GETLINK;
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_index = LO_INDEX;
	e = batch_ask(b, nlh, on_lo, note);
	batch_close(b);
	return e;
}

static int write_note(const char *text, struct err *err)
{
	_cleanup_free_ struct batch *b = mem_new(struct batch);
	int e = batch_open(b, err);
	if (e < 0)
		return e;
	struct nlmsghdr *nlh = batch_begin(b, RTM_NEWLINK, 0, 0, "note settings in the alias of lo");
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_index = LO_INDEX;
	mnl_attr_put(nlh, IFLA_IFALIAS, strlen(text), text);
	batch_end(b, nlh);
	e = batch_send(b);
	batch_close(b);
	return e < 0 ? e : b->refused ? -EIO : 0;
}

/* Remembers what path is. An alias that somebody else gave lo stays: then nothing is noted and nothing will be undone. */
static int note(struct strbuf *text, const char *path, const char *value, struct err *err)
{
	_cleanup_free_ char *entry = str_printf(" %s=", path);
	if ((text->len && !str_starts(text->data, NOTE)) || (text->len && strstr(text->data, entry)) ||
	    text->len + strlen(entry) + strlen(value) > ALIAS_MAX)
		return 0;
	if (!text->len)
		strbuf_adds(text, NOTE);
	strbuf_addf(text, "%s%s", entry, value);
	return write_note(text->data, err);
}

static int change(struct strbuf *text, const char *path, const char *value, struct err *err)
{
	char now[VALUE_MAX_BYTES];
	int e = read_value(path, now, sizeof(now));
	if (e < 0)
		return err_set(err, -e, "cannot read /proc/sys/%s: %s", path, strerror(-e));
	if (str_eq(now, value))
		return 0;
	e = note(text, path, now, err);
	return e < 0 ? e : write_value(path, value, err);
}

struct ra_links {
	unsigned index[RA_LINKS_MAX];
	size_t count;
};

static int on_route(const struct nlmsghdr *nlh, void *user)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
	struct ra_links *l = user;
	const struct nlattr *a;
	if (m->rtm_dst_len || m->rtm_protocol != RTPROT_RA)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m))
		if (mnl_attr_get_type(a) == RTA_OIF && l->count < RA_LINKS_MAX)
			l->index[l->count++] = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int keep_default_routes(struct strbuf *text, struct err *err)
{
	char buf[256] __attribute__((aligned(MNL_ALIGNTO))), name[IF_NAMESIZE], path[128], now[VALUE_MAX_BYTES];
	_cleanup_free_ struct batch *b = mem_new(struct batch);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ra_links links = { 0 };
	int e = batch_open(b, err);
	if (e < 0)
		return e;
	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	struct rtmsg *m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->rtm_family = AF_INET6;
	m->rtm_table = RT_TABLE_MAIN;
	e = batch_ask(b, nlh, on_route, &links);
	batch_close(b);
	for (size_t i = 0; e == 0 && i < links.count; i++) {
		if (!if_indextoname(links.index[i], name))
			continue;
		snprintf(path, sizeof(path), "net/ipv6/conf/%s/accept_ra", name);
		if (read_value(path, now, sizeof(now)) == 0 && str_eq(now, "1"))
			e = change(text, path, "2", err);
	}
	return e;
}

int sysctls_set(bool v4, bool v6, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	char now[VALUE_MAX_BYTES];
	int e = read_note(&text);
	if (e < 0)
		return err_set(err, -e, "cannot read the link lo: %s", strerror(-e));
	if (v4)
		e = change(&text, V4_FORWARD, "1", err);
	if (e < 0 || !v6 || (read_value(V6_FORWARD, now, sizeof(now)) == 0 && str_eq(now, "1")))
		return e;
	e = keep_default_routes(&text, err);
	return e < 0 ? e : change(&text, V6_FORWARD, "1", err);
}

int sysctls_loosen(const char *ifname, struct err *err)
{
	char path[128], all[VALUE_MAX_BYTES], own[VALUE_MAX_BYTES];
	snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", ifname);
	/* The greater of the two counts: 0 off, 1 strict, 2 loose. */
	if (read_value("net/ipv4/conf/all/rp_filter", all, sizeof(all)) < 0 || read_value(path, own, sizeof(own)) < 0 ||
	    str_eq(all, "2") || str_eq(own, "2") || (str_eq(all, "0") && str_eq(own, "0")))
		return 0;
	return write_value(path, "2", err);
}

int sysctls_restore(struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist entries = { 0 };
	char now[VALUE_MAX_BYTES];
	int e = read_note(&text);
	if (e < 0)
		return err_set(err, -e, "cannot read the link lo: %s", strerror(-e));
	if (!text.len || !str_starts(text.data, NOTE))
		return 0;
	strlist_split(&entries, text.data + strlen(NOTE), ' ');
	for (size_t i = 0; i < entries.count; i++) {
		char *path = entries.items[i], *value = strchr(path, '=');
		if (!value || !str_starts(path, "net/ipv") || strstr(path, ".."))
			continue;
		*value++ = '\0';
		if (read_value(path, now, sizeof(now)) < 0 || !str_eq(now, str_ends(path, "/accept_ra") ? "2" : "1"))
			continue;
		if (write_value(path, value, err) < 0)
			e = -EIO;
	}
	return write_note("", err) < 0 ? -EIO : e;
}
