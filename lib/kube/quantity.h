/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resource.Quantity: parsing, canonical form, comparison, sums. Magnitudes are capped at 2^63-1, as upstream's are. */
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
/* 0 or -EINVAL (not a quantity). Rounds away from zero below nano, as Kubernetes does. */
int quantity_parse(const char *s, struct quantity *ret);
/* Canonical form: "100m", "1Gi", "1500m", "1e3". */
void quantity_format(const struct quantity *q, char out[static QUANTITY_TEXT_SIZE]);
int quantity_cmp(const struct quantity *a, const struct quantity *b);
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_sub(struct quantity *a, const struct quantity *b);
int64_t quantity_milli(const struct quantity *q); /* rounded up, clamped to int64 */
int64_t quantity_value(const struct quantity *q); /* rounded up, clamped to int64 */

#endif
