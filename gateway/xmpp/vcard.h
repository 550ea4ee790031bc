/* SPDX-License-Identifier: Apache-2.0 */
/* A person's vCard as XMPP has it (XEP-0054 vcard-temp), from what the directory knows. Pure. */
#pragma once

#include "base/buf.h"
#include "schema/profile.h"

#define VCARD_NS "vcard-temp"

extern const char vcard_service[]; /* the payload for a federated domain itself */

void vcard_write(struct buf *out, const struct profile *profile); /* the payload of a result */
