/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/dirsync.h"

#include "directory/attribute.h"

enum {
	ONLY_WHAT_WE_MAY_SEE = 0x00000001, /* needs no right to replicate */
	CHANGED_VALUES =
		(int)0x80000000, /* of links: who came and who went, not all who are there */
	ROUND_BYTES = 4 << 20,	 /* of an answer; Samba has no such limit */
	ROUNDS = 100000,	 /* the most until the cookie is that of now */
	TEXT_GUIDS = 1,		 /* form of the extended DN control */
};

/* Matches no object. */
static const char nobody[] = "(objectGUID=\\00\\00\\00\\00\\00\\00\\00\\00"
			     "\\00\\00\\00\\00\\00\\00\\00\\00)";

/* Decide -----------------------------------------------------------------------------------------
 */

static void add_once(char **attributes, const char *name)
{
	size_t i = 0;

	for (; attributes[i]; i++)
		if (strcasecmp(attributes[i], name) == 0)
			return;
	attributes[i] = (char *)(uintptr_t)name;
}

char **dirsync_attributes(char *const *mapped, const struct filter *filter)
{
	static const char *const always[] = { "name", "isDeleted", "whenCreated" };
	size_t n = countof(always) + 1;
	bool members = false;

	for (size_t i = 0; mapped[i]; i++)
		n++;
	for (size_t at = 0; filter_attribute(filter, &at);)
		n++;
	char **attributes = mem_array(char *, n + 1);
	for (size_t i = 0; i < countof(always); i++)
		add_once(attributes, always[i]);
	for (size_t i = 0; mapped[i]; i++)
		add_once(attributes, mapped[i]);
	size_t at = 0;
	for (const char *name; (name = filter_attribute(filter, &at));) {
		members |= strcasecmp(name, "memberOf") == 0;
		add_once(attributes, name);
	}
	if (members)
		add_once(attributes, "member");
	return attributes;
}

bool dirsync_asks_for_members(char *const *attributes)
{
	for (; *attributes; attributes++)
		if (strcasecmp(*attributes, "member") == 0)
			return true;
	return false;
}

void dirsync_note(struct dirsync_entry *entry, struct slice name, struct slice first_value)
{
	if (attribute_is(name, "objectGUID"))
		entry->guid = first_value;
	else if (attribute_is(name, "name"))
		entry->named = true;
	else if (attribute_is(name, "whenCreated"))
		entry->created = true;
}

bool dirsync_guid_of(struct slice dn, unsigned char out[ANCHOR_RAW])
{
	static const char prefix[] = "<GUID=";
	size_t len = sizeof prefix - 1;

	if (dn.len < len || memcmp(dn.data, prefix, len) != 0)
		return false;
	const char *end = memchr(dn.data, '>', dn.len);
	return end &&
	       anchor_to_guid((struct slice){ dn.data + len, (size_t)(end - dn.data) - len }, out);
}

/* Ask --------------------------------------------------------------------------------------------
 */

static struct slice slice_of(const struct berval *value)
{
	return (struct slice){ value->bv_val, value->bv_len };
}

/* "member", and as DirSync has it, with a range of 1-1 for who came and 0-0 for who went. */
static bool is_member(struct slice name)
{
	static const char member[] = "member;range=";

	return attribute_is(name, "member") ||
	       (name.len > sizeof member - 1 &&
		strncasecmp(name.data, member, sizeof member - 1) == 0);
}

/* A member may be a group: then it has moved, and with it who is in it. */
static void add_members(struct guids *changed, const struct berval *values)
{
	for (size_t i = 0; values && values[i].bv_val; i++) {
		unsigned char guid[ANCHOR_RAW];
		if (dirsync_guid_of(slice_of(&values[i]), guid))
			guids_add(changed, (struct slice){ (const char *)guid, sizeof guid }, true);
		else
			changed->incomplete = true;
	}
}

static enum hr_status take_entry(struct server *server, LDAPMessage *message, struct guids *changed,
				 struct hr_err *err)
{
	struct dirsync_entry entry = { 0 };
	struct berval dn, name, *values;
	BerElement *ber = NULL;

