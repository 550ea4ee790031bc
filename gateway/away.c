/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/away.h"

#include "base/log.h"
#include "base/map.h"
#include "federation/address.h"
#include "gateway/said.h"
#include "schema/journal.h"

enum { ASKED_MAX = 64 * 1024 }; /* of each generation: half of what is remembered, at least */

static const char request[] = "<request xmlns='" SAID_RECEIPTS "'/>";

/* What we asked for, in two generations: when the young one is full, the old one is forgotten. A
 * receipt that we no longer know reaches a client that did not ask, which is no harm. */
struct away {
	struct registry *registry;
	struct journal *journal;
	struct pg *pg;
	struct map *young, *old;
	bool reading;
};

static void write_key(struct buf *key, struct slice recipient, struct slice sender,
		      struct slice stanza_id)
{
	buf_add_slice(key, recipient);
	buf_add_char(key, '\0');
	buf_add_slice(key, sender);
	buf_add_char(key, '\0');
	buf_add_slice(key, stanza_id);
}

static void remember(struct away *away, struct slice key)
{
	if (map_count(away->young) >= ASKED_MAX) {
		map_free(away->old);
		away->old = away->young;
		away->young = map_new();
	}
	map_put(away->young, key, away);
}

/* The mail that goes to who is away, of people at home here; NULL: none does. */
static const struct config_mail *settings(const struct away *away, const struct person *person)
{
	const struct config *config = registry_config(away->registry);
	const struct config_mail *mail;

	if (!config || config->mail_count == 0 || !person->installation || !person->native ||
	    strcmp(person->site, config->local_site) != 0)
		return NULL;
	mail = config_find_mail(config, person->site,
				address_text_domain(slice_str(person->address)));
	return mail && mail->away_ms > 0 && mail->mode != MAIL_OFF &&
			       strcmp(mail->carrier, config->local_site) == 0
		       ? mail
		       : NULL;
}

/* A message of somebody that says something, and can be answered with a receipt. */
static bool is_personal(const struct envelope *envelope, struct said *said)
{
	const struct envelope_fields *f = &envelope->f;

	if (f->kind != ENVELOPE_MESSAGE || f->stanza_id.len == 0 ||
	    (f->type.len > 0 && !slice_is(f->type, "chat") && !slice_is(f->type, "normal")) ||
	    !memmem(f->payload.data, f->payload.len, "<body", strlen("<body")))
		return false;
	said_read(f->payload, said);
	return said->body && *said->body;
}

bool away_defers(struct away *away, const struct envelope *envelope, const struct person *to,
		 struct journal_later *later)
{
	const struct config_mail *mail = settings(away, to);
	scoped_said said = { 0 };

	if (!mail || !is_personal(envelope, &said))
		return false;
	scoped_str name = str_format("mail:%s", mail->domain);

	*later = (struct journal_later){
		.target = journal_target(away->journal, name),
		.not_before = time_usec() + 1000 * mail->away_ms,
		.awaits = true,
		.asked = !said.asks,
	};
	return true;
}

const char *away_asks(struct away *away, const struct envelope *envelope, const struct person *to)
{
	scoped_said said = { 0 };
	scoped_buf key = BUF_INIT(0);

	if (!settings(away, to) || !is_personal(envelope, &said) || said.asks)
		return "";
	write_key(&key, address_text_bare(envelope->f.to), address_text_bare(envelope->f.from),
		  envelope->f.stanza_id);
	remember(away, buf_slice(&key));
	return request;
}

enum away_answer away_answers(struct away *away, const struct envelope *envelope,
			      const struct person *from, char **of)
{
	const struct envelope_fields *f = &envelope->f;
	scoped_said said = { 0 };
	scoped_buf key = BUF_INIT(0);

	if (f->kind != ENVELOPE_MESSAGE || slice_is(f->type, "error") || !settings(away, from))
		return AWAY_NOTHING;
	said_read(f->payload, &said);
	if (said.body) {
		*of = str_dup("");
		return AWAY_RECEIVED;
	}
	if (!said.receipt_of)
		return AWAY_NOTHING;
	write_key(&key, address_text_bare(f->from), address_text_bare(f->to),
		  slice_str(said.receipt_of));
	*of = give(said.receipt_of);
	bool ours = map_remove(away->young, buf_slice(&key)) != NULL;

	ours = map_remove(away->old, buf_slice(&key)) != NULL || ours;
	return ours ? AWAY_OURS : AWAY_RECEIVED;
}

/* --- after a restart ------------------------------------------------------------------------- */

static void have_asked(void *arg, enum hr_status status, struct slice recipient,
		       struct slice sender, struct slice awaits, const struct hr_err *err)
{
	struct away *away = arg;
	scoped_buf key = BUF_INIT(0);

	if (recipient.data) {
		write_key(&key, recipient, sender, awaits);
		remember(away, buf_slice(&key));
		return;
	}
	away->reading = false;
	if (status == HR_FAIL)
		log_error("mail.receipts_unknown", LOG_ERR(err));
}

void away_up(struct away *away)
{
	if (away->reading)
		return;
	away->reading = true;
	journal_asked(away->pg, have_asked, away);
}

struct away *away_new(struct registry *registry, struct journal *journal, struct pg *pg)
{
	struct away *away = mem_new(struct away);

	away->registry = registry;
	away->journal = journal;
	away->pg = pg;
	away->young = map_new();
	away->old = map_new();
	return away;
}

void away_free(struct away *away)
{
	if (!away)
		return;
	map_free(away->young);
	map_free(away->old);
	free(away);
}
