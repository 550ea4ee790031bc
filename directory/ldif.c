/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/ldif.h"

#include "base/buf.h"

/* A line of the record, unfolded. Offsets, because the text may move while it grows. */
struct line {
	size_t at, len, number;
};

struct ldif {
	ldif_fn *fn;
	void *arg;
	struct buf text; /* of the lines of the record */
	struct line *lines;
	size_t n, size;
	size_t number;	  /* of the line under way, from 1 */
	bool in_line;	  /* some of it has come */
	bool past_header; /* a record has been: there is no version any more */
	struct attribute *values;
	size_t value_size;
};

struct ldif *ldif_new(ldif_fn *fn, void *arg)
{
	struct ldif *ldif = mem_new(struct ldif);

	ldif->fn = fn;
	ldif->arg = arg;
	ldif->text = BUF_INIT(LDIF_RECORD_BYTES);
	ldif->number = 1;
	return ldif;
}

void ldif_free(struct ldif *ldif)
{
	if (!ldif)
		return;
	buf_free(&ldif->text);
	free(ldif->lines);
	free(ldif->values);
	free(ldif);
}

/* One line of a record ------------------------------------------------------------------------ */

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes in place (RFC 4648, with its padding); false: it is not base64. */
static bool decode_base64(char *text, size_t *len)
{
	size_t in = *len, out = 0;

	if (in % 4 != 0)
		return false;
	for (size_t pad = 0; pad < 2 && in > 0 && text[in - 1] == '='; pad++)
		in--;
	unsigned int bits = 0;
	for (size_t i = 0; i < in; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return false;
		bits = bits << 6 | (unsigned int)digit;
		if (i % 4 != 0)
			text[out++] = (char)(bits >> (6 - 2 * (i % 4)));
	}
	*len = out;
	return in % 4 != 1;
}

/* AttributeDescription: a name or an OID, and options. */
static bool is_description(struct slice name)
{
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool digit = c >= '0' && c <= '9';
		if (!letter && !digit && (i == 0 || !strchr("-;.=*", c)))
			return false;
	}
	return true;
}

static enum hr_status parse_line(const struct line *line, char *text, struct attribute *out,
				 struct hr_err *err)
{
	char *colon = memchr(text, ':', line->len);
	struct slice name = { text, colon ? (size_t)(colon - text) : 0 };

	if (!is_description(name))
		return err_set(err, HR_FAIL, "line %zu: not \"attribute: value\"", line->number);
	char *at = colon + 1, *end = text + line->len;
	bool base64 = at < end && *at == ':';
	if (at < end && *at == '<')
		return err_set(err, HR_FAIL, "line %zu: a value in another file is not read",
			       line->number);
	at += base64;
	while (at < end && *at == ' ')
		at++;
	size_t len = (size_t)(end - at);
	if (base64 && !decode_base64(at, &len))
		return err_set(err, HR_FAIL, "line %zu: not base64", line->number);
	*out = (struct attribute){ name, { at, len } };
	return HR_OK;
}

/* A record ------------------------------------------------------------------------------------ */

/* Parses all lines but comments into ldif->values; *n is how many. */
static enum hr_status parse_lines(struct ldif *ldif, size_t *n, size_t *first, struct hr_err *err)
{
	if (ldif->value_size < ldif->n) {
		ldif->value_size = ldif->n;
		ldif->values = mem_resize(ldif->values, ldif->n, sizeof *ldif->values);
	}
	*n = 0;
	for (size_t i = 0; i < ldif->n; i++) {
		const struct line *line = &ldif->lines[i];
		char *text = ldif->text.data + line->at;
		if (text[0] == '#')
			continue;
		struct attribute *value = &ldif->values[*n];
		if (parse_line(line, text, value, err) != HR_OK)
			return err->status;
		if (attribute_is(value->name, "version") && *n == 0 && !ldif->past_header) {
			if (!slice_is(value->value, "1"))
				return err_set(err, HR_FAIL,
					       "line %zu: version " SLICE_FMT
					       " of LDIF is not known",
					       line->number,
					       (int)(value->value.len < 20 ? value->value.len : 20),
					       value->value.data);
			ldif->past_header = true;
			continue;
		}
		if (*n == 1 && (attribute_is(value->name, "changetype") ||
				attribute_is(value->name, "control")))
			return err_set(err, HR_FAIL,
				       "line %zu: a record of changes; what is read is content",
				       line->number);
		if (*n == 0)
			*first = line->number;
		++*n;
	}
	return HR_OK;
}