	int code = ldap_get_dn_ber(server_ld(server), message, &ber, &dn);
	while (code == LDAP_SUCCESS &&
	       (code = ldap_get_attribute_ber(server_ld(server), message, ber, &name, &values)) ==
		       LDAP_SUCCESS &&
	       name.bv_val) {
		bool has_value = values && values[0].bv_val;
		dirsync_note(&entry, slice_of(&name),
			     has_value ? slice_of(&values[0]) : (struct slice){ 0 });
		if (is_member(slice_of(&name)))
			add_members(changed, values);
		ldap_memfree(values);
	}
	guids_add(changed, entry.guid, entry.named && !entry.created);
	ber_free(ber, 0);
	return code == LDAP_SUCCESS ? HR_OK : server_fault(server, code, err);
}

static enum hr_status take_end(struct server *server, LDAPMessage *message,
			       struct dirsync_answer *out, struct hr_err *err)
{
	LDAPControl **controls = NULL;
	struct berval next = { 0 };
	int flag = 0;

	if (server_finish(server, message, &controls, err) != HR_OK)
		return err->status;
	LDAPControl *control = ldap_control_find(LDAP_CONTROL_X_DIRSYNC, controls, NULL);
	int code = control ? ldap_parse_dirsync_control(server_ld(server), control, &flag, &next)
			   : LDAP_CONTROL_NOT_FOUND;
	ldap_controls_free(controls);
	if (code != LDAP_SUCCESS || next.bv_len == 0)
		return err_set(err, HR_FAIL, "the controller answers DirSync without a cookie (%d)",
			       code);
	*out = (struct dirsync_answer){ { mem_dup(next.bv_val, next.bv_len), next.bv_len },
					flag != 0 };
	ber_memfree(next.bv_val);
	return HR_OK;
}

static enum hr_status ask(struct server *server, const struct dirsync_request *request, int *id,
			  struct hr_err *err)
{
	struct berval cookie = { request->cookie.len, (char *)(uintptr_t)request->cookie.data };
	LDAPControl *controls[4] = { NULL };
	LDAP *ld = server_ld(server);

	int code = ldap_create_dirsync_control(ld, CHANGED_VALUES | ONLY_WHAT_WE_MAY_SEE,
					       ROUND_BYTES, &cookie, &controls[0]);
	if (code == LDAP_SUCCESS) /* Microsoft's controllers want to be asked for those too */
		code = ldap_create_show_deleted_control(ld, &controls[1]);
	if (code == LDAP_SUCCESS && dirsync_asks_for_members(request->attributes))
		code = ldap_create_extended_dn_control(ld, TEXT_GUIDS, &controls[2]);
	const struct server_search search = {
		.base = request->root,
		.filter = request->filter,
		.scope = LDAP_SCOPE_SUBTREE,
		.attributes = request->attributes,
		.controls = controls,
	};
	enum hr_status status = code == LDAP_SUCCESS ? server_search(server, &search, id, err)
						     : server_fault(server, code, err);
	for (size_t i = 0; controls[i]; i++)
		ldap_control_free(controls[i]);
	return status;
}

enum hr_status dirsync_round(struct server *server, const struct dirsync_request *request,
			     struct guids *changed, struct dirsync_answer *out, struct hr_err *err)
{
	int id;

	if (ask(server, request, &id, err) != HR_OK)
		return err->status;
	for (LDAPMessage *message;;) {
		enum hr_status status = server_receive(server, id, &message, err);
		if (status != HR_OK)
			return status;
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT)
			return take_end(server, message, out, err);
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_ENTRY && changed)
			status = take_entry(server, message, changed, err);
		ldap_msgfree(message);
		if (status != HR_OK)
			return status;
	}
}

enum hr_status dirsync_begin(struct server *server, const char *root, struct slice *cookie,
			     struct hr_err *err)
{
	static char guid[] = "objectGUID";
	char *attributes[] = { guid, NULL };
	struct dirsync_answer now = { .more = true };

	for (int i = 0; now.more; i++) {
		const struct dirsync_request request = { root, nobody, attributes, now.cookie };
		struct dirsync_answer next = { 0 };
		enum hr_status status = i < ROUNDS
						? dirsync_round(server, &request, NULL, &next, err)
						: err_set(err, HR_FAIL, "DirSync comes to no end");
		free((char *)(uintptr_t)now.cookie.data);
		if (status != HR_OK)
			return status;
		now = next;
	}
	*cookie = now.cookie;
	return HR_OK;
}
