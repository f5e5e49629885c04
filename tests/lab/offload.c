/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Turns checksum offload off on every veth of the network namespace it runs in, as XDP on veths needs it. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int ask(int fd, const char *name, void *command)
{
	struct ifreq r = { .ifr_data = command };
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &r);
}

int main(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bad = 0;
	struct if_nameindex *list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
		struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
		if (ask(fd, i->if_name, &info) < 0 || strcmp(info.driver, "veth") != 0)
			continue;
		if (ask(fd, i->if_name, &off) < 0) {
			perror(i->if_name);
			bad = 1;
		}
	}
	if_freenameindex(list);
	return bad;
}
