/* SPDX-License-Identifier: Apache-2.0 */
/* What the cutting (mime.c) asks of the reading (mime_words.c). */
#pragma once

#include "gateway/mail/mime.h"

struct slice mime_trim(struct slice text); /* without blanks and line ends at both ends */
/* Of the Content-Type of `part`, or of `otherwise` if it has none that can be read: "text/plain" in
 * lower case, and the boundary; both owned by the caller. NULL: no boundary, or not a multipart. */
char *mime_read_type(const struct mime_part *part, const char *otherwise, char **boundary);
