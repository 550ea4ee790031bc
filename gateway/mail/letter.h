/* SPDX-License-Identifier: Apache-2.0 */
/* From chat messages of one sender to one recipient to the mail that says them: which of them have
 * something to say, and the fields of gateway/mail/compose.h. Pure. */
#pragma once

#include "gateway/mail/reply_address.h"
#include "gateway/mail/slot.h"
#include "schema/config.h"
#include "schema/mail.h"
#include "schema/people.h"

/* What the messages of a slot say that is for a mail; owned. */
struct letter_words {
	char *subject, *thread; /* of the first that has one; NULL: none */
	struct letter_text {
		char *text;
		usec sent;
		size_t message; /* which of the slot says it */
	} texts[SLOT_MESSAGES_MAX];
	size_t count; /* 0: nothing for a mail: somebody is typing, a receipt */
	bool is_error;
};
void letter_words_read(const struct slot *slot, struct letter_words *out);
void letter_words_clear(struct letter_words *words);
/* Keeps the first `most` (1 or more) of the texts. Returns which message says the first of the
 * others, so that another mail begins with it; 0: there is none. */
size_t letter_words_fit(struct letter_words *words, size_t most);

struct letter {
	const struct config_mail *mail;
	const char *site; /* ours */
	const struct slot *slot;
	const struct letter_words *words;
	const struct person *from, *to;	      /* from NULL: nobody knows the name */
	const struct mail_send_answer *known; /* of the conversation */
	const struct reply_keys *keys;
	enum config_mail_mode mode; /* notice or full */
	usec now;
};

/* Why there is no mail, or not now. */
#define LETTER_EMPTY "it says nothing for a mail"
#define LETTER_UNWANTED "this person does not want mail"
#define LETTER_CAPPED "too many mails of this conversation in an hour"

/* What the domain gives and the person, whose own choice may be NULL, wants. */
enum config_mail_mode letter_mode(const struct config_mail *mail, struct slice choice);
bool letter_is_capped(const struct config_mail *mail, const struct mail_send_answer *known);

/* The Message-ID of a slot's mail, without <>, owned: the same each time it is tried. */
char *letter_message_id(const struct slot *slot, const char *chat_domain);
/* The address that a bounce goes to, and a reply, appended. */
HR_MUST_USE enum hr_status letter_reply_to(const struct letter *letter, struct buf *out,
					   struct hr_err *err);
/* *needs_utf8: an address is not ASCII. HR_FAIL: it can't be said in a mail; err says why. */
HR_MUST_USE enum hr_status letter_write(const struct letter *letter, struct buf *out,
					bool *needs_utf8, struct hr_err *err);
