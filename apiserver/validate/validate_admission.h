/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What webhooks and admission policies share. */
#ifndef KEELSON_APISERVER_VALIDATE_ADMISSION_H
#define KEELSON_APISERVER_VALIDATE_ADMISSION_H

#include "apiserver/validate/validate_internal.h"

void check_admission_rule(struct field_errors *e, const struct fpath *p, const json_t *rule);
/* Names and that there is an expression; what it says is not looked at. */
void check_match_conditions(struct field_errors *e, const struct fpath *p, const json_t *conditions);
/* o[key] is absent or one of the words. */
void check_choice_of(struct field_errors *e, const struct fpath *p, const json_t *o, const char *key, const char *const *allowed);

#endif
