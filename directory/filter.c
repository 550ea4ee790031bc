/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/filter.h"

#include "base/buf.h"

#include <stdint.h>

enum { DEPTH = 50, TEXT_BYTES = 16384, PARTS = 32 };

enum op { AND, OR, NOT, PRESENT, EQUAL, SUBSTRINGS, LEAST, MOST, BITS_ALL, BITS_ANY, UNKNOWN };

/* A filter, and the next of those that are within the same one. */
struct filter {
	enum op op;
	struct filter *first, *next; /* AND, OR, NOT: what is within */
	char *attribute;	     /* of an item; NULL: any (of an extended rule) */
	char *parts[PARTS];	     /* EQUAL and the like: one; SUBSTRINGS: as between the stars */
	size_t part_len[PARTS];
	size_t part_count;
};

void filter_free(struct filter *filter)
{
	while (filter) {
		struct filter *next = filter->next;
		filter_free(filter->first);
		free(filter->attribute);
		for (size_t i = 0; i < filter->part_count; i++)
			free(filter->parts[i]);
		free(filter);
		filter = next;
	}
}

/* Parse --------------------------------------------------------------------------------------- */

struct parser {
	const char *text, *at;
	struct hr_err *err;
};

static bool wrong(struct parser *parser, const char *what)
{
	err_set(parser->err, HR_FAIL, "filter, character %td: %s", parser->at - parser->text + 1,
		what);
	return false;
}

static bool take(struct parser *parser, char c)
{
	if (*parser->at != c)
		return false;
	parser->at++;
	return true;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return found ? (int)(found - digits) : -1;
}

static bool add_part(struct parser *parser, struct filter *item, struct buf *part)
{
	if (item->part_count == PARTS)
		return wrong(parser, "too many stars");
	item->part_len[item->part_count] = part->len;
	item->parts[item->part_count++] = mem_dup(part->len ? part->data : "", part->len);
	buf_clear(part);
	return true;
}

/* The value up to the closing parenthesis, cut at its stars. */
static bool parse_value(struct parser *parser, struct filter *item)
{
	scoped_buf part = BUF_INIT(TEXT_BYTES);

	for (; *parser->at && *parser->at != ')'; parser->at++) {
		if (*parser->at == '(')
			return wrong(parser, "a parenthesis in a value is written \\28");
		if (*parser->at == '*') {
			if (!add_part(parser, item, &part))
				return false;
			continue;
		}
		if (*parser->at != '\\') {
			buf_add_char(&part, *parser->at);
			continue;
		}
		int high = hex_digit(parser->at[1]);
		int low = high < 0 ? -1 : hex_digit(parser->at[2]);
		if (low < 0)
			return wrong(parser, "two hexadecimal digits follow a \\");
		buf_add_char(&part, (char)(high << 4 | low));
		parser->at += 2;
	}
	return add_part(parser, item, &part);
}

/* attribute[:dn][:rule]:=value; the attribute has been taken. */
static bool parse_extended(struct parser *parser, struct filter *item)
{
	const char *equals = strstr(parser->at, ":=");

	if (!equals || memchr(parser->at, ')', (size_t)(equals - parser->at)))
		return wrong(parser, ":= is missing");
	struct slice rule = { parser->at, (size_t)(equals - parser->at) };
	item->op = slice_is(rule, "")			       ? EQUAL
		   : slice_is(rule, ":1.2.840.113556.1.4.803") ? BITS_ALL
		   : slice_is(rule, ":1.2.840.113556.1.4.804") ? BITS_ANY
							       : UNKNOWN;
	parser->at = equals + 2;
	if (!parse_value(parser, item))
		return false;
	return item->part_count == 1 || wrong(parser, "a star in the value of a rule");
}

static bool parse_item(struct parser *parser, struct filter *item)
{
	size_t len = strcspn(parser->at, "=<>~:()*\\ ");

	if (len > 0)
		item->attribute = mem_dup(parser->at, len);
	parser->at += len;
	if (*parser->at == ':')
		return parse_extended(parser, item);
	if (len == 0)
		return wrong(parser, "an attribute is missing");
	item->op = *parser->at == '<' ? MOST : *parser->at == '>' ? LEAST : EQUAL;
	if (*parser->at && strchr("<>~", *parser->at))
		parser->at++;
	if (!take(parser, '='))
		return wrong(parser, "= is missing");
	if (!parse_value(parser, item))
		return false;
	if (item->part_count > 1 && item->op != EQUAL)
		return wrong(parser, "a star in the value of <= or >=");
	if (item->part_count == 2 && item->part_len[0] == 0 && item->part_len[1] == 0)
		item->op = PRESENT;
	else if (item->part_count > 1)
		item->op = SUBSTRINGS;
	return true;
}

static bool parse(struct parser *parser, int depth, struct filter **out);

static bool parse_within(struct parser *parser, int depth, struct filter *set)
{
	struct filter **end = &set->first;

	for (; parser->at += strspn(parser->at, " "), *parser->at == '('; end = &(*end)->next)
		if (!parse(parser, depth + 1, end))
			return false;
	if (set->op == NOT && (!set->first || set->first->next))
		return wrong(parser, "! takes one filter");
	return true;
}

