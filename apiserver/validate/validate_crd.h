/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a CustomResourceDefinition's validation. */
#ifndef KEELSON_APISERVER_VALIDATE_CRD_H
#define KEELSON_APISERVER_VALIDATE_CRD_H

#include "apiserver/validate/validate_internal.h"

/* A structural schema (KEP-1172), from its root on. */
void check_crd_schema(struct field_errors *e, const struct fpath *p, const json_t *schema);

#endif
