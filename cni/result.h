/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plugin prints: results in the shape of the configuration's CNI version, and errors. */
#ifndef KEELSON_CNI_RESULT_H
#define KEELSON_CNI_RESULT_H

#include "base/str.h"
#include "cni/conf.h"
#include "cni/ipam.h"
#include "cni/netlink.h"

void result_add(struct strbuf *out, const struct conf *c, const struct conf_env *env, const struct netlink_link *bridge,
		const struct ipam_lease *lease);
/* For the loopback interface: prevResult as it is, when there is one. */
void result_loopback(struct strbuf *out, const struct conf *c, const struct conf_env *env);
void result_version(struct strbuf *out, const struct conf *c);
void result_error(struct strbuf *out, const struct conf *c, const struct fail *f);
/* Whether prevResult (borrow) names this address, "10.244.0.5/24". */
bool result_has_address(json_t *prev_result, const char *address);

#endif
