/* SPDX-License-Identifier: Apache-2.0 */
/* HTML as plain text: lines, lists, links as "text (URL)", <blockquote> as lines with "> ". What
 * the well-known mail clients wrap around a quoted mail or a signature is marked. No layout, no CSS
 * but display:none. */
#pragma once

#include "base/buf.h"

/* Stand alone on a line, where such a thing begins. Controls are never in text otherwise. */
#define HTML_QUOTE_MARK "\x01"
#define HTML_SIGNATURE_MARK "\x02"

/* Appends; `html` and what is made of it are UTF-8, with \n at line ends. Stops where out->cap is
 * reached. Never fails: anything is HTML. */
void html_to_text(struct slice html, struct buf *out);

/* The character that the reference at the beginning of `text` ("&amp;", "&#228;") stands for; *len
 * is how much of the text it is. 0: there is none. */
uint32_t html_entity(struct slice text, size_t *len);
