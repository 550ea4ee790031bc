/* SPDX-License-Identifier: Apache-2.0 */
/* One session of an LMTP server (RFC 2033 with the grammar of RFC 5321): PIPELINING, SIZE,
 * 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, XFORWARD. BDAT is not offered.
 *
 * Pure protocol: the owner feeds bytes and sends what gathers in the output. Who may receive is
 * asked with the op `recipient` and answered when known, many at a time where the client pipelines;
 * answers go out in the client's order. After DATA the op `message` hands over the mail, and each
 * recipient is answered by itself: LMTP_OK only once it is committed. An answer is for an id that
 * is never used again; one that comes too late is dropped.
 * The client's input is taken only as far as it makes sense now: see lmtp_wants_input. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "gateway/mail/room.h"

#include <stdint.h>

enum {
	LMTP_RECIPIENTS_MAX = 2000, /* of one transaction; more: 452 4.5.3 */
	LMTP_LINE_MAX = 4096,	    /* of a command; more: 500 5.5.6 */
	LMTP_ERRORS_MAX = 50,	    /* bad commands; more: 421 and the end */
	LMTP_IDLE_MS = 300 * 1000,  /* the owner calls lmtp_timeout after that without input */
	LMTP_TEXT_MAX = 300	    /* of an answer's words */
};

/* What a recipient is answered; the words are the owner's. */
enum lmtp_answer {
	LMTP_OK,	     /* 250 2.1.5, 2.0.0 after DATA */
	LMTP_NO_SUCH_PERSON, /* 550 5.1.1 */
	LMTP_DISABLED,	     /* 550 5.2.1 */
	LMTP_REFUSED,	     /* 550 5.7.1: a rule, a sender nobody vouches for */
	LMTP_BAD_CONTENT,    /* 554 5.6.0 */
	LMTP_TOO_LARGE,	     /* 552 5.3.4 */
	LMTP_LOOP,	     /* 554 5.4.6 */
	LMTP_LATER,	     /* 451 4.3.0: no database, not now */
	LMTP_TOO_MUCH,	     /* 452 4.3.1: no room */
	LMTP_TOO_MANY,	     /* 450 4.7.1: a rate is passed */
	LMTP_ANSWERS
};

struct lmtp_recipient {
	uint64_t id;	     /* of the answer to be given */
	uint64_t asked;	     /* id that the op recipient had */
	const char *address; /* as the client wrote it */
};

struct lmtp_mail {
	const char *sender;			 /* "": the null sender */
	const struct lmtp_recipient *recipients; /* those that were accepted */
	size_t recipient_count;
	struct slice bytes;  /* the mail, without dot-stuffing; gone after the op, unless taken */
	struct slice client; /* address that the MTA had it from (XFORWARD ADDR); len 0: not said */
	bool is_utf8;	     /* SMTPUTF8 was asked for */
};

/* lmtp_answer may be called from within; lmtp_free may not. */
struct lmtp_ops {
	void (*recipient)(void *ctx, uint64_t id, const char *address);
	/* The rest of *mail stays until its last recipient is answered, or `reset`. */
	void (*message)(void *ctx, const struct lmtp_mail *mail);
	/* Ids given out are void: a transaction ended without a mail, or is over. */
	void (*reset)(void *ctx);
};

struct lmtp_options {
	const char *host;  /* of the greeting; copied */
	size_t size_max;   /* bytes of a mail */
	struct room *room; /* shared and borrowed */
};

struct lmtp;
struct lmtp *lmtp_new(const struct lmtp_options *options, const struct lmtp_ops *ops, void *ctx);
void lmtp_free(struct lmtp *lmtp); /* no op is called; NULL is fine */
DEFINE_SCOPED(lmtp)

/* Takes all of `bytes`; what can't be used now is kept. */
void lmtp_received(struct lmtp *lmtp, struct slice bytes);
/* `text`: UTF-8, cut at LMTP_TEXT_MAX, line ends become spaces; NULL: the standard words. */
void lmtp_answer(struct lmtp *lmtp, uint64_t id, enum lmtp_answer answer, const char *text);
/* Within the op message: its bytes become the caller's, with the room that they hold, until
 * room_free. */
char *lmtp_take_bytes(struct lmtp *lmtp);
void lmtp_timeout(struct lmtp *lmtp);  /* the client is silent: 421 and the end */
void lmtp_shutdown(struct lmtp *lmtp); /* we go: 421 at the next moment it may be said */

struct buf *lmtp_output(struct lmtp *lmtp); /* to be sent; the caller empties it after every call */
bool lmtp_wants_input(const struct lmtp *lmtp); /* else stop reading: answers are awaited */
bool lmtp_is_ended(const struct lmtp *lmtp);	/* send the output, then close */
