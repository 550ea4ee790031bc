/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/service.h"

#include "gateway/xmpp/command.h"
#include "gateway/xmpp/search.h"
#include "gateway/xmpp/vcard.h"

static bool info_of_node(struct buf *out, struct slice node, struct slice domain)
{
	(void)domain;
	return command_write_info(out, node);
}

static const struct answer {
	const char *ns, *name;
	const char *payload;
	/* Of a node, if one may be asked for: false, there is none. */
	bool (*of_node)(struct buf *out, struct slice node, struct slice domain);
} answers[] = {
	{ "http://jabber.org/protocol/disco#info", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#info'>"
	  "<identity category='gateway' type='xmpp' name='Hedgerow'/>"
	  "<identity category='directory' type='user' name='People'/>"
	  "<feature var='http://jabber.org/protocol/disco#info'/>"
	  "<feature var='http://jabber.org/protocol/disco#items'/>"
	  "<feature var='urn:xmpp:ping'/>"
	  "<feature var='" SEARCH_NS "'/>"
	  "<feature var='" VCARD_NS "'/>"
	  "<feature var='" COMMAND_NS "'/></query>",
	  info_of_node },
	{ "http://jabber.org/protocol/disco#items", "query",
	  "<query xmlns='http://jabber.org/protocol/disco#items'/>", command_write_items },
	{ "urn:xmpp:ping", "ping", "", NULL },
	{ SEARCH_NS, "query", search_form, NULL },
	{ VCARD_NS, "vCard", vcard_service, NULL },
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

	scoped_buf out = BUF_INIT(0);

	if (answer && !(answer->of_node && stanza->child_node.len > 0))
		lane_answer(lane, &asked, slice_str(answer->payload));
	else if (answer && answer->of_node(&out, stanza->child_node, stanza->to))
		lane_answer(lane, &asked, buf_slice(&out));
	else if (answer)
		lane_refuse(lane, &asked, BOUNCE_ITEM_NOT_FOUND, NULL);
	else if (stanza->kind != ENVELOPE_PRESENCE) /* a service is neither present nor absent */
		lane_refuse(lane, &asked, BOUNCE_SERVICE_UNAVAILABLE, NULL);
}
