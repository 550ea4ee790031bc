/* SPDX-License-Identifier: Apache-2.0 */
/* Chat as a mail (RFC 5322, RFC 2045, RFC 6532 where an address needs it; GMime): plain text and
 * the same as HTML. Above the text stands the line above which a reply is read (COMPOSE_MARK),
 * below it who sent this and why. A digest has several texts; a notice has none. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

enum { COMPOSE_TEXTS_MAX = 100, COMPOSE_REFERENCES_MAX = 20, COMPOSE_SUBJECT_MAX = 200 };

/* The mark begins and ends a line of a mail of ours; between the two it says in words what for. */
#define COMPOSE_MARK "-=-"

struct compose_text {
	struct slice text; /* UTF-8; controls are left out */
	usec sent;
};

struct compose {
	const char *from_name; /* of the person; NULL or "": none */
	const char *from;      /* the address that the site's domains may send for */
	const char *person;    /* federation address of the person, shown in the text */
	const char *to_name;   /* likewise; may be NULL */
	const char *to;
	const char *reply_to;	 /* NULL: no reply is possible */
	const char *subject;	 /* NULL or "": made from the name, in the language of the mail */
	const char *message_id;	 /* left@right, without <> */
	const char *in_reply_to; /* likewise; NULL: none */
	const char *const *references; /* likewise, the oldest first */
	size_t reference_count;
	usec date;	   /* of the message; of a digest: of the newest */
	bool is_automatic; /* Auto-Submitted: auto-generated: a notice, a digest, what a program
			      said */
	const char *const *trace; /* sites passed, ours last: gateway/mail/kind.h */
	size_t trace_count;
	const char *const
		*languages; /* of the reader, the best first: "de", "nl-BE"; else English */
	size_t language_count;
	const struct compose_text *texts; /* count 0: a notice only */
	size_t text_count;
	size_t more; /* messages that wait and are not in `texts` (a notice: all that wait) */
};

/* Whether a Message-ID that came can stand in the references of a mail. */
bool compose_can_name(const char *message_id);

/* Appends the mail, lines end with CRLF. *needs_utf8: an address is not ASCII, so that MAIL needs
 * SMTPUTF8. HR_FAIL: an address, id or site is none; err says which (nothing is appended). */
HR_MUST_USE enum hr_status compose_mail(const struct compose *mail, struct buf *out,
					bool *needs_utf8, struct hr_err *err);
