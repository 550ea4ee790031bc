/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/vcard.h"

#include "base/utf8.h"
#include "gateway/xmpp/stanza.h"

const char vcard_service[] = "<vCard xmlns='" VCARD_NS "'><FN>Hedgerow</FN>"
			     "<DESC>The people of this federation: search here by name.</DESC>"
			     "</vCard>";

/* Where a text stands. A part whose texts are all unknown is left out. */
static const struct part {
	const char *opens, *closes;
	struct {
		const char *element;
		size_t offset;
	} texts[2];
} parts[] = {
	{ "<N>",
	  "</N>",
	  { { "FAMILY", offsetof(struct profile, family_name) },
	    { "GIVEN", offsetof(struct profile, given_name) } } },
	{ "<EMAIL><INTERNET/><PREF/>",
	  "</EMAIL>",
	  { { "USERID", offsetof(struct profile, email) } } },
	{ "", "", { { "JABBERID", offsetof(struct profile, address) } } },
	{ "<ORG>",
	  "</ORG>",
	  { { "ORGNAME", offsetof(struct profile, organization) },
	    { "ORGUNIT", offsetof(struct profile, department) } } },
	{ "", "", { { "TITLE", offsetof(struct profile, title) } } },
	{ "<TEL><WORK/><VOICE/>", "</TEL>", { { "NUMBER", offsetof(struct profile, telephone) } } },
};

static struct slice text_of(const struct profile *profile, size_t offset)
{
	struct slice text = *(const struct slice *)(const void *)((const char *)profile + offset);

	return text.data && utf8_xml(text) ? text : slice_lit("");
}

static void write_element(struct buf *out, const char *element, struct slice text)
{
	buf_format(out, "<%s>", element);
	stanza_escape(out, text);
	buf_format(out, "</%s>", element);
}

static void write_part(struct buf *out, const struct part *part, const struct profile *profile)
{
	bool is_open = false;

	for (size_t i = 0; i < countof(part->texts) && part->texts[i].element; i++) {
		struct slice text = text_of(profile, part->texts[i].offset);
		if (text.len == 0)
			continue;
		if (!is_open)
			buf_add_str(out, part->opens);
		is_open = true;
		write_element(out, part->texts[i].element, text);
	}
	if (is_open)
		buf_add_str(out, part->closes);
}

/* A vCard must have it: the name, else what there is. */
static void write_full_name(struct buf *out, const struct profile *profile)
{
	struct slice name = text_of(profile, offsetof(struct profile, name));
	struct slice given = text_of(profile, offsetof(struct profile, given_name));
	struct slice family = text_of(profile, offsetof(struct profile, family_name));

	buf_add_str(out, "<FN>");
	if (name.len == 0 && given.len + family.len == 0)
		name = text_of(profile, offsetof(struct profile, address));
	stanza_escape(out, name.len > 0 ? name : given);
	if (name.len == 0 && given.len > 0 && family.len > 0)
		buf_add_char(out, ' ');
	if (name.len == 0)
		stanza_escape(out, family);
	buf_add_str(out, "</FN>");
}

void vcard_write(struct buf *out, const struct profile *profile)
{
	buf_add_str(out, "<vCard xmlns='" VCARD_NS "'>");
	write_full_name(out, profile);
	for (size_t i = 0; i < countof(parts); i++)
		write_part(out, &parts[i], profile);
	buf_add_str(out, "</vCard>");
}
