/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/usn.h"

#include "directory/paged.h"

#include <inttypes.h>

struct gathering {
	struct server *server;
	struct guids *changed;
	int64_t since;
};

static enum hr_status take_entry(void *arg, LDAPMessage *message, struct hr_err *err)
{
	const struct gathering *gathering = arg;
	LDAP *ld = server_ld(gathering->server);
	struct berval **guid = ldap_get_values_len(ld, message, "objectGUID");
	struct berval **created = ldap_get_values_len(ld, message, "uSNCreated");

	(void)err;
	bool is_new =
		created && created[0] && strtoll(created[0]->bv_val, NULL, 10) > gathering->since;
	if (guid && guid[0])
		guids_add(gathering->changed, (struct slice){ guid[0]->bv_val, guid[0]->bv_len },
			  !is_new);
	ldap_value_free_len(guid);
	ldap_value_free_len(created);
	return HR_OK;
}

enum hr_status usn_round(struct server *server, const struct usn_request *request,
			 struct guids *changed, struct hr_err *err)
{
	static char guid[] = "objectGUID", created[] = "uSNCreated";
	char *attributes[] = { guid, created, NULL };
	scoped_str filter = str_format("(uSNChanged>=%" PRId64 ")", request->since + 1);
	struct gathering gathering = { server, changed, request->since };
	LDAPControl *control = NULL;

	int code = ldap_create_show_deleted_control(server_ld(server), &control);
	if (code != LDAP_SUCCESS)
		return server_fault(server, code, err);
	LDAPControl *controls[] = { control, NULL };
	const struct server_search search = { .base = request->root,
					      .filter = filter,
					      .scope = LDAP_SCOPE_SUBTREE,
					      .attributes = attributes,
					      .controls = controls,
					      .page_size = request->page_size };
	enum hr_status status = paged_search(server, &search, take_entry, &gathering, err);
	ldap_control_free(control);
	return status;
}
