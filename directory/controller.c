/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/controller.h"

#include "directory/anchor.h"

#include <inttypes.h>
#include <strings.h>

/* Its place is named by a well-known GUID (MS-ADTS 6.1.1.4). */
static const char deleted_objects[] = "<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,%s>";

void controller_clear(struct controller *controller)
{
	free(controller->name);
	free(controller->incarnation);
	free(controller->root);
	*controller = (struct controller){ 0 };
}

/* Decide -----------------------------------------------------------------------------------------
 */

struct slice controller_root(const struct slice *roots, size_t n, const char *base)
{
	struct slice found = { 0 };
	size_t len = strlen(base);

	for (size_t i = 0; i < n; i++) {
		size_t root = roots[i].len;
		bool within = root <= len &&
			      strncasecmp(base + len - root, roots[i].data, root) == 0 &&
			      (root == len || base[len - root - 1] == ',');
		if (within && root > found.len)
			found = roots[i];
	}
	return found;
}

enum hr_status controller_accepts(const struct controller *controller,
				  const struct publish_cursor *cursor, struct hr_err *err)
{
	const char *was = cursor->incarnation ? cursor->incarnation : "unknown";

	if (strcasecmp(was, controller->incarnation) != 0)
		return err_set(err, HR_UNSURE,
			       "%s is another controller, or was restored: its invocationId is %s, "
			       "that of %s was %s",
			       controller->name, controller->incarnation,
			       cursor->server ? cursor->server : "the last", was);
	if (controller->usn < cursor->usn)
		return err_set(err, HR_UNSURE,
			       "%s was rolled back: its highest USN is %" PRId64
			       ", and was %" PRId64,
			       controller->name, controller->usn, cursor->usn);
	return HR_OK;
}

/* Ask --------------------------------------------------------------------------------------------
 */

/* The first value of an attribute as text; NULL: none. */
static char *text_of(struct server *server, LDAPMessage *entry, const char *attribute)
{
	struct berval **values = ldap_get_values_len(server_ld(server), entry, attribute);
	char *text = values && values[0] ? mem_dup(values[0]->bv_val, values[0]->bv_len) : NULL;

	ldap_value_free_len(values);
	return text;
}

static enum hr_status read_incarnation(struct server *server, const char *service, char **out,
				       struct hr_err *err)
{
	static char name[] = "invocationId";
	char *attributes[] = { name, NULL }, text[ANCHOR_CHARS + 1];
	const struct server_search search = { .base = service,
					      .scope = LDAP_SCOPE_BASE,
					      .attributes = attributes };
	LDAPMessage *entry;
	bool good = false;

	if (server_read(server, &search, &entry, err) != HR_OK)
		return err_add(err, "invocationId of the controller");
	struct berval **values = ldap_get_values_len(server_ld(server), entry, name);
	if (values && values[0])
		good = anchor_from_guid((struct slice){ values[0]->bv_val, values[0]->bv_len },
					text);
	ldap_value_free_len(values);
	ldap_msgfree(entry);
	if (!good)
		return err_set(err, HR_NONE, "%s shows no invocationId", service);
	*out = str_dup(text);
	return HR_OK;
}

/* Whether we may see what was deleted: who may not sees the container all the same, but nothing of
 * it. */
static enum hr_status look_for_deleted(struct server *server, struct controller *controller,
				       struct hr_err *err)
{
	scoped_str base = str_format(deleted_objects, controller->root);
	static char name[] = "objectClass";
	char *attributes[] = { name, NULL };
	LDAPControl *control = NULL;
	LDAPMessage *entry;

	int code = ldap_create_show_deleted_control(server_ld(server), &control);
	if (code != LDAP_SUCCESS)
		return server_fault(server, code, err);
	LDAPControl *controls[] = { control, NULL };
	const struct server_search search = { .base = base,
					      .scope = LDAP_SCOPE_BASE,
					      .attributes = attributes,
					      .controls = controls };
	enum hr_status status = server_read(server, &search, &entry, err);
	ldap_control_free(control);
	if (status != HR_OK)
		return status == HR_RETRY ? status : HR_OK;
	scoped_str class = text_of(server, entry, name);
	controller->shows_deleted = class != NULL;
	ldap_msgfree(entry);
	return HR_OK;
}

static enum hr_status read_root(struct server *server, LDAPMessage **entry, struct hr_err *err)
{
	static char name[] = "dnsHostName", service[] = "dsServiceName";
	static char contexts[] = "namingContexts", usn[] = "highestCommittedUSN";
	char *attributes[] = { name, service, contexts, usn, NULL };
	const struct server_search search = {
		.base = "", .scope = LDAP_SCOPE_BASE, .attributes = attributes, .quick = true
	};

	return server_read(server, &search, entry, err);
}

static bool take_usn(struct server *server, LDAPMessage *entry, int64_t *out)
{
	scoped_str text = text_of(server, entry, "highestCommittedUSN");

	*out = text ? strtoll(text, NULL, 10) : 0;
	return *out > 0;
}

static char *find_root(struct server *server, LDAPMessage *entry, const char *base)
{
	struct berval **values = ldap_get_values_len(server_ld(server), entry, "namingContexts");
	size_t n = (size_t)ldap_count_values_len(values);
	struct slice *roots = mem_array(struct slice, n), found = { 0 };
	char *normal = NULL;

	for (size_t i = 0; i < n; i++)
		roots[i] = (struct slice){ values[i]->bv_val, values[i]->bv_len };
	if (ldap_dn_normalize(base, LDAP_DN_FORMAT_LDAPV3, &normal, LDAP_DN_FORMAT_LDAPV3) ==
	    LDAP_SUCCESS)
		found = controller_root(roots, n, normal);
	char *root = found.data ? mem_dup(found.data, found.len) : NULL;
	ldap_memfree(normal);
	free(roots);
	ldap_value_free_len(values);
	return root;
}

/* What the root DSE says; the rest is asked for with it. */
static enum hr_status take_root(struct server *server, LDAPMessage *entry, const char *base,
				struct controller *out, struct hr_err *err)
{
	scoped_str service = text_of(server, entry, "dsServiceName");

	out->name = text_of(server, entry, "dnsHostName");
	out->root = find_root(server, entry, base);
	if (!service || !take_usn(server, entry, &out->usn))
		return err_set(err, HR_NONE, "it is no controller of Active Directory");
	if (!out->root)
		return err_set(err, HR_NONE, "%s is in none of its naming contexts", base);
	if (!out->name)
		out->name = str_dup(server_url(server));
	enum hr_status status = read_incarnation(server, service, &out->incarnation, err);
	return status == HR_OK ? look_for_deleted(server, out, err) : status;
}

enum hr_status controller_read(struct server *server, const char *base, struct controller *out,
			       struct hr_err *err)
{
	struct controller found = { 0 };
	LDAPMessage *entry;

	enum hr_status status = read_root(server, &entry, err);
	if (status != HR_OK)
		return status;
	status = take_root(server, entry, base, &found, err);
	ldap_msgfree(entry);
	if (status == HR_OK)
		*out = found;
	else
		controller_clear(&found);
	return status;
}

enum hr_status controller_look(struct server *server, struct controller *controller,
			       struct hr_err *err)
{
	LDAPMessage *entry;

	if (read_root(server, &entry, err) != HR_OK)
		return err->status;
	bool good = take_usn(server, entry, &controller->usn);
	ldap_msgfree(entry);
	return good ? HR_OK : err_set(err, HR_RETRY, "it no longer shows its highest USN");
}
