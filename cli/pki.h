/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The certificates and kubeconfigs of a cluster, made once, renewed when they have less than a third of their life left. */
#ifndef KEELSON_CLI_PKI_H
#define KEELSON_CLI_PKI_H

#include "cli/cluster.h"

/* Fills DIR/pki and DIR/admin.kubeconfig. What is there and still good stays as it is. 0, or 1 when a certificate was
 * made anew, or an error. */
int pki_prepare(const struct cluster *c, struct err *err);
/* Whether a certificate (PEM file) has more than a third of its life left, names all of sans (NULL-terminated, may be
 * NULL) and is signed by the CA in ca_path (may be NULL). */
bool pki_cert_good(const char *path, const char *const *sans, const char *ca_path);
/* Writes a kubeconfig for the user whose pair is pki/NAME.crt and pki/NAME.key. inline_data: with the PEM texts
 * themselves, so that the file can be copied elsewhere. */
int pki_write_kubeconfig(const struct cluster *c, const char *path, const char *name, bool inline_data, struct err *err);

#endif
