/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Label and field selectors. The grammar and the error texts are those of apimachinery/pkg/labels and pkg/fields; a
 * compiled selector is immutable, its requirements are sorted by key and the values of each by text.
 */
#include "kube/selector.h"

#include <ctype.h>
#include <errno.h>

#include "base/mem.h"

enum op { OP_IN, OP_NOT_IN, OP_EQUALS, OP_NOT_EQUALS, OP_EXISTS, OP_ABSENT, OP_GREATER, OP_LESS, OP_MAX };

struct requirement {
	char *key;
	struct strlist values;
	int64_t number; /* OP_GREATER, OP_LESS */
	enum op op;
};

struct selector {
	struct requirement *items;
	size_t count, cap;
	bool nothing;
};

struct selector *selector_free(struct selector *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].key);
		strlist_done(&s->items[i].values);
	}
	free(s->items);
	free(s);
	return NULL;
}

#define NAME_RULE                                                                                                     \
	"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "          \
	"alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "           \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define VALUE_RULE                                                                                                    \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "      \
	"start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "   \
	"validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
#define PREFIX_RULE                                                                                                   \
	"prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "  \
	"and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "     \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define QUALIFIED_RULE                                                                                                \
	"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "   \
	"alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "           \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "             \
	"'example.com/MyName')"

