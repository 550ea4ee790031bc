/* SPDX-License-Identifier: Apache-2.0 */
/* Mail for who is away: a message to somebody with chat, of a domain that has it set up at their
 * own site, is deferred to the mail too, in the transaction that accepts it. A receipt (XEP-0184),
 * or anything that the recipient writes to the sender, takes it away again. Where the sender's
 * client asks for no receipt we do, and keep the answer to ourselves. */
#pragma once

#include "federation/journal.h"
#include "federation/registry.h"

struct away;
/* `pg` is borrowed, and freed before. */
struct away *away_new(struct registry *registry, struct journal *journal, struct pg *pg);
void away_free(struct away *away); /* NULL is fine */
DEFINE_SCOPED(away)
/* The database is there (again): what we had asked for is read back. */
void away_up(struct away *away);

/* Whether mail waits for the receipt of a message to `to`, who has chat at this site: then `later`
 * is filled. */
bool away_defers(struct away *away, const struct envelope *envelope, const struct person *to,
		 struct journal_later *later);
/* At hand-over to that chat: the XML to be added after the payload, which asks for a receipt; ""
 * where nothing is to be added. Remembered for away_answers. */
const char *away_asks(struct away *away, const struct envelope *envelope, const struct person *to);
/* What `envelope`, from `from` of this site, says of what waits for mail to them. */
enum away_answer {
	AWAY_NOTHING,
	AWAY_RECEIVED, /* *of: the stanza id, owned by the caller; "": all that the recipient sent
			*/
	AWAY_OURS,     /* likewise, and nobody else has asked */
};
enum away_answer away_answers(struct away *away, const struct envelope *envelope,
			      const struct person *from, char **of);