static bool parse(struct parser *parser, int depth, struct filter **out)
{
	static const char signs[] = "&|!"; /* as in enum op */
	struct filter *filter = *out = mem_new(struct filter);

	if (depth == DEPTH)
		return wrong(parser, "too deep");
	if (!take(parser, '('))
		return wrong(parser, "( is missing");
	const char *sign = *parser->at ? strchr(signs, *parser->at) : NULL;
	if (sign) {
		filter->op = (enum op)(AND + (sign - signs));
		parser->at++;
	}
	if (!(sign ? parse_within(parser, depth, filter) : parse_item(parser, filter)))
		return false;
	return take(parser, ')') || wrong(parser, ") is missing");
}

enum hr_status filter_new(const char *text, struct filter **out, struct hr_err *err)
{
	struct parser parser = { text, text, err };
	scoped(filter) filter = NULL;

	if (strlen(text) > TEXT_BYTES)
		return err_set(err, HR_FAIL, "filter: more than %d bytes", TEXT_BYTES);
	if (!parse(&parser, 0, &filter))
		return HR_FAIL;
	if (*parser.at) {
		wrong(&parser, "something follows the filter");
		return HR_FAIL;
	}
	*out = give(filter);
	return HR_OK;
}

/* Ask ----------------------------------------------------------------------------------------- */

/* The name of the (*left)th item, in order; *left counts down. */
static const char *nth_attribute(const struct filter *filter, size_t *left)
{
	for (; filter; filter = filter->next) {
		const char *found = filter->first ? nth_attribute(filter->first, left) : NULL;
		if (found)
			return found;
		if (filter->attribute && (*left)-- == 0)
			return filter->attribute;
	}
	return NULL;
}

const char *filter_attribute(const struct filter *filter, size_t *at)
{
	size_t left = (*at)++;

	return nth_attribute(filter, &left);
}

static bool take_number(struct slice text, int64_t *out)
{
	size_t i = text.len > 0 && text.data[0] == '-';
	int64_t value = 0;

	if (text.len == i || text.len > 18)
		return false;
	for (size_t k = i; k < text.len; k++) {
		if (text.data[k] < '0' || text.data[k] > '9')
			return false;
		value = 10 * value + (text.data[k] - '0');
	}
	*out = i ? -value : value;
	return true;
}

static int fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* memcmp without regard to ASCII case. */
static int fold_compare(const char *a, const char *b, size_t len)
{
	size_t i = 0;

	while (i < len && fold(a[i]) == fold(b[i]))
		i++;
	return i < len ? fold(a[i]) - fold(b[i]) : 0;
}

static int compare(struct slice a, struct slice b)
{
	int64_t left, right;

	if (take_number(a, &left) && take_number(b, &right))
		return (left > right) - (left < right);
	int order = fold_compare(a.data, b.data, a.len < b.len ? a.len : b.len);
	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool has_bits(struct slice value, struct slice bits, bool all)
{
	int64_t have, want;

	if (!take_number(value, &have) || !take_number(bits, &want))
		return false;
	return all ? (have & want) == want : (have & want) != 0;
}

/* The parts in their order: the first at the beginning, the last at the end. */
static bool has_parts(const struct filter *item, struct slice value)
{
	size_t last = item->part_count - 1;

	for (size_t i = 0; i <= last; i++) {
		size_t len = item->part_len[i];
		if (len > value.len)
			return false;
		size_t at = i == last ? value.len - len : 0;
		size_t end = i == 0 ? 0 : value.len - len;
		while (at < end && fold_compare(value.data + at, item->parts[i], len) != 0)
			at++;
		if (fold_compare(value.data + at, item->parts[i], len) != 0)
			return false;
		value = (struct slice){ value.data + at + len, value.len - at - len };
	}
	return true;
}

static bool value_matches(const struct filter *item, struct slice value)
{
	struct slice part = { item->parts[0], item->part_len[0] };

	switch (item->op) {
	case PRESENT:
		return true;
	case EQUAL:
		return compare(value, part) == 0;
	case LEAST:
		return compare(value, part) >= 0;
	case MOST:
		return compare(value, part) <= 0;
	case SUBSTRINGS:
		return has_parts(item, value);
	case BITS_ALL:
	case BITS_ANY:
		return has_bits(value, part, item->op == BITS_ALL);
	case AND:
	case OR:
	case NOT:
	case UNKNOWN:
		break;
	}
	return false;
}

static bool item_matches(const struct filter *item, const struct attribute *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((!item->attribute || attribute_is(values[i].name, item->attribute)) &&
		    value_matches(item, values[i].value))
			return true;
	return false;
}

bool filter_matches(const struct filter *filter, const struct attribute *values, size_t n)
{
	if (filter->op > NOT)
		return item_matches(filter, values, n);
	for (const struct filter *one = filter->first; one; one = one->next) {
		bool matches = filter_matches(one, values, n);
		if (matches != (filter->op == AND))
			return filter->op == OR;
	}
	return filter->op != OR;
}