static bool word_ok(const char *s, size_t n)
{
	if (!n || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

static bool subdomain_ok(const char *s, size_t n)
{
	for (size_t i = 0, start = 0; i <= n; i++) {
		if (i < n && s[i] != '.') {
			if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '-')
				return false;
			continue;
		}
		if (i == start || s[start] == '-' || s[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return n > 0;
}

static void complain(struct strbuf *why, const char *what)
{
	strbuf_adds(why, why->len ? "; " : "");
	strbuf_adds(why, what);
}

static int check_key(const char *key, struct err *err)
{
	_cleanup_strbuf_ struct strbuf why = { 0 };
	const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
	size_t prefix = slash ? (size_t)(slash - key) : 0;

	if (slash && strchr(name, '/')) {
		complain(&why, QUALIFIED_RULE);
	} else {
		if (slash && !prefix)
			complain(&why, "prefix part must be non-empty");
		else if (slash && prefix > 253)
			complain(&why, "prefix part must be no more than 253 bytes");
		if (prefix && !subdomain_ok(key, prefix))
			complain(&why, PREFIX_RULE);
		if (!*name)
			complain(&why, "name part must be non-empty");
		else if (strlen(name) > 63)
			complain(&why, "name part must be no more than 63 bytes");
		if (!word_ok(name, strlen(name)))
			complain(&why, NAME_RULE);
	}
	if (!why.len)
		return 0;
	return err_set_api(err, 400, "BadRequest", "<nil>: Invalid value: \"%s\": %s", key, why.data);
}

static int check_value(const char *key, const char *value, size_t index, struct err *err)
{
	_cleanup_strbuf_ struct strbuf why = { 0 };

	if (strlen(value) > 63)
		complain(&why, "must be no more than 63 bytes");
	if (*value && !word_ok(value, strlen(value)))
		complain(&why, VALUE_RULE);
	if (!why.len)
		return 0;
	return err_set_api(err, 400, "BadRequest", "values[%zu][%s]: Invalid value: \"%s\": %s", index, key, value,
			   why.data);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A set: sorted, each value once. */
static void sort_values(struct strlist *l)
{
	size_t n = 0;

	if (l->count < 2)
		return;
	qsort(l->items, l->count, sizeof(*l->items), by_text);
	for (size_t i = 0; i < l->count; i++) {
		if (n && str_eq(l->items[n - 1], l->items[i]))
			free(l->items[i]);
		else
			l->items[n++] = l->items[i];
	}
	l->count = n;
	l->items[n] = NULL;
}

/* Checks and adds; key and values are moved. */
static int add_requirement(struct selector *s, char *key, enum op op, struct strlist *values, struct err *err)
{
	struct requirement q = { .key = key, .values = *values, .op = op };
	int r = check_key(key, err);

	*values = (struct strlist){ 0 };
	sort_values(&q.values);
	if (r == 0 && (op == OP_IN || op == OP_NOT_IN) && !q.values.count)
		r = err_set_api(err, 400, "BadRequest",
				"values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
	if (r == 0 && (op == OP_GREATER || op == OP_LESS) &&
	    str_to_i64(*q.values.items[0] == '+' ? q.values.items[0] + 1 : q.values.items[0], INT64_MIN, INT64_MAX,
		       &q.number) < 0)
		r = err_set_api(err, 400, "BadRequest",
				"values[0]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value must be an integer",
				q.values.items[0]);
	for (size_t i = 0; r == 0 && i < q.values.count; i++)
		r = check_value(key, q.values.items[i], i, err);
	if (r < 0) {
		free(q.key);
		strlist_done(&q.values);
		return r;
	}
	MEM_GROW(s->items, s->cap, s->count + 1);
	s->items[s->count++] = q;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct requirement *)a)->key, ((const struct requirement *)b)->key);
}

/* ---- the lexer and parser of the query string's form ---- */

enum token {
	T_END, T_IDENTIFIER, T_OPEN, T_CLOSE, T_COMMA, T_NOT, T_EQUALS, T_DOUBLE_EQUALS, T_NOT_EQUALS, T_GREATER, T_LESS,
	T_IN, T_NOT_IN,
};
struct lexer {
	const char *p;
	enum token token;  /* looked at, not yet consumed */
	char *text;        /* own */
};

static void scan(struct lexer *x)
{
	static const struct {
		const char *text;
		enum token token;
	} symbols[] = {
		{ "==", T_DOUBLE_EQUALS }, { "!=", T_NOT_EQUALS }, { "=", T_EQUALS },  { "!", T_NOT },   { "(", T_OPEN },
		{ ")", T_CLOSE },          { ",", T_COMMA },       { ">", T_GREATER }, { "<", T_LESS },
	};
	static const char special[] = "=!(),><", blank[] = " \t\r\n";
	const char *from;

	free(x->text);
	x->p += strspn(x->p, blank);
	from = x->p;
	x->token = T_END;
	for (size_t i = 0; i < ARRAY_SIZE(symbols) && *from; i++)
		if (str_starts(from, symbols[i].text)) {
			x->p += strlen(symbols[i].text);
			x->token = symbols[i].token;
			break;
		}
	if (*from && x->token == T_END) {
		while (*x->p && !strchr(special, *x->p) && !strchr(blank, *x->p))
			x->p++;
		x->token = T_IDENTIFIER;
	}
	x->text = mem_strndup(from, (size_t)(x->p - from));
	if (str_eq(x->text, "in"))
		x->token = T_IN;
	else if (str_eq(x->text, "notin"))
		x->token = T_NOT_IN;
}

/* Where an identifier may stand, "in" and "notin" are ordinary words. */
static enum token look(const struct lexer *x)
{
	return x->token == T_IN || x->token == T_NOT_IN ? T_IDENTIFIER : x->token;
}

static int unexpected(const struct lexer *x, const char *expected, struct err *err)
{
	return err_set_api(err, 400, "BadRequest", "found '%s'%s", x->text, expected);
}

/* "(a, b)": as upstream an empty place is an empty value. */
static int parse_list(struct lexer *x, struct strlist *values, struct err *err)
{
	if (look(x) != T_OPEN)
		return unexpected(x, " expected: '('", err);
	scan(x);
	if (look(x) == T_CLOSE) {
		scan(x);
		return 0;
	}
	if (look(x) != T_IDENTIFIER && look(x) != T_COMMA)
		return unexpected(x, ", expected: ',', ')' or identifier", err);
	for (;;) {
		if (look(x) == T_IDENTIFIER) {
			strlist_add(values, x->text);
			scan(x);
			if (look(x) == T_CLOSE)
				break;
			if (look(x) != T_COMMA)
				return unexpected(x, ", expected: ',' or ')'", err);
		} else if (look(x) == T_COMMA) {
			if (!values->count)
				strlist_add(values, "");
			scan(x);
			if (look(x) == T_CLOSE) {
				strlist_add(values, "");
				break;
			}
			if (look(x) == T_COMMA) {
				scan(x);
				strlist_add(values, "");
				if (look(x) == T_CLOSE)
					break;
			}
		} else {
			return unexpected(x, ", expected: ',', or identifier", err);
		}
	}
	scan(x);
	return 0;
}

static int parse_operator(struct lexer *x, enum op *ret, struct err *err)
{
	switch (x->token) {
	case T_IN: *ret = OP_IN; break;
	case T_NOT_IN: *ret = OP_NOT_IN; break;
	case T_EQUALS:
	case T_DOUBLE_EQUALS: *ret = OP_EQUALS; break;
	case T_NOT_EQUALS: *ret = OP_NOT_EQUALS; break;
	case T_GREATER: *ret = OP_GREATER; break;
	case T_LESS: *ret = OP_LESS; break;
	default: return unexpected(x, ", expected: in, notin, =, ==, !=, gt, lt", err);
	}
	scan(x);
	return 0;
}

static int parse_requirement(struct selector *s, struct lexer *x, struct err *err)
{
	_cleanup_free_ char *key = NULL;
	_cleanup_strlist_ struct strlist values = { 0 };
	bool absent = look(x) == T_NOT;
	enum op op = OP_MAX;
	int r;

	if (absent)
		scan(x);
	if (look(x) != T_IDENTIFIER)
		return unexpected(x, ", expected: identifier", err);
	key = mem_strdup(x->text);
	r = check_key(key, err);
	if (r < 0)
		return r;
	scan(x);
	if (absent)
		return add_requirement(s, TAKE(key), OP_ABSENT, &values, err);
	if (look(x) == T_END || look(x) == T_COMMA)
		return add_requirement(s, TAKE(key), OP_EXISTS, &values, err);
	r = parse_operator(x, &op, err);
	if (r < 0)
		return r;
	if (op == OP_IN || op == OP_NOT_IN) {
		r = parse_list(x, &values, err);
		if (r < 0)
			return r;
	} else if (look(x) == T_END || look(x) == T_COMMA) {
		strlist_add(&values, "");
	} else if (look(x) == T_IDENTIFIER) {
		strlist_add(&values, x->text);
		scan(x);
	} else {
		return unexpected(x, ", expected: identifier", err);
	}
	return add_requirement(s, TAKE(key), op, &values, err);
}

static int parse_all(struct selector *s, struct lexer *x, struct err *err)
{
	for (;;) {
		if (look(x) == T_END)
			return 0;
		if (look(x) != T_IDENTIFIER && look(x) != T_NOT)
			return unexpected(x, ", expected: !, identifier, or 'end of string'", err);
		int r = parse_requirement(s, x, err);

		if (r < 0) {
			_cleanup_free_ char *why = mem_strdup(err ? err_msg(err) : "");

			return err_set_api(err, 400, "BadRequest", "unable to parse requirement: %s", why);
		}
		if (look(x) == T_END)
			return 0;
		if (look(x) != T_COMMA)
			return unexpected(x, ", expected: ',' or 'end of string'", err);
		scan(x);
		if (look(x) != T_IDENTIFIER && look(x) != T_NOT)
			return unexpected(x, ", expected: identifier after ','", err);
	}
}

struct selector *selector_parse(const char *text, struct err *err)
{
	struct selector *s = mem_new(struct selector);
	struct lexer x = { .p = text ? text : "" };

	scan(&x);
	int r = parse_all(s, &x, err);

	free(x.text);
	if (r < 0)
		return selector_free(s);
	if (s->count)
		qsort(s->items, s->count, sizeof(*s->items), by_key);
	return s;
}

static int add_expression(struct selector *s, const json_t *e, struct err *err)
{
	static const struct {
		const char *name;
		enum op op;
	} ops[] = { { "In", OP_IN }, { "NotIn", OP_NOT_IN }, { "Exists", OP_EXISTS }, { "DoesNotExist", OP_ABSENT } };
	const char *name = json_str_or(e, "operator", "");
	_cleanup_strlist_ struct strlist values = { 0 };
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(e, "values"), i, v)
		if (json_is_string(v))
			strlist_add(&values, json_string_value(v));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!str_eq(ops[i].name, name))
			continue;
		if (ops[i].op >= OP_EXISTS && values.count)
			return err_set_api(err, 400, "BadRequest",
					   "values: Invalid value: values set must be empty for exists and does not exist");
		return add_requirement(s, mem_strdup(json_str_or(e, "key", "")), ops[i].op, &values, err);
	}
	return err_set_api(err, 400, "BadRequest", "\"%s\" is not a valid label selector operator", name);
}

