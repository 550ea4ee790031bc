/* SPDX-License-Identifier: Apache-2.0 */
/* Federation addresses and mailboxes. A person's federation address is the mailbox, but for what a
 * JID cannot have, which is escaped (XEP-0106: "o\27hara@example.com"). Somebody outside of every
 * federated domain, an outsider, is an address of the domain under which they were let in:
 * "eve\40gmail.example@example.com". Pure. */
#pragma once

#include "base/buf.h"
#include "base/slice.h"

/* The mailbox of a bare federation address, appended; of an outsider's, their own. */
void email_of_address(struct slice address, struct buf *out);
/* The address of a mailbox, not prepared yet (address_parse); appended. */
void email_to_address(struct slice local, struct slice domain, struct buf *out);
/* Whether it is the address of an outsider. */
bool email_is_outsider(struct slice address);
/* The address under `domain` of an outsider whose own, prepared and bare, is `address`; appended.
 */
void email_outsider(struct slice address, const char *domain, struct buf *out);
