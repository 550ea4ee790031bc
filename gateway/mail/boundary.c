/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/boundary.h"

#include <stdlib.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice without_blanks_after(struct slice text)
{
	while (text.len > 0 && is_blank(text.data[text.len - 1]))
		text.len--;
	return text;
}

size_t boundary_open(struct boundaries *boundaries, struct slice boundary)
{
	if (boundaries->count == BOUNDARIES_MAX)
		abort();
	boundaries->open[boundaries->count] = without_blanks_after(boundary);
	return boundaries->count++;
}

void boundary_close(struct boundaries *boundaries, size_t level)
{
	boundaries->open[level].len = 0;
}

void boundary_leave(struct boundaries *boundaries, size_t level)
{
	boundaries->count = level;
}

/* `text`: what follows the -- of a line. */
static size_t level_of(struct boundaries *boundaries, struct slice text, bool *is_last)
{
	bool has_dashes = text.len > 2 && memcmp(text.data + text.len - 2, "--", 2) == 0;

	for (size_t i = 0; i < boundaries->count; i++) {
		struct slice one = boundaries->open[i];

		*is_last = has_dashes && text.len - 2 == one.len;
		if (one.len == 0 || (!*is_last && text.len != one.len))
			continue;
		boundaries->compared += one.len;
		if (memcmp(text.data, one.data, one.len) == 0)
			return i;
	}
	return BOUNDARY_NONE;
}

bool boundary_is_at(struct boundaries *boundaries, struct slice mail, size_t at,
		    struct delimiter *out)
{
	if (boundaries->count == 0 || mail.len - at < 2 || memcmp(mail.data + at, "--", 2) != 0)
		return false;
	const char *line_end = memchr(mail.data + at, '\n', mail.len - at);
	size_t end = line_end ? (size_t)(line_end - mail.data) + 1 : mail.len;
	struct slice text = { mail.data + at + 2, end - at - 2 };
	bool is_last;
	size_t level = level_of(boundaries, without_blanks_after(text), &is_last);

	if (level == BOUNDARY_NONE)
		return false;
	size_t start = at - (at > 0);
	start -= start > 0 && mail.data[start] == '\n' && mail.data[start - 1] == '\r';
	*out = (struct delimiter){ start, end, level, is_last };
	return true;
}

/* Where the next line that begins with -- does; the end if there is none. Looks at the last of
 * three bytes first: of most it tells that none of the three is a line end before two dashes. */
static size_t find_dashes(struct slice mail, size_t at)
{
	while (mail.len - at >= 3) {
		const char *three = mail.data + at;

		if (three[2] == '-' && three[1] == '-' && three[0] == '\n')
			return at + 1;
		at += three[2] == '-' ? 1 : three[2] == '\n' ? 2 : 3;
	}
	return mail.len;
}

struct delimiter boundary_find(struct boundaries *boundaries, struct slice mail, size_t at)
{
	struct delimiter found = { mail.len, mail.len, BOUNDARY_NONE, true };

	while (boundaries->count > 0 && at < mail.len &&
	       !boundary_is_at(boundaries, mail, at, &found))
		at = find_dashes(mail, at);
	return found;
}
