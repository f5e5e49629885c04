/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links kube io base */
/*
 * JSON, YAML, selectors, quantities and Lists cut into items: the first byte says which. What is accepted must survive
 * being written and read again.
 */
#include "base/mem.h"
#include "kube/informer_internal.h"
#include "kube/quantity.h"
#include "kube/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void json(const char *s, size_t len)
{
	_cleanup_strlist_ struct strlist dups = { 0 };
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_err_ struct err e = { 0 };
	_cleanup_json_ json_t *v = json_parse(s, len, &dups, &e);

	BUG_ON(!v && !e.message);
	if (!v)
		return;
	json_write(&b, v);
	_cleanup_json_ json_t *again = json_parse(b.data, b.len, NULL, NULL);

	BUG_ON(!again || !json_same(v, again));
	strbuf_reset(&b);
	json_write_pretty(&b, v);
	_cleanup_json_ json_t *pretty = json_parse(b.data, b.len, NULL, NULL);

	BUG_ON(!pretty || !json_same(v, pretty));
}

static void yaml(const char *s, size_t len)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_err_ struct err e = { 0 };
	_cleanup_json_ json_t *v = yaml_parse_all(s, len, &e);

	BUG_ON(!v && !e.message);
	if (!v)
		return;
	yaml_write(&b, v);
	_cleanup_json_ json_t *again = yaml_parse(b.data, b.len, NULL);

	BUG_ON(!again || !json_same(v, again));
}

static void selector(const char *s)
{
	_cleanup_strbuf_ struct strbuf b = { 0 }, c = { 0 };
	_cleanup_err_ struct err e = { 0 };
	struct field_selector f = { 0 };
	_cleanup_(selector_freep) struct selector *sel = selector_parse(s, &e);

	if (field_selector_parse(s, &f, NULL) == 0)
		field_selector_done(&f);
	BUG_ON(!sel && !e.message);
	if (!sel)
		return;
	selector_write(sel, &b);
	selector_matches(sel, NULL);
	_cleanup_(selector_freep) struct selector *again = selector_parse(b.data ? b.data : "", NULL);

	BUG_ON(!again);
	selector_write(again, &c);
	BUG_ON(c.len != b.len || (b.len && memcmp(b.data, c.data, b.len) != 0));
}

static void quantity(const char *s)
{
	struct quantity q, again;
	char text[QUANTITY_TEXT_SIZE];

	if (quantity_parse(s, &q) < 0)
		return;
	quantity_format(&q, text);
	BUG_ON(quantity_parse(text, &again) < 0 || quantity_cmp(&q, &again) != 0);
}

static void list(const char *s, size_t len)
{
	_cleanup_strbuf_ struct strbuf rest = { 0 };
	const char *items, *item;
	size_t items_len, n;

	if (list_split(s, len, &rest, &items, &items_len) < 0)
		return;
	while (list_next(&items, &items_len, &item, &n))
		json_decref(json_parse(item, n, NULL, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	_cleanup_free_ char *s = mem_strndup((const char *)data + 1, size - 1);

	switch (data[0]) {
	case 'j': json((const char *)data + 1, size - 1); break;
	case 'y': yaml((const char *)data + 1, size - 1); break;
	case 's': selector(s); break;
	case 'q': quantity(s); break;
	case 'l': list((const char *)data + 1, size - 1); break;
	}
	return 0;
}
