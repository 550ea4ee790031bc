/* SPDX-License-Identifier: Apache-2.0 */
/* What a mail says, as chat: the text that its author wrote, and the names of what hangs on it.
 * Of the parts the best text is taken: of alternatives plain text, else HTML turned into text; of
 * others all that are shown inline. Then charset to UTF-8, format=flowed (RFC 3676), what is quoted
 * and the signature cut (gateway/mail/quote.h). */
#pragma once

#include "gateway/mail/mime.h"

enum {
	READ_TEXT_MAX = 32 * 1024, /* bytes of the chat text; what is past it is cut */
	READ_SUBJECT_MAX = 500,
	READ_NAME_MAX = 255,
	READ_ATTACHMENTS_MAX = 64 /* more: counted only */
};

struct read_attachment {
	char *name;	 /* owned, UTF-8; without one its type: "image/png" */
	size_t size;	 /* decoded bytes */
	bool is_picture; /* shown in the text: gateway/mail/picture.h */
};

struct read_mail {
	char *subject; /* owned, one line, "" when there is none */
	char *text; /* owned, UTF-8 that XML can carry, lines end with \n; "" when there is none */
	bool is_quote_cut; /* text that was quoted, or a signature, is left out */
	bool is_too_long;  /* the text ends where READ_TEXT_MAX was reached */
	struct read_attachment attachments[READ_ATTACHMENTS_MAX];
	size_t attachment_count; /* may be more than the array holds */
	size_t picture_count;	 /* of them */
};

/* Never fails: mime_parse has bounded everything. */
void read_mail(const struct mime *mime, struct read_mail *out);
void read_mail_clear(struct read_mail *mail); /* frees what is inside */
/* Whether there is more to it than the text and the pictures in it. Pictures alone are more. */
bool read_has_attachments(const struct read_mail *mail);
