/* SPDX-License-Identifier: Apache-2.0 */
/* A mail that came in, as far as it is the same for all its recipients: what it is, what it says,
 * who it says it is from. Made once, counted by reference. */
#pragma once

#include "federation/envelope.h"
#include "gateway/mail/dsn.h"
#include "gateway/mail/kind.h"
#include "gateway/mail/lmtp.h"
#include "gateway/mail/read.h"
#include "gateway/mail/vouch.h"
#include "schema/config.h"

struct incoming {
	enum kind kind;
	char *message_id;      /* without <>; made up when the mail has none */
	struct read_mail said; /* once it was read */
	bool is_read;
	struct dsn *report; /* KIND_REPORT that could be read; else NULL */
	struct mime *mime;  /* of the bytes of the mail; NULL: they are gone */
	char *client;
	char *original; /* owned: the bytes, to be kept for operators; NULL: not, or they are */
	size_t original_len;
	struct room *room; /* that they hold */
	unsigned refs;
};

/* HR_FAIL: it is no mail; err says why. *why: for the log, what decided its kind; may be NULL. */
HR_MUST_USE enum hr_status incoming_new(const struct lmtp_mail *mail, const char *site,
					struct incoming **out, const char **why,
					struct hr_err *err);
/* Its bytes are to be kept: taken over from the session. */
void incoming_keep(struct incoming *incoming, struct lmtp *lmtp, struct room *room, size_t len);
void incoming_kept(struct incoming *incoming); /* they are: gone, if they were to be kept */
/* Finds out what it says, which is most of the work with a mail: of a KIND_PERSONAL that somebody
 * vouches for, before its bytes go. Once. */
void incoming_read(struct incoming *incoming);
/* The bytes of the mail, which `incoming` has borrowed, go: nobody is vouched for any more. */
void incoming_shed(struct incoming *incoming);
struct incoming *incoming_ref(struct incoming *incoming);
void incoming_free(struct incoming *incoming); /* drops one reference; NULL is fine */
DEFINE_SCOPED(incoming)

/* Who wrote it, if what `mail` trusts vouches for it. HR_FAIL, HR_RETRY (not now): err says why
 * not. */
HR_MUST_USE enum hr_status incoming_vouch(const struct incoming *incoming,
					  const struct config_mail *mail, struct vouched *out,
					  struct hr_err *err);
/* The payload of the message that says the same: `thread` may be NULL; `first`: the mail begins the
 * conversation, so that its subject says something too. */
void incoming_payload(const struct incoming *incoming, struct slice thread, bool first,
		      struct buf *out);
/* The payload of the error that a delivery report is. False: no recipient has failed. */
bool incoming_failure(const struct incoming *incoming, struct buf *out);