static int add_pair(struct selector *s, const char *key, const json_t *value, struct err *err)
{
	_cleanup_strlist_ struct strlist values = { 0 };

	strlist_add(&values, json_is_string(value) ? json_string_value(value) : "");
	return add_requirement(s, mem_strdup(key), OP_EQUALS, &values, err);
}

struct selector *selector_from_label_selector(const json_t *label_selector, struct err *err)
{
	_cleanup_(selector_freep) struct selector *s = mem_new(struct selector);
	json_t *labels = json_object_get(label_selector, "matchLabels"), *v;
	const char *key;
	size_t i;

	s->nothing = !json_is_object(label_selector);
	json_object_foreach(labels, key, v)
		if (add_pair(s, key, v, err) < 0)
			return NULL;
	json_array_foreach(json_object_get(label_selector, "matchExpressions"), i, v)
		if (add_expression(s, v, err) < 0)
			return NULL;
	if (s->count)
		qsort(s->items, s->count, sizeof(*s->items), by_key);
	return TAKE(s);
}

struct selector *selector_from_map(const json_t *map)
{
	struct selector *s = mem_new(struct selector);
	json_t *labels = (json_t *)(uintptr_t)map, *v;
	const char *key;

	s->nothing = !json_is_object(map) || !json_object_size(map);
	/* A pair that no label can equal: nothing matches. */
	json_object_foreach(labels, key, v)
		if (add_pair(s, key, v, NULL) < 0)
			s->nothing = true;
	if (s->count)
		qsort(s->items, s->count, sizeof(*s->items), by_key);
	return s;
}

