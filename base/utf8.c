/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#define EACH_BYTE(b) (0x0101010101010101u * (uint64_t)(b))

static uint64_t load(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof word);
	return word;
}

/* Length of the valid multi-byte character at `at`, its code point in *code; 0: not one. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc0 ? 2 : 0;

	if (len == 0 || len > left || at[0] > 0xf4)
		return 0;
	uint32_t c = at[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*code = c;
	return len;
}

static bool is_xml_char(uint32_t c)
{
	return c >= 0x20 ? c != 0xfffe && c != 0xffff : c == '\t' || c == '\n' || c == '\r';
}

static bool valid(struct slice text, bool xml)
{
	/* A byte less than `low` in a word is looked at alone: it is rare. */
	uint64_t low = xml ? EACH_BYTE(0x20) : 0;

	for (size_t i = 0; i < text.len;) {
		if (text.len - i >= sizeof(uint64_t)) {
			uint64_t word = load(text.data + i);
			if (((word | ((word - low) & ~word)) & EACH_BYTE(0x80)) == 0) {
				i += sizeof word;
				continue;
			}
		}
		const unsigned char *at = (const unsigned char *)text.data + i;
		uint32_t code = *at;
		size_t len = code < 0x80 ? 1 : decode(at, text.len - i, &code);

		if (len == 0 || (xml && !is_xml_char(code)))
			return false;
		i += len;
	}
	return true;
}

bool utf8_valid(struct slice text)
{
	return valid(text, false);
}

bool utf8_text(struct slice text)
{
	return valid(text, false) && (text.len == 0 || !memchr(text.data, '\0', text.len));
}

bool utf8_xml(struct slice text)
{
	return valid(text, true);
}

bool utf8_ascii(struct slice text)
{
	uint64_t all = 0;
	size_t i = 0;

	for (; text.len - i >= sizeof all; i += sizeof all)
		all |= load(text.data + i);
	for (; i < text.len; i++)
		all |= (unsigned char)text.data[i];
	return (all & EACH_BYTE(0x80)) == 0;
}

bool utf8_printable(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < '!' || text.data[i] > '~')
			return false;
	return true;
}

struct slice utf8_cut(struct slice text, size_t max)
{
	if (text.len <= max)
		return text;
	size_t len = max;
	while (len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80)
		len--;
	return (struct slice){ text.data, len };
}

size_t utf8_next(struct slice text, uint32_t *code)
{
	const unsigned char *at = (const unsigned char *)text.data;

	if (text.len == 0)
		return 0;
	if (at[0] >= 0x80)
		return decode(at, text.len, code);
	*code = at[0];
	return 1;
}

size_t utf8_put(uint32_t code, char out[4])
{
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	for (size_t i = len; i-- > 1; code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(len == 1 ? code : (0xf00u >> len & 0xff) | code);
	return len;
}
