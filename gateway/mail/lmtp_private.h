/* SPDX-License-Identifier: Apache-2.0 */
/* Between the session (lmtp.c) and its commands (lmtp_command.c). */
#pragma once

#include "gateway/mail/lmtp.h"

enum lmtp_state {
	LMTP_START,   /* no LHLO yet */
	LMTP_READY,   /* between transactions */
	LMTP_MAIL,    /* a sender is given, perhaps recipients */
	LMTP_DATA,    /* the mail itself comes */
	LMTP_WAITING, /* it is handed over, the answers are awaited */
	LMTP_ENDED
};

/* What a recipient is answered; first after RCPT, then, of those accepted, after DATA. */
struct lmtp_slot {
	uint64_t asked; /* its id after RCPT */
	char *address;	/* owned */
	char *reply;	/* owned; NULL: the owner has not answered yet */
	bool is_accepted;
};

struct lmtp {
	char *host; /* owned */
	size_t size_max;
	struct room *room;
	const struct lmtp_ops *ops;
	void *ctx;
	enum lmtp_state state;
	struct buf in, out;
	size_t taken;	    /* bytes of `in` that are done with */
	bool is_running;    /* an op is under way: whoever called it goes on with the input */
	bool is_skipping;   /* the rest of a command line that was too long */
	bool is_leaving;    /* lmtp_shutdown */
	bool is_line_start; /* of the mail */
	size_t mail_bytes;  /* that came, kept or not */
	unsigned errors;
	char *client; /* owned: XFORWARD ADDR; NULL: not said */

	char *sender; /* owned */
	bool is_utf8;
	struct lmtp_slot *slots; /* owned, room for LMTP_RECIPIENTS_MAX */
	size_t slot_count, replied;
	uint64_t first_id; /* of slots[0]; the others follow */
	struct buf mail;   /* as long as it is kept: the rest of one that is refused is not */
	bool is_refused;
	struct lmtp_recipient *recipients; /* owned: of slots, while LMTP_WAITING */
};

/* `reply`: "250 2.0.0 Ok", without line end. */
void lmtp_reply(struct lmtp *lmtp, const char *reply);
void lmtp_refuse_command(struct lmtp *lmtp, const char *reply); /* counts as an error */
void lmtp_reset(struct lmtp *lmtp); /* ends the transaction, if there is one */
void lmtp_end(struct lmtp *lmtp, const char *reply);
/* A recipient more: `reply` (taken) at once, or NULL: asks the owner. */
void lmtp_add_recipient(struct lmtp *lmtp, struct slice address, char *reply);
/* Runs one command line (without its line end). */
void lmtp_command(struct lmtp *lmtp, struct slice line);
bool lmtp_is_recipient(struct slice line); /* is the command RCPT */
