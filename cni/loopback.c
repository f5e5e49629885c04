/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * containerd insists on a plugin of its own for lo. Being the same program under another name, it costs a node nothing to
 * install and a pod a millisecond. DEL has nothing to do: lo goes with its namespace.
 */
#include "cni/loopback.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "cni/pod.h"
#include "cni/result.h"

bool loopback_wanted(const char *argv0)
{
	return str_eq(basename(argv0), "loopback");
}

/* Reads lo's flags in the pod's namespace, and raises it when up is asked for. */
static int loopback_flags(const struct conf_env *env, bool up, short *ret, struct fail *f)
{
	_cleanup_close_ int netns = -1, fd = -1;
	struct ifreq r = { .ifr_name = "lo" };

	if (pod_netns_open(env->netns, &netns, f) < 0 || pod_netns_enter(netns, env->netns, f) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		return fail_set(f, FAIL_KERNEL, "read the flags of lo: %s", strerror(errno));
	if (up && !(r.ifr_flags & IFF_UP)) {
		r.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
			return fail_set(f, FAIL_KERNEL, "bring up lo: %s", strerror(errno));
	}
	*ret = r.ifr_flags;
	return 0;
}

static void result(struct strbuf *out, const struct conf_env *env, const struct conf *c)
{
	strbuf_addf(out, "{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\",\"sandbox\":",
		    c->version);
	strbuf_add_json(out, env->netns, strlen(env->netns));
	/* Up to 0.4.0 an address carries its version. */
	strbuf_addf(out, "}],\"ips\":[{%s\"interface\":0,\"address\":\"127.0.0.1/8\"}],\"dns\":{}}\n",
		    conf_is_old(c) ? "\"version\":\"4\"," : "");
}

int loopback_run(const struct conf_env *env, struct conf *c, const char *text, size_t len, struct strbuf *out, struct fail *f)
{
	short flags;

	if (conf_parse_version(c, text, len, f) < 0)
		return -1;
	switch (env->command) {
	case CONF_VERSION:
		result_version(out, c);
		return 0;
	case CONF_ADD:
		if (loopback_flags(env, true, &flags, f) < 0)
			return -1;
		result(out, env, c);
		return 0;
	case CONF_CHECK:
		if (loopback_flags(env, false, &flags, f) < 0)
			return -1;
		return flags & IFF_UP ? 0 : fail_set(f, FAIL_CHECK, "lo is down in the container");
	default: /* DEL, and STATUS and GC, which have nothing to say about it */
		return 0;
	}
}