static bool matches_one(const struct requirement *q, const char *value)
{
	int64_t n;

	switch (q->op) {
	case OP_IN:
	case OP_EQUALS: return value && strlist_has(&q->values, value);
	case OP_NOT_IN:
	case OP_NOT_EQUALS: return !value || !strlist_has(&q->values, value);
	case OP_EXISTS: return value;
	case OP_ABSENT: return !value;
	case OP_GREATER: return value && str_to_i64(value, INT64_MIN, INT64_MAX, &n) == 0 && n > q->number;
	case OP_LESS: return value && str_to_i64(value, INT64_MIN, INT64_MAX, &n) == 0 && n < q->number;
	case OP_MAX: break;
	}
	return false;
}

bool selector_matches(const struct selector *s, const json_t *labels)
{
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (!matches_one(&s->items[i], json_string_value(json_object_get(labels, s->items[i].key))))
			return false;
	return true;
}

bool selector_matches_everything(const struct selector *s)
{
	return !s->nothing && !s->count;
}

bool selector_next_needed(const struct selector *s, size_t *it, const char **ret_key, const struct strlist **ret_values)
{
	while (*it < s->count) {
		const struct requirement *q = &s->items[(*it)++];
		bool equal = q->op == OP_IN || q->op == OP_EQUALS;

		if (!equal && q->op != OP_EXISTS && q->op != OP_GREATER && q->op != OP_LESS)
			continue;
		*ret_key = q->key;
		*ret_values = equal ? &q->values : NULL;
		return true;
	}
	return false;
}

