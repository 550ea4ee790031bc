/* SPDX-License-Identifier: Apache-2.0 */
/* The queries of the mail edge: conversations, their mails, what people chose. See
 * schema/sql/0017-mail.sql. Texts given to a callback are borrowed for the call; `answer` is NULL
 * unless the status is HR_OK. `arg` is copied, and the callback gets the copy: nothing is lost when
 * the connection ends first, and who asked is found by what the copy says, if it is still there. */
#pragma once

#include "base/pg.h"

enum { MAIL_EARLIER_MAX = 20, MAIL_MORE_MAX = 100 };

/* A message in a mail, as an error that answers it needs it. */
struct mail_said {
	struct slice stanza_id, sender; /* sender: full address */
};

/* A mail is about to go to `person`, who is written to by `peer`. Texts may have data NULL. */
struct mail_send {
	struct slice domain, person, peer;
	struct slice message_id;
	struct slice stanza_id;		     /* data NULL: nobody is told when a report comes */
	struct slice recipient, envelope_id; /* of its first message; recipient: bare */
	struct slice sender;		     /* full address of the peer */
	const struct mail_said *more; /* the messages in it after the first that have a stanza id */
	size_t more_count;
	int32_t messages; /* in it */
	int32_t hourly;	  /* as many mails may go in an hour */
	struct slice thread, subject;
};
struct mail_send_answer {
	int64_t thread;
	struct slice subject;			/* of the conversation; may be NULL */
	struct slice earlier[MAIL_EARLIER_MAX]; /* Message-IDs, the oldest first */
	size_t earlier_count;
	int64_t recent;	     /* mails this way in the last hour, without this one */
	struct slice choice; /* the person's own: off, notice, full; NULL: none */
	int32_t taken;	     /* > 0: it went already, with so many messages */
	int32_t tried;	     /* > 0: it may have gone already, with so many, which are fewer */
	usec held;	     /* until when an earlier message that is deferred holds it; 0: none */
};
typedef void mail_send_fn(void *arg, enum hr_status status, const struct mail_send_answer *answer,
			  const struct hr_err *err);
void mail_send(struct pg *pg, const struct mail_send *send, mail_send_fn *fn, const void *arg,
	       size_t size);

/* A smarthost took it, with so many messages. Nothing comes back: where this is lost, the mail goes
 * again. */
void mail_taken(struct pg *pg, int64_t thread, struct slice message_id, int32_t messages);

/* Whose conversation it is; HR_NONE: there is none. */
struct mail_find_answer {
	struct slice domain, person, peer;
};
typedef void mail_find_fn(void *arg, enum hr_status status, const struct mail_find_answer *answer,
			  const struct hr_err *err);
void mail_find(struct pg *pg, int64_t thread, mail_find_fn *fn, const void *arg, size_t size);

/* A report has come that a mail of a conversation has failed. HR_NONE: there is no such mail. */
struct mail_report_answer {
	struct slice person;		      /* who was written to */
	struct slice stanza_id, sender;	      /* of the message that the mail said */
	struct mail_said more[MAIL_MORE_MAX]; /* the others */
	size_t more_count;
	enum mail_report_standing {
		MAIL_REPORT_NEW,  /* its sender may be told; mail_reported once that is committed */
		MAIL_REPORT_TOLD, /* was told by an earlier report */
		MAIL_REPORT_BUSY, /* is being told by another */
		MAIL_REPORT_CAPPED, /* not within this hour: `hourly` others have failed */
	} standing;
};
typedef void mail_report_fn(void *arg, enum hr_status status,
			    const struct mail_report_answer *answer, const struct hr_err *err);
void mail_report(struct pg *pg, int64_t thread, struct slice message_id, int32_t hourly,
		 mail_report_fn *fn, const void *arg, size_t size);
/* Nothing comes back: where this is lost, the next report tells again. */
void mail_reported(struct pg *pg, int64_t thread, struct slice message_id);

/* A mail of `person` is about to become chat for `peer`: nothing is written. HR_NONE: it begins the
 * conversation. */
struct mail_receive {
	struct slice domain, person, peer, message_id, subject;
};
struct mail_conversation_answer {
	struct slice thread; /* as the peer's client calls it; may be NULL */
	int64_t recent;	     /* mails this way in the last hour, without this one */
};
typedef void mail_conversation_fn(void *arg, enum hr_status status,
				  const struct mail_conversation_answer *answer,
				  const struct hr_err *err);
void mail_conversation(struct pg *pg, const struct mail_receive *receive, mail_conversation_fn *fn,
		       const void *arg, size_t size);
/* It has become chat: that is remembered. */
typedef void mail_receive_fn(void *arg, enum hr_status status, const struct hr_err *err);
void mail_receive(struct pg *pg, const struct mail_receive *receive, mail_receive_fn *fn,
		  const void *arg, size_t size);
/* The same mail, whole, for somebody of `domain`. Nothing comes back, but mail_receive after it is
 * not answered before. */
void mail_keep(struct pg *pg, struct slice domain, struct slice message_id, struct slice bytes);

/* What a person chose for themselves: "off", "notice", "full", or "": as the domain has it. */
typedef void mail_choice_fn(void *arg, enum hr_status status, struct slice mode,
			    const struct hr_err *err);
void mail_choose(struct pg *pg, struct slice address, struct slice mode, mail_choice_fn *fn,
		 const void *arg, size_t size);
void mail_chosen(struct pg *pg, struct slice address, mail_choice_fn *fn, const void *arg,
		 size_t size);

/* Forgets what was not used for long; nothing comes back. */
void mail_forget(struct pg *pg);
