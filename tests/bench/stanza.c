/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/stanza.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* The > that ends the tag that p is in; NULL when it has not come. A quoted one does not count. */
static const char *tag_end(const char *p, const char *end)
{
	for (; p < end; p++) {
		if (*p == '>')
			return p;
		if (*p == '\'' || *p == '"') {
			p = memchr(p + 1, *p, (size_t)(end - p - 1));
			if (!p)
				return NULL;
		}
	}
	return NULL;
}

static struct slice between(const char *from, const char *to)
{
	return (struct slice){ from, (size_t)(to - from) };
}

enum hr_status stanza_next(struct slice bytes, struct stanza *out, size_t *used, struct hr_err *err)
{
	const char *end = bytes.data + bytes.len;
	const char *start = skip_space(bytes.data, end);
	struct stanza found = { 0 };
	int depth = 0;

	if (start < end && *start != '<')
		return err_set(err, HR_FAIL, "text between stanzas");
	for (const char *p = start; p && end - p >= 2; p = memchr(p, '<', (size_t)(end - p))) {
		const char *begin = p + 1;

		if (*begin == '!' || *begin == '?')
			return err_set(err, HR_FAIL, "<%c inside a stream", *begin);
		p = tag_end(begin, end);
		if (!p)
			return HR_NONE;
		if (*begin == '/') {
			if (depth == 0)
				return err_set(err, HR_FAIL, "the peer has closed its stream");
			depth--;
			if (depth == 0)
				found.inner = between(found.inner.data, begin - 1);
		} else if (p[-1] == '/') {
			if (depth == 0)
				found = (struct stanza){ between(begin, p - 1), { p + 1, 0 } };
		} else if (depth++ == 0) {
			found = (struct stanza){ between(begin, p), { p + 1, 0 } };
		}
		p++;
		if (depth == 0) {
			*out = found;
			*used = (size_t)(p - bytes.data);
			return HR_OK;
		}
	}
	return HR_NONE;
}

enum hr_status stanza_stream(struct slice bytes, struct slice *tag, size_t *used,
			     struct hr_err *err)
{
	const char *end = bytes.data + bytes.len;
	const char *p = skip_space(bytes.data, end);

	if (end - p >= 2 && memcmp(p, "<?", 2) == 0) {
		p = tag_end(p, end);
		if (!p)
			return HR_NONE;
		p = skip_space(p + 1, end);
	}
	if (p == end)
		return HR_NONE;
	const char *close = tag_end(p, end);
	if (!close)
		return HR_NONE;
	if (*p != '<' || !slice_is(stanza_name(between(p + 1, close)), "stream:stream"))
		return err_set(err, HR_FAIL, "expected <stream:stream>");
	*tag = between(p + 1, close);
	*used = (size_t)(close + 1 - bytes.data);
	return HR_OK;
}

struct slice stanza_name(struct slice tag)
{
	size_t len = 0;

	while (len < tag.len && !is_space(tag.data[len]) && tag.data[len] != '/')
		len++;
	return (struct slice){ tag.data, len };
}

struct slice stanza_attribute(struct slice tag, const char *name)
{
	const char *end = tag.data + tag.len;
	const char *p = tag.data + stanza_name(tag).len;

	for (;;) {
		p = skip_space(p, end);
		const char *equals = memchr(p, '=', (size_t)(end - p));
		if (!equals)
			return (struct slice){ NULL, 0 };
		const char *name_end = equals;
		while (name_end > p && is_space(name_end[-1]))
			name_end--;
		const char *quote = skip_space(equals + 1, end);
		if (quote == end || (*quote != '\'' && *quote != '"'))
			return (struct slice){ NULL, 0 };
		const char *close = memchr(quote + 1, *quote, (size_t)(end - quote - 1));
		if (!close)
			return (struct slice){ NULL, 0 };
		if (slice_is(between(p, name_end), name))
			return between(quote + 1, close);
		p = close + 1;
	}
}
