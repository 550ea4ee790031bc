/* SPDX-License-Identifier: Apache-2.0 */
/* What a component (XEP-0114) says on its stream besides the stanzas it carries: each appends to
 * `out`. Pure. */
#pragma once

#include "base/buf.h"
#include "gateway/xmpp/scan.h"

void say_header(struct buf *out, const char *domain);
/* XEP-0114 section 3: the hexadecimal SHA-1 of the stream id and the secret (NULL: empty). */
void say_handshake(struct buf *out, struct slice id, const char *secret);
void say_ping(struct buf *out, const char *domain, const char *native_domain, const char *id);
void say_fault(struct buf *out, enum scan_fault fault); /* a stream error */
void say_end(struct buf *out);				/* the end tag of the stream */
