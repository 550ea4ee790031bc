/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/results.h"

#include "base/buf.h"

#include <strings.h>

enum { WORD_MAX = 1000 };

struct reader {
	struct slice rest;
};

static char first(const struct reader *reader)
{
	return reader->rest.len ? reader->rest.data[0] : '\0';
}

static void skip(struct reader *reader, size_t len)
{
	reader->rest = (struct slice){ reader->rest.data + len, reader->rest.len - len };
}

/* Length of the (comment) at the beginning; what is not closed is a comment to the end. */
static size_t comment_length(struct slice text)
{
	size_t depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '\\')
			i++;
		else if (text.data[i] == '(')
			depth++;
		else if (text.data[i] == ')' && --depth == 0)
			return i + 1;
	}
	return text.len;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct reader *reader)
{
	while (reader->rest.len > 0) {
		if (is_space(first(reader)))
			skip(reader, 1);
		else if (first(reader) == '(')
			skip(reader, comment_length(reader->rest));
		else
			break;
	}
}

/* Takes `c` with the space around it, if it is next. */
static bool take(struct reader *reader, char c)
{
	skip_space(reader);
	if (reader->rest.len == 0 || first(reader) != c)
		return false;
	skip(reader, 1);
	skip_space(reader);
	return true;
}

/* Appends what stands between the quotes that `reader` is at. */
static bool take_quoted(struct reader *reader, struct buf *out)
{
	skip(reader, 1);
	while (reader->rest.len > 0 && first(reader) != '"') {
		if (first(reader) == '\\')
			skip(reader, 1);
		if (reader->rest.len == 0)
			return false;
		buf_add_char(out, first(reader));
		skip(reader, 1);
	}
	if (reader->rest.len == 0)
		return false;
	skip(reader, 1);
	return true;
}

/* The word that is next, up to one of `ends` or space: quoted parts of it without their quotes.
 * NULL: there is none, or it is too long or broken. Owned by the caller. */
static char *take_word(struct reader *reader, const char *ends)
{
	scoped_buf word = BUF_INIT(WORD_MAX);
	bool is_quoted = false;

	skip_space(reader);
	while (reader->rest.len > 0 && !is_space(first(reader)) && first(reader) != '\0' &&
	       !strchr(ends, first(reader))) {
		is_quoted |= first(reader) == '"';
		if (first(reader) == '"') {
			if (!take_quoted(reader, &word))
				return NULL;
		} else {
			buf_add_char(&word, first(reader));
			skip(reader, 1);
		}
	}
	if ((word.len == 0 && !is_quoted) || word.overflowed ||
	    memchr(buf_text(&word), '\0', word.len))
		return NULL;
	return str_dup(buf_text(&word));
}

static char *take_lower(struct reader *reader, const char *ends)
{
	char *word = take_word(reader, ends);

	for (char *c = word; c && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return word;
}

/* method[/version] = outcome. */
static bool take_method(struct reader *reader, struct results_check *check)
{
	check->method = take_lower(reader, "=/;(\"");
	if (take(reader, '/'))
		free(take_word(reader, "=;(\""));
	if (!check->method || !take(reader, '='))
		return false;
	check->outcome = take_lower(reader, ";(=");
	return check->outcome != NULL;
}

/* ptype.property = value, or reason = value, which is kept like one. */
static bool take_property(struct reader *reader, struct results_check *check)
{
	scoped_str name = take_lower(reader, "=;(\".");

	if (name && take(reader, '.')) {
		scoped_str type = give(name);
		scoped_str property = take_lower(reader, "=;(\"");
		name = property ? str_format("%s.%s", type, property) : NULL;
	}
	if (!name || !take(reader, '='))
		return false;
	bool is_empty = reader->rest.len == 0 || first(reader) == ';';
	scoped_str value = is_empty ? str_dup("") : take_word(reader, ";(");
	if (!value)
		return false;
	if (check->property_count < RESULTS_PROPERTIES_MAX)
		check->properties[check->property_count++] = (struct results_property){
			.name = give(name),
			.value = give(value),
		};
	return true;
}

static enum hr_status take_check(struct reader *reader, struct results_check *check,
				 struct hr_err *err)
{
	if (!take_method(reader, check))
		return err_set(err, HR_FAIL, "Authentication-Results: no method=result");
	for (;;) {
		skip_space(reader);
		if (reader->rest.len == 0 || first(reader) == ';')
			return HR_OK;
		if (!take_property(reader, check))
			return err_set(err, HR_FAIL, "Authentication-Results: not a property of %s",
				       check->method);
	}
}

/* "none" where the first check would be: there was no check. */
static bool is_none(struct reader reader)
{
	scoped_str word = take_lower(&reader, ";(=\"");

	skip_space(&reader);
	return word && strcmp(word, "none") == 0 && reader.rest.len == 0;
}

static enum hr_status take_checks(struct reader *reader, struct results *results,
				  struct hr_err *err)
{
	while (take(reader, ';')) {
		if (reader->rest.len == 0 || (results->count == 0 && is_none(*reader)))
			return HR_OK;
		if (results->count == RESULTS_MAX)
			return err_set(err, HR_FAIL, "Authentication-Results: more than %d checks",
				       RESULTS_MAX);
		if (take_check(reader, &results->checks[results->count++], err) != HR_OK)
			return err->status;
	}
	return reader->rest.len == 0
		       ? HR_OK
		       : err_set(err, HR_FAIL,
				 "Authentication-Results: no ; where one is expected");
}

bool results_are_of(struct slice value, const char *authserv_id)
{
	struct reader reader = { value };
	scoped_str id = take_word(&reader, ";(=");

	return id && strcasecmp(id, authserv_id) == 0;
}

enum hr_status results_parse(struct slice value, struct results **out, struct hr_err *err)
{
	struct reader reader = { value };
	scoped(results) results = mem_new(struct results);

	if (value.len > RESULTS_VALUE_MAX)
		return err_set(err, HR_FAIL, "Authentication-Results: longer than %d bytes",
			       RESULTS_VALUE_MAX);
	scoped_str id = take_word(&reader, ";(=");
	if (!id)
		return err_set(err, HR_FAIL, "Authentication-Results: no authserv-id");
	results->checks = mem_array(struct results_check, RESULTS_MAX);
	skip_space(&reader);
	if (reader.rest.len > 0 && first(&reader) != ';') /* the version */
		free(take_word(&reader, ";("));
	if (take_checks(&reader, results, err) != HR_OK)
		return err->status;
	*out = give(results);
	return HR_OK;
}

void results_free(struct results *results)
{
	if (!results)
		return;
	for (size_t i = 0; i < results->count; i++) {
		struct results_check *check = &results->checks[i];
		for (size_t k = 0; k < check->property_count; k++) {
			free(check->properties[k].name);
			free(check->properties[k].value);
		}
		free(check->method);
		free(check->outcome);
	}
	free(results->checks);
	free(results);
}

const char *results_property(const struct results_check *check, const char *name)
{
	for (size_t i = 0; i < check->property_count; i++)
		if (strcmp(check->properties[i].name, name) == 0)
			return check->properties[i].value;
	return NULL;
}
