/* SPDX-License-Identifier: Apache-2.0 */
/* Is it text? UTF-8 of RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. */
#pragma once

#include "base/slice.h"

#include <stdint.h>

bool utf8_valid(struct slice text);
bool utf8_text(struct slice text);	/* valid and without NUL: what PostgreSQL takes as text */
bool utf8_ascii(struct slice text);	/* no byte above 0x7f */
bool utf8_printable(struct slice text); /* ASCII from '!' to '~' only: no space, no control */
/* Valid, and every character is a Char of XML 1.0: of the controls only tab, LF and CR, and
 * neither U+FFFE nor U+FFFF. */
bool utf8_xml(struct slice text);
/* The longest beginning of `text` within `max` bytes that does not cut a character. */
struct slice utf8_cut(struct slice text, size_t max);
/* Length of the character that `text` begins with, its code point in *code; 0: there is none. */
size_t utf8_next(struct slice text, uint32_t *code);
size_t utf8_put(uint32_t code, char out[4]); /* length; 0: no character has that code point */
