/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a mail as text: UTF-8 that XML 1.0 can carry, with \n at line ends. */
#pragma once

#include "base/buf.h"

/* Appends as much as out->cap has room for, never a part of a character (out->overflowed: there was
 * more). `charset`: as the mail names it, NULL: not at all. One that is unknown, or US-ASCII, is
 * taken for UTF-8 where the bytes are that, else for windows-1252. What is no character becomes
 * U+FFFD; controls but tab and line ends are left out. */
void charset_to_utf8(struct slice bytes, const char *charset, struct buf *out);

/* Appends UTF-8, as much as there is room for (out->overflowed: there was more). */
void charset_add(struct buf *out, struct slice text);

/* From UTF-8, or nearly, to one line of such text: line ends, tabs and runs of spaces become one
 * space, none at either end. At most `max` bytes; owned by the caller. */
char *charset_line(struct slice text, size_t max);
