/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says, out of its payload: the children of a stanza that mail and receipts
 * (XEP-0184) are about. Pure. */
#pragma once

#include "base/mem.h"
#include "base/slice.h"

#include <stdbool.h>

struct said {
	char *body, *subject, *thread; /* owned; the first of each; NULL: none */
	char *receipt_of; /* owned: it is the receipt for the message of that stanza id; else NULL
			   */
	char *error;	  /* owned: what an error says, or its condition; NULL: it is none */
	bool asks;	  /* for a receipt */
};

/* Of a payload that is no well-formed XML, whatever came before the fault. */
void said_read(struct slice payload, struct said *out);
void said_clear(struct said *said); /* frees what is inside; a zeroed struct is fine */
#define scoped_said __attribute__((cleanup(said_clear))) struct said

#define SAID_RECEIPTS "urn:xmpp:receipts"
