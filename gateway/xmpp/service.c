/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/service.h"

#include "gateway/xmpp/search.h"
#include "gateway/xmpp/vcard.h"

static const struct answer {
	const char *ns, *name;
	const char *payload;
	bool has_nodes; /* a node may be asked for; there is none */
} answers[] = {
	{ "http://jabber.org/protocol/disco#info", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#info'>"
	  "<identity category='gateway' type='xmpp' name='Hedgerow'/>"
	  "<identity category='directory' type='user' name='People'/>"
	  "<feature var='http://jabber.org/protocol/disco#info'/>"
	  "<feature var='http://jabber.org/protocol/disco#items'/>"
	  "<feature var='urn:xmpp:ping'/>"
	  "<feature var='" SEARCH_NS "'/>"
	  "<feature var='" VCARD_NS "'/></query>",
	  true },
	{ "http://jabber.org/protocol/disco#items", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#items'/>", true },
	{ "urn:xmpp:ping", "ping", "", false },
	{ SEARCH_NS, "query", search_form, false },
	{ VCARD_NS, "vCard", vcard_service, false },
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
		lane_answer(lane, &asked, slice_str(answer->payload));
	else if (answer)
		lane_refuse(lane, &asked, BOUNCE_ITEM_NOT_FOUND, NULL);
	else if (stanza->kind != ENVELOPE_PRESENCE) /* a service is neither present nor absent */
		lane_refuse(lane, &asked, BOUNCE_SERVICE_UNAVAILABLE, NULL);
}
