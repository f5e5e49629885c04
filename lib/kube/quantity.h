/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resource.Quantity: parsing, canonical form, comparison, sums. Values beyond int64 nano are refused. */
#ifndef KEELSON_KUBE_QUANTITY_H
#define KEELSON_KUBE_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };
struct quantity {
	__int128 nano; /* the value times 10^9 */
	enum quantity_format format;
};
enum { QUANTITY_TEXT_SIZE = 64 };
/* 0, -EINVAL (not a quantity) or -ERANGE. Rounds up below nano, as Kubernetes does. */
int quantity_parse(const char *s, struct quantity *ret);
/* Canonical form: "100m", "1Gi", "1500m", "1e3". */
void quantity_format(const struct quantity *q, char out[static QUANTITY_TEXT_SIZE]);
int quantity_cmp(const struct quantity *a, const struct quantity *b);
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_sub(struct quantity *a, const struct quantity *b);
int64_t quantity_milli(const struct quantity *q); /* rounded up, clamped to int64 */
int64_t quantity_value(const struct quantity *q); /* rounded up, clamped to int64 */

#endif
