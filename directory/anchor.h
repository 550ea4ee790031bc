/* SPDX-License-Identifier: Apache-2.0 */
/* What an entry is known by for ever, as text: 16 bytes become 8-4-4-4-12 hexadecimal digits. Pure.
 */
#pragma once

#include "base/slice.h"

enum { ANCHOR_RAW = 16, ANCHOR_CHARS = 36 };

/* The bytes of an entryUUID (RFC 4530), in their order. False: they are not ANCHOR_RAW. */
bool anchor_from_uuid(struct slice bytes, char out[ANCHOR_CHARS + 1]);
/* The bytes of an objectGUID, in Microsoft's order (MS-DTYP 2.3.4): the first three fields are
 * little-endian, the rest is a row of bytes. */
bool anchor_from_guid(struct slice bytes, char out[ANCHOR_CHARS + 1]);
/* The bytes of an objectGUID from its text, or from them as 32 hexadecimal digits, as Active
 * Directory writes them in front of a DN. False: it is neither. */
bool anchor_to_guid(struct slice text, unsigned char out[ANCHOR_RAW]);
