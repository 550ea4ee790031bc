/* SPDX-License-Identifier: Apache-2.0 */
/* Who wrote it: the address in From, if the site's MTA vouches for it, and why not otherwise.
 *
 * It vouches by Authentication-Results (RFC 8601) with its own authserv-id. Only the topmost field
 * with that id counts: the MTA writes above what it received, so any other may be forged; hence its
 * last milter must be the one that knows most (DMARC). In that field
 *   dmarc=pass for the domain of From is believed, dmarc=fail is refused;
 *   else (none, an error, not said) dkim=pass or spf=pass is believed when its domain is aligned
 *   with that of From: the same, or one a subdomain of the other, with two labels at least.
 * Or the mail came to the MTA from an internal relay, as it says with XFORWARD ADDR.
 * From must name exactly one mailbox, there must be one From, and a Sender doesn't count. */
#pragma once

#include "gateway/mail/mime.h"
#include "gateway/mail/network.h"

struct vouch_trust {
	const char *authserv_id;      /* NULL: none */
	const struct network *relays; /* internal ones: gateway/mail/network.h */
	size_t relay_count;
};

struct vouched {
	char *address;	/* owned; prepared as of federation/address.h, bare */
	char *name;	/* owned: the display name of From; "" when there is none */
	const char *by; /* static: "dmarc", "dkim", "spf", "relay" */
};

/* `client`: the address that the MTA had the mail from, len 0: it doesn't say.
 * HR_FAIL: nobody vouches, or From is not one person; err says which. HR_RETRY: nobody vouches, and
 * a check could not be made now. */
HR_MUST_USE enum hr_status vouch(const struct mime *mime, const struct vouch_trust *trust,
				 struct slice client, struct vouched *out, struct hr_err *err);
void vouched_clear(struct vouched *vouched); /* frees what is inside */
