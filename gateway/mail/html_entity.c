/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "gateway/mail/html.h"

#include <stdlib.h>

enum { NAME_MAX_LEN = 10, DIGITS_MAX = 8, FIRST_LATIN = 0xa0 };

/* Of U+00A0 and the 95 after it. */
static const char *const latin[] = {
	"nbsp",	  "iexcl",  "cent",   "pound",	"curren", "yen",    "brvbar", "sect",	"uml",
	"copy",	  "ordf",   "laquo",  "not",	"shy",	  "reg",    "macr",   "deg",	"plusmn",
	"sup2",	  "sup3",   "acute",  "micro",	"para",	  "middot", "cedil",  "sup1",	"ordm",
	"raquo",  "frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc",	"Atilde",
	"Auml",	  "Aring",  "AElig",  "Ccedil", "Egrave", "Eacute", "Ecirc",  "Euml",	"Igrave",
	"Iacute", "Icirc",  "Iuml",   "ETH",	"Ntilde", "Ograve", "Oacute", "Ocirc",	"Otilde",
	"Ouml",	  "times",  "Oslash", "Ugrave", "Uacute", "Ucirc",  "Uuml",   "Yacute", "THORN",
	"szlig",  "agrave", "aacute", "acirc",	"atilde", "auml",   "aring",  "aelig",	"ccedil",
	"egrave", "eacute", "ecirc",  "euml",	"igrave", "iacute", "icirc",  "iuml",	"eth",
	"ntilde", "ograve", "oacute", "ocirc",	"otilde", "ouml",   "divide", "oslash", "ugrave",
	"uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml",
};

static const struct {
	const char *name;
	uint32_t code;
} others[] = {
	{ "amp", '&' },	      { "lt", '<' },	    { "gt", '>' },	  { "quot", '"' },
	{ "apos", '\'' },     { "OElig", 0x152 },   { "oelig", 0x153 },	  { "Scaron", 0x160 },
	{ "scaron", 0x161 },  { "Yuml", 0x178 },    { "circ", 0x2c6 },	  { "tilde", 0x2dc },
	{ "ensp", 0x2002 },   { "emsp", 0x2003 },   { "thinsp", 0x2009 }, { "zwnj", 0x200c },
	{ "zwj", 0x200d },    { "lrm", 0x200e },    { "rlm", 0x200f },	  { "ndash", 0x2013 },
	{ "mdash", 0x2014 },  { "lsquo", 0x2018 },  { "rsquo", 0x2019 },  { "sbquo", 0x201a },
	{ "ldquo", 0x201c },  { "rdquo", 0x201d },  { "bdquo", 0x201e },  { "dagger", 0x2020 },
	{ "bull", 0x2022 },   { "hellip", 0x2026 }, { "permil", 0x2030 }, { "prime", 0x2032 },
	{ "lsaquo", 0x2039 }, { "rsaquo", 0x203a }, { "euro", 0x20ac },	  { "trade", 0x2122 },
	{ "larr", 0x2190 },   { "uarr", 0x2191 },   { "rarr", 0x2192 },	  { "darr", 0x2193 },
	{ "harr", 0x2194 },   { "minus", 0x2212 },  { "infin", 0x221e },  { "ne", 0x2260 },
	{ "le", 0x2264 },     { "ge", 0x2265 },	    { "check", 0x2713 },
};

/* What windows-1252 has where Unicode has controls: numbers are often meant so. */
static const uint16_t windows[32] = {
	0x20ac, 0x81,	0x201a, 0x192,	0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,	0x2030, 0x160,
	0x2039, 0x152,	0x8d,	0x17d,	0x8f,	0x90,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x2dc,	0x2122, 0x161,	0x203a, 0x153,	0x9d,	0x17e,	0x178,
};

static uint32_t named(struct slice name)
{
	for (size_t i = 0; i < countof(others); i++)
		if (slice_is(name, others[i].name))
			return others[i].code;
	for (size_t i = 0; i < countof(latin); i++)
		if (slice_is(name, latin[i]))
			return (uint32_t)(FIRST_LATIN + i);
	return 0;
}

static bool is_digit(char c, bool is_hex)
{
	return (c >= '0' && c <= '9') ||
	       (is_hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

/* "&#228" or "&#xe4", with a semicolon or without. */
static uint32_t numbered(struct slice text, size_t *len)
{
	bool is_hex = text.len > 2 && (text.data[2] == 'x' || text.data[2] == 'X');
	size_t start = is_hex ? 3 : 2, end = start;
	char digits[DIGITS_MAX + 1] = "";

	while (end < text.len && end - start < DIGITS_MAX && is_digit(text.data[end], is_hex)) {
		digits[end - start] = text.data[end];
		end++;
	}
	if (end == start)
		return 0;
	uint32_t code = (uint32_t)strtoul(digits, NULL, is_hex ? 16 : 10);
	*len = end + (end < text.len && text.data[end] == ';');
	if (code >= 0x80 && code < FIRST_LATIN)
		return windows[code - 0x80];
	return code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0xfffd : code;
}

uint32_t html_entity(struct slice text, size_t *len)
{
	size_t end = 1;

	if (text.len < 3 || text.data[0] != '&')
		return 0;
	if (text.data[1] == '#')
		return numbered(text, len);
	while (end < text.len && end <= NAME_MAX_LEN && text.data[end] != ';')
		end++;
	if (end == text.len || text.data[end] != ';')
		return 0;
	*len = end + 1;
	return named((struct slice){ text.data + 1, end - 1 });
}
