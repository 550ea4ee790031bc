/* SPDX-License-Identifier: Apache-2.0 */
/* The address that a reply by mail goes to: names a row of the thread table, says until when, and
 * is signed (HMAC-SHA256), so that nobody makes one up or moves it to another domain.
 *
 * The local part is "reply" and 48 letters and digits (base32 of RFC 4648 in lower case; upper case
 * is read too): a version, the thread, the time it expires and 16 bytes of the signature. It has
 * no character that an MTA could take for an extension. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

enum { REPLY_LOCAL_LEN = 5 + 48, REPLY_KEY_MIN = 32 };

/* Bytes of files in the secrets directory; at least REPLY_KEY_MIN each. */
struct reply_keys {
	struct slice current;  /* signs */
	struct slice previous; /* is still believed; len 0: none */
};

struct reply_address {
	int64_t thread; /* id of a row; not negative */
	usec expires;	/* whole seconds count */
};

/* Appends local@domain. HR_FAIL: the key is too short, or there is no such time. */
HR_MUST_USE enum hr_status reply_address_write(const struct reply_address *reply,
					       const struct reply_keys *keys, const char *domain,
					       struct buf *out, struct hr_err *err);
bool reply_address_is(struct slice local); /* has the form of one, good or not */
/* HR_FAIL: not one, not signed by us for this domain, or expired; err says which. */
HR_MUST_USE enum hr_status reply_address_read(struct slice local, struct slice domain,
					      const struct reply_keys *keys, usec now,
					      struct reply_address *out, struct hr_err *err);