void selector_write(const struct selector *s, struct strbuf *out)
{
	static const char *const ops[OP_MAX] = { [OP_IN] = " in ",    [OP_NOT_IN] = " notin ", [OP_EQUALS] = "=",
						 [OP_NOT_EQUALS] = "!=", [OP_EXISTS] = "",     [OP_ABSENT] = "",
						 [OP_GREATER] = ">",  [OP_LESS] = "<" };

	for (size_t i = 0; i < s->count; i++) {
		const struct requirement *q = &s->items[i];
		bool list = q->op == OP_IN || q->op == OP_NOT_IN;

		strbuf_adds(out, i ? "," : "");
		strbuf_adds(out, q->op == OP_ABSENT ? "!" : "");
		strbuf_adds(out, q->key);
		strbuf_adds(out, ops[q->op]);
		strbuf_adds(out, list ? "(" : "");
		for (size_t k = 0; k < q->values.count; k++) {
			strbuf_adds(out, k ? "," : "");
			strbuf_adds(out, q->values.items[k]);
		}
		/* A lone empty value: "()" would not be read again. */
		strbuf_adds(out, list && q->values.count == 1 && !*q->values.items[0] ? "," : "");
		strbuf_adds(out, list ? ")" : "");
	}
}

/* ---- field selectors ---- */

void field_selector_done(struct field_selector *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].path);
		free(s->items[i].value);
	}
	free(s->items);
	*s = (struct field_selector){ 0 };
}

/* Splits a term at the first operator that no backslash hides. */
static bool split_term(const char *term, struct field_requirement *ret, const char **ret_value)
{
	for (const char *p = term; *p; p++) {
		size_t n = str_starts(p, "!=") || str_starts(p, "==") ? 2 : *p == '=';

		if (*p == '\\' && p[1]) {
			p++;
			continue;
		}
		if (!n)
			continue;
		ret->path = mem_strndup(term, (size_t)(p - term));
		ret->negate = *p == '!';
		*ret_value = p + n;
		return true;
	}
	return false;
}

static int unescape(const char *s, char **ret, struct err *err)
{
	struct strbuf b = { 0 };

	for (; *s; s++) {
		if (*s == ',' || *s == '=') {
			strbuf_done(&b);
			return err_set_api(err, 400, "BadRequest",
					   "invalid field selector: unescaped character in value: %c", *s);
		}
		if (*s == '\\') {
			s++;
			if (!*s || !strchr("\\,=", *s)) {
				strbuf_done(&b);
				return err_set_api(err, 400, "BadRequest",
						   "invalid field selector: invalid escape sequence: \\%.1s", s);
			}
		}
		strbuf_addc(&b, *s);
	}
	*ret = strbuf_take(&b);
	return 0;
}

int field_selector_parse(const char *text, struct field_selector *ret, struct err *err)
{
	struct field_selector s = { 0 };
	size_t cap = 0;
	const char *from = text ? text : "";
	int r = 0;

	while (*from && r == 0) {
		const char *end = from, *value;

		while (*end && *end != ',')
			end += end[0] == '\\' && end[1] ? 2 : 1;
		_cleanup_free_ char *term = mem_strndup(from, (size_t)(end - from));
		struct field_requirement q = { 0 };

		from = *end ? end + 1 : end;
		if (!*term)
			continue;
		if (!split_term(term, &q, &value)) {
			r = err_set_api(err, 400, "BadRequest", "invalid selector: '%s'; can't understand '%s'", text,
					term);
			break;
		}
		r = unescape(value, &q.value, err);
		if (r < 0) {
			free(q.path);
			break;
		}
		MEM_GROW(s.items, cap, s.count + 1);
		s.items[s.count++] = q;
	}
	if (r < 0)
		field_selector_done(&s);
	else
		*ret = s;
	return r;
}
