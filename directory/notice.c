/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/notice.h"

enum hr_status notice_ask(struct notice *notice, struct server *server, const char *root,
			  struct hr_err *err)
{
	static char nothing[] = LDAP_NO_ATTRS;
	char *attributes[] = { nothing, NULL };
	LDAPControl *controls[3] = { NULL };
	LDAP *ld = server_ld(server);

	if (notice->asked)
		return HR_OK;
	int code = ldap_create_server_notification_control(ld, &controls[0]);
	if (code == LDAP_SUCCESS)
		code = ldap_create_show_deleted_control(ld, &controls[1]);
	const struct server_search search = { .base = root,
					      .filter = "(objectClass=*)",
					      .scope = LDAP_SCOPE_SUBTREE,
					      .attributes = attributes,
					      .controls = controls };
	enum hr_status status = code == LDAP_SUCCESS
					? server_search(server, &search, &notice->id, err)
					: server_fault(server, code, err);
	for (size_t i = 0; controls[i]; i++)
		ldap_control_free(controls[i]);
	notice->asked = notice->given = status == HR_OK;
	return status;
}

enum hr_status notice_take(struct notice *notice, struct server *server, struct hr_err *err)
{
	enum hr_status status = HR_NONE;
	LDAPMessage *message;
	struct hr_err refused;
	bool any = false;

	while (notice->given &&
	       (status = server_poll(server, notice->id, &message, err)) == HR_OK) {
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT) {
			notice->given = false; /* for as long as this session lives */
			(void)!server_finish(server, message, NULL, &refused);
			break;
		}
		any = true;
		ldap_msgfree(message);
	}
	if (status != HR_OK && status != HR_NONE)
		return status;
	return any ? HR_OK : HR_NONE;
}
