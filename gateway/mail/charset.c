/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/charset.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <strings.h>

enum { NAME_MAX_LEN = 40, CHUNK = 4096 };
#define REPLACEMENT "\xef\xbf\xbd"
static const char fallback[] = "windows-1252";

/* Names that are used for a larger set than they stand for; NULL: UTF-8 if it is, else the
 * fallback.
 */
static const struct {
	const char *name, *meant;
} meanings[] = {
	{ "us-ascii", NULL },
	{ "ascii", NULL },
	{ "ansi_x3.4-1968", NULL },
	{ "unknown-8bit", NULL },
	{ "x-unknown", NULL },
	{ "utf-8", "utf-8" },
	{ "utf8", "utf-8" },
	{ "iso-8859-1", "windows-1252" },
	{ "latin1", "windows-1252" },
	{ "iso-8859-9", "windows-1254" },
	{ "iso-8859-11", "windows-874" },
	{ "gb2312", "gb18030" },
	{ "gbk", "gb18030" },
	{ "ks_c_5601-1987", "cp949" },
	{ "euc-kr", "cp949" },
	{ "shift_jis", "cp932" },
	{ "big5", "big5-hkscs" },
};

/* iconv reads '/' and ',' in a name as instructions. */
static bool is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.:+()", name[i]))
			return false;
	return len > 0 && len <= NAME_MAX_LEN;
}

static const char *meaning(const char *charset)
{
	if (!charset || !is_name(charset))
		return NULL;
	for (size_t i = 0; i < countof(meanings); i++)
		if (strcasecmp(meanings[i].name, charset) == 0)
			return meanings[i].meant;
	return charset;
}

void charset_add(struct buf *out, struct slice text)
{
	size_t room = out->cap ? out->cap - out->len : SIZE_MAX;

	buf_add_slice(out, utf8_cut(text, room));
	if (text.len > room)
		out->overflowed = true;
}

static bool is_left_out(uint32_t code)
{
	return (code < ' ' && code != '\t' && code != '\n') || (code >= 0x7f && code < 0xa0) ||
	       code == 0xfeff || code == 0xfffe || code == 0xffff;
}

/* Length of the character or line end that `text` begins with, and what to write for it. */
static size_t next(struct slice text, struct slice *write)
{
	uint32_t code;
	size_t len = utf8_next(text, &code);

	*write = (struct slice){ text.data, len };
	if (len == 0) {
		*write = slice_lit(REPLACEMENT);
		return 1;
	}
	if (code == '\r') {
		*write = slice_lit("\n");
		return text.len > 1 && text.data[1] == '\n' ? 2 : 1;
	}
	if (is_left_out(code))
		write->len = 0;
	return len;
}

/* From bytes that are UTF-8, or nearly. */
static void clean(struct slice text, struct buf *out)
{
	size_t start = 0, at = 0;

	while (at < text.len && !out->overflowed) {
		struct slice rest = { text.data + at, text.len - at }, write;
		size_t len = next(rest, &write);
		if (write.data != rest.data || write.len != len) {
			charset_add(out, (struct slice){ text.data + start, at - start });
			if (!out->overflowed)
				charset_add(out, write);
			start = at + len;
		}
		at += len;
	}
	if (start < text.len && !out->overflowed)
		charset_add(out, (struct slice){ text.data + start, text.len - start });
}

/* Converts what makes at most CHUNK bytes more. False: no more can be done. */
static bool step(iconv_t cd, char **in, size_t *left, struct buf *out)
{
	size_t room = CHUNK, before = *left;
	char *to = buf_reserve(out, CHUNK);

	size_t status = iconv(cd, in, left, &to, &room);
	out->len += CHUNK - room;
	if (status != (size_t)-1)
		return false;
	if (errno == E2BIG)
		return before != *left || room < CHUNK;
	buf_add_slice(out, slice_lit(REPLACEMENT));
	if (errno != EILSEQ || *left == 0)
		return false;
	(*in)++, (*left)--;
	iconv(cd, NULL, NULL, NULL, NULL);
	return true;
}

static void convert(iconv_t cd, struct slice bytes, struct buf *out)
{
	char *in = (char *)bytes.data;
	size_t left = bytes.len, room = CHUNK;
	size_t enough = out->cap ? out->cap + CHUNK : SIZE_MAX;
	scoped_buf made = BUF_INIT(0);

	while (left > 0 && made.len <= enough && step(cd, &in, &left, &made))
		;
	char *to = buf_reserve(&made, CHUNK);
	iconv(cd, NULL, NULL, &to, &room); /* what a stateful charset still holds */
	made.len += CHUNK - room;
	clean(buf_slice(&made), out);
	out->overflowed |= made.len > enough;
}

void charset_to_utf8(struct slice bytes, const char *charset, struct buf *out)
{
	const char *meant = meaning(charset);
	bool is_utf8 = meant ? strcasecmp(meant, "utf-8") == 0 : utf8_valid(bytes);

	if (is_utf8) {
		clean(bytes, out);
		return;
	}
	iconv_t cd = iconv_open("UTF-8", meant ? meant : fallback);
	if (cd == (iconv_t)-1 && meant) {
		charset_to_utf8(bytes, NULL, out);
		return;
	}
	if (cd == (iconv_t)-1) {
		clean(bytes, out);
		return;
	}
	convert(cd, bytes, out);
	iconv_close(cd);
}

char *charset_line(struct slice text, size_t max)
{
	scoped_buf made = BUF_INIT(0), line = BUF_INIT(0);

	clean(text, &made);
	for (size_t i = 0; i < made.len; i++) {
		bool is_space = made.data[i] == ' ' || made.data[i] == '\t' || made.data[i] == '\n';
		if (!is_space)
			buf_add_char(&line, made.data[i]);
		else if (line.len > 0 && line.data[line.len - 1] != ' ')
			buf_add_char(&line, ' ');
	}
	struct slice cut = utf8_cut(buf_slice(&line), max);
	while (cut.len > 0 && cut.data[cut.len - 1] == ' ')
		cut.len--;
	return mem_dup(cut.data, cut.len);
}
