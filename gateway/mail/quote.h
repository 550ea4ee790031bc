/* SPDX-License-Identifier: Apache-2.0 */
/* What the author of a reply wrote, without what is quoted and without the signature.
 *
 *   text above what is quoted		the usual reply: only that
 *   one text below it (lines with >)	likewise
 *   text between quoted lines		those that are answered stay, the last three before each
 * answer nothing but what is quoted		all of it, unless it is a mail of ours a mail that
 * is passed on		all of it, unless it is a mail of ours
 *
 * What is quoted begins at our own mark, at a line that mail clients write above it, or where the
 * HTML of one says so. */
#pragma once

#include "base/buf.h"

/* Appends; lines of `text` end with \n, marks of gateway/mail/html.h among them. True: something
 * was left out. */
bool quote_cut(struct slice text, struct buf *out);