static enum hr_status end_record(struct ldif *ldif, struct hr_err *err)
{
	size_t n = 0, first = 0;

	if (parse_lines(ldif, &n, &first, err) != HR_OK)
		return err->status;
	ldif->n = 0;
	enum hr_status status = HR_OK;
	if (n > 0) {
		ldif->past_header = true;
		if (!attribute_is(ldif->values[0].name, "dn"))
			return err_set(err, HR_FAIL, "line %zu: a record begins with \"dn: \"",
				       first);
		const struct ldif_record record = { first, ldif->values[0].value, ldif->values + 1,
						    n - 1 };
		status = ldif->fn(ldif->arg, &record, err);
	}
	buf_clear(&ldif->text);
	return status;
}

/* Bytes to lines ------------------------------------------------------------------------------ */

static enum hr_status begin_line(struct ldif *ldif, bool folded, struct hr_err *err)
{
	ldif->in_line = true;
	if (folded && ldif->n == 0)
		return err_set(err, HR_FAIL, "line %zu: begins with a space, but continues nothing",
			       ldif->number);
	if (folded)
		return HR_OK;
	if (ldif->n == LDIF_LINES)
		return err_set(err, HR_FAIL, "line %zu: a record of more than %d lines",
			       ldif->number, LDIF_LINES);
	if (ldif->n == ldif->size) {
		ldif->size = ldif->size ? 2 * ldif->size : 64;
		ldif->lines = mem_resize(ldif->lines, ldif->size, sizeof *ldif->lines);
	}
	ldif->lines[ldif->n++] = (struct line){ ldif->text.len, 0, ldif->number };
	return HR_OK;
}

/* The line under way is whole: a blank one ends the record. */
static enum hr_status end_line(struct ldif *ldif, struct hr_err *err)
{
	struct buf *text = &ldif->text;

	ldif->number++;
	ldif->in_line = false;
	struct line *line = &ldif->lines[ldif->n - 1];
	if (text->len > line->at && text->data[text->len - 1] == '\r')
		text->len--;
	line->len = text->len - line->at;
	if (line->len > 0)
		return HR_OK;
	ldif->n--;
	return end_record(ldif, err);
}

/* Adds the next bytes of a line to the record. */
static enum hr_status add_piece(struct ldif *ldif, struct slice piece, struct hr_err *err)
{
	if (!ldif->in_line && piece.len > 0) {
		bool folded = piece.data[0] == ' ';
		if (begin_line(ldif, folded, err) != HR_OK)
			return err->status;
		piece.data += folded;
		piece.len -= folded;
	}
	buf_add_slice(&ldif->text, piece);
	if (ldif->text.overflowed)
		return err_set(err, HR_FAIL, "line %zu: a record of more than %d bytes",
			       ldif->number, LDIF_RECORD_BYTES);
	return HR_OK;
}

enum hr_status ldif_feed(struct ldif *ldif, struct slice bytes, struct hr_err *err)
{
	while (bytes.len > 0) {
		const char *newline = memchr(bytes.data, '\n', bytes.len);
		size_t len = newline ? (size_t)(newline - bytes.data) : bytes.len;
		if (add_piece(ldif, (struct slice){ bytes.data, len }, err) != HR_OK)
			return err->status;
		if (!newline)
			return HR_OK;
		if (!ldif->in_line && begin_line(ldif, false, err) != HR_OK)
			return err->status;
		if (end_line(ldif, err) != HR_OK)
			return err->status;
		bytes = (struct slice){ newline + 1, bytes.len - len - 1 };
	}
	return HR_OK;
}

enum hr_status ldif_end(struct ldif *ldif, struct hr_err *err)
{
	if (ldif->in_line && end_line(ldif, err) != HR_OK)
		return err->status;
	return ldif->n > 0 ? end_record(ldif, err) : HR_OK;
}
