/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/ask.h"

#include "gateway/desk.h"
#include "gateway/xmpp/command.h"
#include "gateway/xmpp/search.h"
#include "gateway/xmpp/vcard.h"

struct ask {
	enum desk_kind kind;
	bool as_form;	  /* of a search: so is its result */
	struct buf words; /* of a search */
	bool is_command;  /* else it is for the desk */
	struct command command;
};

void ask_free(struct ask *ask)
{
	if (ask)
		buf_free(&ask->words);
	free(ask);
}

static enum hr_status read_card(const struct scan_stanza *stanza, struct ask **out,
				enum bounce *bounce, struct hr_err *err)
{
	*bounce = BOUNCE_NOT_ALLOWED;
	if (slice_is(stanza->type, "set"))
		return err_set(err, HR_FAIL, "what is known of people comes from their directory");
	*out = mem_new(struct ask);
	(*out)->kind = DESK_CARD;
	return HR_OK;
}

static enum hr_status read_search(const struct scan_stanza *stanza, struct ask **out,
				  enum bounce *bounce, struct hr_err *err)
{
	scoped(ask) ask = mem_new(struct ask);

	ask->kind = DESK_SEARCH;
	ask->words = BUF_INIT(SEARCH_WORDS_MAX);
	*bounce = BOUNCE_BAD_REQUEST;
	if (search_read(stanza->payload, &ask->words, &ask->as_form, err) != HR_OK)
		return err->status;
	*out = give(ask);
	return HR_OK;
}

static enum hr_status read_command(const struct scan_stanza *stanza, struct ask **out,
				   enum bounce *bounce, struct hr_err *err)
{
	scoped(ask) ask = mem_new(struct ask);

	ask->is_command = true;
	*bounce = BOUNCE_ITEM_NOT_FOUND;
	if (!slice_is(stanza->child_node, COMMAND_NODE))
		return err_set(err, HR_FAIL, "there is no such command");
	*bounce = BOUNCE_BAD_REQUEST;
	if (command_read(stanza->payload, &ask->command, err) != HR_OK)
		return err->status;
	*out = give(ask);
	return HR_OK;
}

/* What is asked, by type of the IQ, child and kind of address. */
enum { OF_PERSON = 1, OF_DOMAIN = 2 };
static const struct {
	const char *type, *ns, *name;
	int whom;
	enum hr_status (*read)(const struct scan_stanza *stanza, struct ask **out,
			       enum bounce *bounce, struct hr_err *err);
} asks[] = {
	{ "get", VCARD_NS, "vCard", OF_PERSON, read_card },
	{ "set", VCARD_NS, "vCard", OF_PERSON | OF_DOMAIN, read_card },
	{ "set", SEARCH_NS, "query", OF_DOMAIN, read_search },
	{ "set", COMMAND_NS, "command", OF_DOMAIN, read_command },
};

static int whom_of(const struct address *to)
{
	if (address_local(to).len == 0)
		return OF_DOMAIN;
	return address_resource(to).len == 0 ? OF_PERSON : 0; /* else it is for that client */
}

enum hr_status ask_read(const struct scan_stanza *stanza, const struct address *to,
			struct ask **out, enum bounce *bounce, struct hr_err *err)
{
	if (stanza->kind != ENVELOPE_IQ)
		return HR_NONE;
	for (size_t i = 0; i < countof(asks); i++)
		if ((asks[i].whom & whom_of(to)) && slice_is(stanza->type, asks[i].type) &&
		    slice_is(stanza->child_namespace, asks[i].ns) &&
		    slice_is(stanza->child_name, asks[i].name))
			return asks[i].read(stanza, out, bounce, err);
	return HR_NONE;
}

/* --- the answer ------------------------------------------------------------------------------- */

/* One allocation: whoever is asked frees it. */
struct reply {
	struct lane *lane;
	enum desk_kind kind;
	bool as_form, is_choice;
	struct stanza asked; /* its texts are below */
	char text[];
};

