/* SPDX-License-Identifier: Apache-2.0 */
/* What a rewritten payload becomes is well-formed, and holds no address that would have to be
 * rewritten again, whether its people have addresses or not. */
#include "gateway/xmpp/rewrite.h"

#include <expat.h>
#include <stdint.h>

static const struct slice domain = { "im.a.example", 12 };

static bool is_well_formed(struct slice payload)
{
	static const char before[] = "<x xmlns='jabber:component:accept'>";
	XML_Parser parser = XML_ParserCreateNS("UTF-8", '\n');
	bool good = XML_Parse(parser, before, sizeof before - 1, 0) == XML_STATUS_OK &&
		    XML_Parse(parser, payload.data, (int)payload.len, 0) == XML_STATUS_OK &&
		    XML_Parse(parser, "</x>", 4, 1) == XML_STATUS_OK;

	XML_ParserFree(parser);
	return good;
}

static void apply(const struct rewrite *plan, struct slice payload, const char *address)
{
	struct slice addresses[REWRITE_MENTIONS_MAX];
	scoped(rewrite) again = NULL;
	scoped_buf out = BUF_INIT(0);
	struct hr_err err;
	size_t count;

	rewrite_mentions(plan, &count);
	for (size_t i = 0; i < count; i++)
		addresses[i] = slice_str(address);
	rewrite_apply(plan, payload, addresses, &out);
	if (!is_well_formed(buf_slice(&out)))
		abort();
	if (rewrite_plan(buf_slice(&out), domain, &again, &err) != HR_NONE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice payload = { (const char *)data, size };
	scoped(rewrite) plan = NULL;
	struct hr_err err;

	if (!is_well_formed(payload) || rewrite_plan(payload, domain, &plan, &err) != HR_OK)
		return 0;
	apply(plan, payload, "o.neil+co@example.com");
	apply(plan, payload, NULL);
	return 0;
}
