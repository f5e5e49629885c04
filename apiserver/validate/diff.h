/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What changed between two values, for the people who read "may not change fields other than ...". */
#ifndef KEELSON_APISERVER_DIFF_H
#define KEELSON_APISERVER_DIFF_H

#include "kube/json.h"

/* A unified diff of the two as JSON, one member a line: one hunk, three lines around it, limited in length. Own. */
char *diff_text(const json_t *old, const json_t *now);

#endif
