/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/reread.h"

enum { AT_ONCE = 100 }; /* objects for one search */

/* A sink that marks who was found and passes them on. */
struct finding {
	struct guids *changed;
	const struct adapter_sink *sink;
};

static enum hr_status take_row(void *arg, const struct publish_entry *row, struct hr_err *err)
{
	struct finding *finding = arg;
	unsigned char bytes[ANCHOR_RAW];
	const struct slice raw = { (const char *)bytes, sizeof bytes };
	struct guid *guid =
		anchor_to_guid(row->anchor, bytes) ? guids_find(finding->changed, raw) : NULL;

	if (guid)
		guid->found = true;
	return finding->sink->entry(finding->sink->arg, row, err);
}

static enum hr_status read_people(const struct reread *how, struct guids *changed, size_t from,
				  const struct adapter_sink *sink, struct hr_err *err)
{
	struct finding finding = { changed, sink };
	const struct adapter_sink marking = { .entry = take_row, .arg = &finding };
	scoped_buf filter = BUF_INIT(0);
	int64_t entries;

	guids_filter(changed, (struct guids_part){ from, AT_ONCE, false }, how->search->filter,
		     &filter);
	struct server_search search = *how->search;
	search.filter = buf_text(&filter);
	return reader_search(how->reader, &search, &marking, &entries, err);
}

/* Whether others are, or were, in one of those that were not found. */
static enum hr_status look_for_containers(const struct reread *how, const struct guids *changed,
					  size_t from, struct hr_err *err)
{
	static char nothing[] = LDAP_NO_ATTRS;
	char *attributes[] = { nothing, NULL }, *dn;
	LDAPControl *control = NULL;
	scoped_buf filter = BUF_INIT(0);
	LDAPMessage *entry;

	if (!guids_filter(changed, (struct guids_part){ from, AT_ONCE, true }, how->containers,
			  &filter))
		return HR_OK;
	int code = ldap_create_show_deleted_control(server_ld(how->server), &control);
	if (code != LDAP_SUCCESS)
		return server_fault(how->server, code, err);
	LDAPControl *controls[] = { control, NULL };
	const struct server_search search = { .base = how->root,
					      .filter = buf_text(&filter),
					      .scope = LDAP_SCOPE_SUBTREE,
					      .attributes = attributes,
					      .controls = controls };
	enum hr_status status = server_read(how->server, &search, &entry, err);
	ldap_control_free(control);
	if (status != HR_OK)
		return status == HR_NONE ? HR_OK : status;
	dn = ldap_get_dn(server_ld(how->server), entry);
	err_set(err, HR_UNSURE, "%.*s has changed, and with it who is in it",
		dn ? (int)strcspn(dn, "\\\n") : 0, dn ? dn : "");
	ldap_memfree(dn);
	ldap_msgfree(entry);
	return HR_UNSURE;
}

static enum hr_status give_gone(const struct guids *changed, size_t from,
				const struct adapter_sink *sink, struct hr_err *err)
{
	char anchor[ANCHOR_CHARS + 1];

	for (size_t i = from; i < changed->n && i < from + AT_ONCE; i++) {
		const struct guid *guid = &changed->at[i];
		if (guid->found ||
		    !anchor_from_guid((struct slice){ (const char *)guid->bytes, ANCHOR_RAW },
				      anchor))
			continue;
		if (sink->gone(sink->arg, slice_str(anchor), err) != HR_OK)
			return err->status;
	}
	return HR_OK;
}

enum hr_status reread(const struct reread *how, struct guids *changed,
		      const struct adapter_sink *sink, struct hr_err *err)
{
	bool others = false;

	guids_settle(changed);
	for (size_t from = 0; from < changed->n; from += AT_ONCE) {
		if (read_people(how, changed, from, sink, err) != HR_OK ||
		    give_gone(changed, from, sink, err) != HR_OK)
			return err->status;
		enum hr_status status = look_for_containers(how, changed, from, err);
		if (status != HR_OK && status != HR_UNSURE)
			return status;
		others |= status == HR_UNSURE;
	}
	return others ? HR_UNSURE : HR_OK;
}
