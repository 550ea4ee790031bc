/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/reader.h"

#include "directory/attribute.h"
#include "directory/range.h"

enum { PARTS = 64 }; /* the most messages that the values of one entry are gathered from */

const struct reader_anchor reader_uuid = { "entryUUID", entry_set_uuid };
const struct reader_anchor reader_guid = { "objectGUID", entry_set_guid };

struct reader {
	struct server *server;		    /* borrowed */
	const struct reader_anchor *anchor; /* borrowed */
	struct entry *entry;
	char **wanted;		   /* NULL-terminated, its texts borrowed */
	LDAPMessage *parts[PARTS]; /* hold further values of the entry */
	size_t part_count;
};

struct reader *reader_new(struct server *server, const struct publish_source *source,
			  const struct reader_anchor *anchor)
{
	struct reader *reader = mem_new(struct reader);

	reader->server = server;
	reader->anchor = anchor;
	reader->entry = entry_new((const char *const *)source->attributes, source->attribute_count);
	reader->wanted = mem_array(char *, source->attribute_count + 2);
	for (size_t i = 0; i < source->attribute_count; i++)
		reader->wanted[i] = source->attributes[i];
	reader->wanted[source->attribute_count] = (char *)(uintptr_t)anchor->attribute;
	return reader;
}

static void reset(struct reader *reader)
{
	entry_reset(reader->entry);
	while (reader->part_count > 0)
		ldap_msgfree(reader->parts[--reader->part_count]);
}

void reader_free(struct reader *reader)
{
	if (!reader)
		return;
	reset(reader);
	entry_free(reader->entry);
	free(reader->wanted);
	free(reader);
}

char **reader_attributes(const struct reader *reader)
{
	return reader->wanted;
}

static struct slice slice_of(const struct berval *value)
{
	return (struct slice){ value->bv_val, value->bv_len };
}

static void add_values(struct reader *reader, struct slice name, const struct berval *values)
{
	bool is_anchor = attribute_is(name, reader->anchor->attribute);

	for (size_t i = 0; values && values[i].bv_val; i++) {
		if (is_anchor && i == 0)
			reader->anchor->set(reader->entry, slice_of(&values[i]));
		entry_add(reader->entry, name, slice_of(&values[i]));
	}
}

/* An attribute of which there is more: its name and where the next part begins. */
struct rest {
	char *name;
	uint32_t next; /* 0: none */
};

/* Adds the values of all attributes of a message; *rests, owned by the caller, are the n that go
 * on. */
static enum hr_status add_message(struct reader *reader, LDAPMessage *message, struct rest **rests,
				  size_t *n, struct hr_err *err)
{
	LDAP *ld = server_ld(reader->server);
	struct berval dn, name, *values;
	BerElement *ber = NULL;
	enum hr_status status = HR_OK;

	int code = ldap_get_dn_ber(ld, message, &ber, &dn);
	if (code != LDAP_SUCCESS)
		return server_fault(reader->server, code, err);
	if (reader->part_count == 0)
		entry_set_dn(reader->entry, slice_of(&dn));
	while (status == HR_OK &&
	       (code = ldap_get_attribute_ber(ld, message, ber, &name, &values)) == LDAP_SUCCESS &&
	       name.bv_val) {
		struct range range;
		status = range_parse(slice_of(&name), &range, err);
		if (status == HR_OK)
			add_values(reader, range.name, values);
		if (status == HR_OK && range.next > 0) {
			*rests = mem_resize(*rests, *n + 1, sizeof **rests);
			(*rests)[(*n)++] = (struct rest){ mem_dup(range.name.data, range.name.len),
							  range.next };
		}
		ldap_memfree(values);
	}
	ber_free(ber, 0);
	return status != HR_OK || code == LDAP_SUCCESS ? status
						       : server_fault(reader->server, code, err);
}

/* Reads one more part of an attribute; *next becomes where the following begins, 0 at the end. The
 * message is kept with the row. */
static enum hr_status read_part(struct reader *reader, const char *dn, struct rest *rest,
				struct hr_err *err)
{
	scoped_str description = str_format("%s;range=%u-*", rest->name, rest->next);
	char *attributes[] = { description, NULL };
	const struct server_search search = { .base = dn,
					      .scope = LDAP_SCOPE_BASE,
					      .attributes = attributes };
	int id;

	if (reader->part_count == PARTS)
		return err_set(err, HR_FAIL, "%s comes in more than %d parts", rest->name, PARTS);
	if (server_search(reader->server, &search, &id, err) != HR_OK)
		return err->status;
	rest->next = 0;
	for (LDAPMessage *message;;) {
		struct rest *more = NULL;
		size_t n = 0;
		if (server_receive(reader->server, id, &message, err) != HR_OK)
			return err->status;
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT)
			return server_finish(reader->server, message, NULL, err);
		if (ldap_msgtype(message) != LDAP_RES_SEARCH_ENTRY || reader->part_count == PARTS) {
			ldap_msgfree(message);
			continue;
		}
		reader->parts[reader->part_count++] = message;
		enum hr_status status = add_message(reader, message, &more, &n, err);
		for (size_t i = 0; i < n; i++) {
			if (attribute_is(slice_str(more[i].name), rest->name))
				rest->next = more[i].next;
			free(more[i].name);
		}
		free(more);
		if (status != HR_OK)
			return status;
	}
}

/* Reads what is left of the attributes that came in part. */
static enum hr_status read_rests(struct reader *reader, LDAPMessage *message, struct rest *rests,
				 size_t n, struct hr_err *err)
{
	enum hr_status status = HR_OK;
	char *dn = ldap_get_dn(server_ld(reader->server), message);

	for (size_t i = 0; i < n && status == HR_OK; i++)
		while (status == HR_OK && rests[i].next > 0 &&
		       entry_has_room(reader->entry, slice_str(rests[i].name))) {
			uint32_t from = rests[i].next;
			status = read_part(reader, dn, &rests[i], err);
			if (status == HR_OK && rests[i].next > 0 && rests[i].next <= from)
				status = err_set(err, HR_FAIL, "%s: the same part comes again",
						 rests[i].name);
		}
	if (status != HR_OK)
		err_add(err, "rest of the values of %s", dn);
	ldap_memfree(dn);
	return status;
}

enum hr_status reader_row(struct reader *reader, LDAPMessage *message,
			  const struct publish_entry **out, struct hr_err *err)
{
	struct rest *rests = NULL;
	size_t n = 0;

	reset(reader);
	enum hr_status status = add_message(reader, message, &rests, &n, err);
	if (status == HR_OK && n > 0)
		status = read_rests(reader, message, rests, n, err);
	for (size_t i = 0; i < n; i++)
		free(rests[i].name);
	free(rests);
	if (status == HR_OK)
		*out = entry_row(reader->entry);
	return status;
}

struct target {
	struct reader *reader;
	const struct adapter_sink *sink;
	int64_t entries;
};

static enum hr_status take_row(void *arg, LDAPMessage *message, struct hr_err *err)
{
	struct target *target = arg;
	const struct publish_entry *row;

	if (reader_row(target->reader, message, &row, err) != HR_OK)
		return err->status;
	target->entries++;
	return target->sink->entry(target->sink->arg, row, err);
}

enum hr_status reader_search(struct reader *reader, const struct server_search *search,
			     const struct adapter_sink *sink, int64_t *entries, struct hr_err *err)
{
	struct target target = { reader, sink, 0 };

	if (paged_search(reader->server, search, take_row, &target, err) != HR_OK)
		return err->status;
	*entries = target.entries;
	return HR_OK;
}
