/* SPDX-License-Identifier: Apache-2.0 */
/* The boundaries of the multiparts that are open, and the lines that they are on (RFC 2046 section
 * 5.1.1): found in one pass over a mail, however deep it nests. A line that is the delimiter of
 * several belongs to the outermost. Pure. */
#pragma once

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { BOUNDARIES_MAX = 16, BOUNDARY_NONE = BOUNDARIES_MAX };

struct boundaries {
	struct slice open[BOUNDARIES_MAX]; /* borrowed, the outermost first; len 0: is closed */
	size_t count;
	uint64_t compared; /* bytes that lines were compared with, so far */
};

struct delimiter {
	size_t start, end; /* of its line, with the line end that belongs to it on either side */
	size_t level;	   /* of its multipart; BOUNDARY_NONE: it is the end of the mail */
	bool is_last;	   /* the closing one */
};

/* Returns its level. No more than BOUNDARIES_MAX at a time. */
size_t boundary_open(struct boundaries *boundaries, struct slice boundary);
void boundary_close(struct boundaries *boundaries, size_t level); /* what follows is of others */
void boundary_leave(struct boundaries *boundaries, size_t level); /* with those inside */

/* Whether the line that begins at `at` is one. */
bool boundary_is_at(struct boundaries *boundaries, struct slice mail, size_t at,
		    struct delimiter *out);
/* The next one, from `at` on, where a line begins. */
struct delimiter boundary_find(struct boundaries *boundaries, struct slice mail, size_t at);