static struct slice copy_text(char **at, struct slice text)
{
	struct slice copy = { *at, text.len };

	if (text.len > 0)
		memcpy(*at, text.data, text.len);
	*at += text.len;
	return copy;
}

static struct reply *reply_new(const struct ask *ask, struct lane *lane, const struct stanza *asked)
{
	struct reply *reply = mem_alloc(sizeof *reply + asked->from.len + asked->to.len +
					asked->id.len + asked->type.len);
	char *at = reply->text;

	reply->lane = lane;
	reply->kind = ask->kind;
	reply->as_form = ask->as_form;
	reply->is_choice = ask->command.what == COMMAND_CHOOSE;
	reply->asked.kind = asked->kind;
	reply->asked.from = copy_text(&at, asked->from);
	reply->asked.to = copy_text(&at, asked->to);
	reply->asked.id = copy_text(&at, asked->id);
	reply->asked.type = copy_text(&at, asked->type);
	return reply;
}

static void answered(void *arg, enum hr_status status, const struct profile *profiles, size_t count,
		     bool more)
{
	const struct reply *reply = arg;
	scoped_buf payload = BUF_INIT(0);

	if (status != HR_OK) {
		lane_refuse(reply->lane, &reply->asked, BOUNCE_RESOURCE_CONSTRAINT,
			    "the gateway's database is away: try again later");
		return;
	}
	switch (reply->kind) {
	case DESK_SEARCH:
		search_write(&payload, profiles, count, more, reply->as_form);
		break;
	case DESK_CARD:
		if (count == 0) { /* gone since the rules were asked */
			lane_refuse(reply->lane, &reply->asked, BOUNCE_ITEM_NOT_FOUND,
				    "nobody has this address");
			return;
		}
		vcard_write(&payload, profiles);
		break;
	}
	lane_answer(reply->lane, &reply->asked, buf_slice(&payload));
}

static void chosen(void *arg, enum hr_status status, struct slice mode)
{
	const struct reply *reply = arg;
	scoped_buf payload = BUF_INIT(0);

	if (status != HR_OK) {
		lane_refuse(reply->lane, &reply->asked, BOUNCE_RESOURCE_CONSTRAINT,
			    "the gateway's database is away: try again later");
		return;
	}
	(reply->is_choice ? command_write_done : command_write_form)(&payload, mode);
	lane_answer(reply->lane, &reply->asked, buf_slice(&payload));
}

static void answer_command(const struct ask *ask, struct lane *lane, const struct stanza *stanza,
			   const struct person *asker)
{
	scoped_buf payload = BUF_INIT(0);
	struct slice mode = { 0 };

	if (ask->command.what == COMMAND_CANCEL) {
		command_write_canceled(&payload);
		lane_answer(lane, stanza, buf_slice(&payload));
		return;
	}
	if (ask->command.what == COMMAND_CHOOSE)
		mode = slice_str(ask->command.mode);
	choices_ask(desk_choices(lane->edge->options.desk), slice_str(asker->address), mode, chosen,
		    reply_new(ask, lane, stanza), lane);
}

void ask_answer(const struct ask *ask, struct lane *lane, const struct stanza *stanza,
		const struct edge_people *people)
{
	if (ask->is_command) {
		answer_command(ask, lane, stanza, people->from);
		return;
	}
	struct reply *reply = reply_new(ask, lane, stanza);
	struct desk_question question = {
		.kind = ask->kind,
		.asker = slice_str(people->from->address),
		.about = ask->kind == DESK_CARD ? slice_str(people->to->address)
						: buf_slice(&ask->words),
		.fn = answered,
		.arg = reply,
		.owner = lane,
	};
	struct hr_err err;

	if (desk_ask(lane->edge->options.desk, &question, &err) == HR_OK)
		return;
	lane_refuse(lane, stanza, BOUNCE_RESOURCE_CONSTRAINT, err.text);
	free(reply);
}
