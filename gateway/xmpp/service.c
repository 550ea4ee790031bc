/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/service.h"

static const struct answer {
	const char *ns, *name;
	const char *payload;
	bool has_nodes; /* a node may be asked for; there is none */
} answers[] = {
	{ "http://jabber.org/protocol/disco#info", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#info'>"
	  "<identity category='gateway' type='xmpp' name='Hedgerow'/>"
	  "<feature var='http://jabber.org/protocol/disco#info'/>"
	  "<feature var='http://jabber.org/protocol/disco#items'/>"
	  "<feature var='urn:xmpp:ping'/></query>",
	  true },
	{ "http://jabber.org/protocol/disco#items", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#items'/>", true },
	{ "urn:xmpp:ping", "ping", "", false },
};

static const struct answer *find_answer(const struct scan_stanza *stanza)
{
	if (stanza->kind != ENVELOPE_IQ || !slice_is(stanza->type, "get"))
		return NULL;
	for (size_t i = 0; i < countof(answers); i++)
		if (slice_is(stanza->child_namespace, answers[i].ns) &&
		    slice_is(stanza->child_name, answers[i].name))
			return &answers[i];
	return NULL;
}

static void answer_with(struct lane *lane, const struct scan_stanza *stanza, const char *payload)
{
	scoped_buf out = BUF_INIT(0);

	stanza_write(&out, &(struct stanza){
				   .kind = ENVELOPE_IQ,
				   .from = stanza->to,
				   .to = stanza->from,
				   .id = stanza->id,
				   .type = slice_lit("result"),
				   .payload = slice_str(payload),
			   });
	lane_write(lane, buf_slice(&out));
}

void service_stanza(struct lane *lane, const struct scan_stanza *stanza)
{
	const struct answer *answer = find_answer(stanza);
	struct stanza asked = {
		.kind = stanza->kind,
		.from = stanza->from,
		.to = stanza->to,
		.id = stanza->id,
		.type = stanza->type,
	};

	if (answer && !(answer->has_nodes && stanza->child_node.len > 0))
		answer_with(lane, stanza, answer->payload);
	else if (answer)
		lane_refuse(lane, &asked, BOUNCE_ITEM_NOT_FOUND, NULL);
	else if (stanza->kind != ENVELOPE_PRESENCE) /* a service is neither present nor absent */
		lane_refuse(lane, &asked, BOUNCE_SERVICE_UNAVAILABLE, NULL);
}
