/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The certificates and kubeconfigs of a cluster, made once, renewed when they have less than a third of their life left. */
#ifndef KEELSON_CLI_PKI_H
#define KEELSON_CLI_PKI_H

#include "cli/cluster.h"

/* Fills DIR/pki and DIR/admin.kubeconfig. What is there and still good stays as it is. */
int pki_prepare(const struct cluster *c, struct err *err);

#endif
