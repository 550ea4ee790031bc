/* SPDX-License-Identifier: Apache-2.0 */
/* text/plain; format=flowed (RFC 3676): lines that were folded for the way become paragraphs again,
 * quoted ones with "> " for each level. */
#pragma once

#include "base/buf.h"

/* Appends; lines of `text` end with \n. `delsp`: the space at a fold was not there before. */
void flowed_to_text(struct slice text, bool delsp, struct buf *out);
