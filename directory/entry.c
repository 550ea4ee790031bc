/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/entry.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "directory/anchor.h"
#include "directory/attribute.h"

enum { ANCHOR_BYTES = 512 };

struct values {
	struct slice *at; /* owned array of borrowed slices */
	size_t n, size;
	size_t dropped; /* past ENTRY_VALUES */
};

struct entry {
	const char *const *names; /* borrowed */
	size_t n;
	struct values *values;		/* n of them */
	struct publish_values *columns; /* n views of values */
	char anchor[ANCHOR_BYTES];
	size_t anchor_len;
	struct slice dn;
	char *refusals[ENTRY_REFUSALS]; /* owned */
	struct slice refused[ENTRY_REFUSALS];
	size_t refused_count;
	struct publish_entry row;
};

struct entry *entry_new(const char *const *attributes, size_t n)
{
	struct entry *entry = mem_new(struct entry);

	entry->names = attributes;
	entry->n = n;
	entry->values = mem_array(struct values, n);
	entry->columns = mem_array(struct publish_values, n);
	return entry;
}

void entry_reset(struct entry *entry)
{
	for (size_t i = 0; i < entry->n; i++)
		entry->values[i].n = entry->values[i].dropped = 0;
	for (size_t i = 0; i < entry->refused_count; i++)
		free(entry->refusals[i]);
	entry->refused_count = entry->anchor_len = 0;
	entry->dn = (struct slice){ 0 };
}

void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	entry_reset(entry);
	for (size_t i = 0; i < entry->n; i++)
		free(entry->values[i].at);
	free(entry->values);
	free(entry->columns);
	free(entry);
}

/* Takes `text`. */
static void refuse(struct entry *entry, char *text)
{
	if (entry->refused_count == ENTRY_REFUSALS) {
		free(text);
		return;
	}
	entry->refusals[entry->refused_count] = text;
	entry->refused[entry->refused_count++] = slice_str(text);
}

void entry_set_dn(struct entry *entry, struct slice dn)
{
	if (dn.len > 0 && dn.len <= ENTRY_VALUE_BYTES && utf8_text(dn))
		entry->dn = dn;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return found ? (int)(found - digits) : -1;
}

static bool is_uuid(struct slice text)
{
	if (text.len != ANCHOR_CHARS)
		return false;
	for (size_t i = 0; i < ANCHOR_CHARS; i++) {
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
		if (hyphen ? text.data[i] != '-' : hex_digit(text.data[i]) < 0)
			return false;
	}
	return true;
}

void entry_set_uuid(struct entry *entry, struct slice text)
{
	if (!is_uuid(text)) {
		refuse(entry, str_format("anchor: %zu bytes that are not a UUID", text.len));
		return;
	}
	for (size_t i = 0; i < ANCHOR_CHARS; i++) {
		char c = text.data[i];
		entry->anchor[i] = c == '-' ? c : "0123456789abcdef"[hex_digit(c)];
	}
	entry->anchor_len = ANCHOR_CHARS;
}

void entry_set_guid(struct entry *entry, struct slice bytes)
{
	char anchor[ANCHOR_CHARS + 1];

	if (!anchor_from_guid(bytes, anchor)) {
		refuse(entry, str_format("anchor: %zu bytes that are not a GUID", bytes.len));
		return;
	}
	memcpy(entry->anchor, anchor, ANCHOR_CHARS);
	entry->anchor_len = ANCHOR_CHARS;
}

/* Puts the DN, as far as there is room, after "dn:". */
static void put_dn(struct entry *entry)
{
	static const char prefix[] = "dn:";
	struct slice dn = utf8_cut(entry->dn, ANCHOR_BYTES - (sizeof prefix - 1));

	memcpy(entry->anchor, prefix, sizeof prefix - 1);
	for (size_t i = 0; i < dn.len; i++) {
		char c = dn.data[i];
		entry->anchor[sizeof prefix - 1 + i] =
			c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	entry->anchor_len = sizeof prefix - 1 + dn.len;
}

void entry_set_anchor_dn(struct entry *entry)
{
	if (entry->dn.len > 0 && entry->dn.len <= ENTRY_DN_BYTES)
		put_dn(entry);
	else
		refuse(entry, str_format("anchor: a DN of %zu bytes", entry->dn.len));
}

/* Why a value cannot be staged; NULL: it can. */
static const char *fault_of(struct slice value)
{
	if (value.len == 0)
		return "is empty";
	if (value.len > ENTRY_VALUE_BYTES)
		return "is too long";
	if (memchr(value.data, '\0', value.len))
		return "has a NUL byte";
	return utf8_text(value) ? NULL : "is not UTF-8";
}

static void append(struct values *values, struct slice value)
{
	if (values->n == ENTRY_VALUES) {
		values->dropped++;
		return;
	}
	if (values->n == values->size) {
		values->size = values->size ? 2 * values->size : 4;
		values->at = mem_resize(values->at, values->size, sizeof *values->at);
	}
	values->at[values->n++] = value;
}

/* The place of an attribute in the order of the mapping; entry->n: it has none. */
static size_t place_of(const struct entry *entry, struct slice name)
{
	size_t i = 0;

	while (i < entry->n && !attribute_is(name, entry->names[i]))
		i++;
	return i;
}

void entry_add(struct entry *entry, struct slice name, struct slice value)
{
	size_t i = place_of(entry, name);

	if (i == entry->n)
		return;
	const char *fault = fault_of(value);
	if (fault)
		refuse(entry, str_format("%s: a value of %zu bytes %s", entry->names[i], value.len,
					 fault));
	else
		append(&entry->values[i], value);
}

bool entry_has_room(const struct entry *entry, struct slice name)
{
	size_t i = place_of(entry, name);

	return i < entry->n && entry->values[i].dropped == 0;
}

/* Without an anchor nothing can be published: the row carries only what was wrong. */
static void show_nothing(struct entry *entry)
{
	put_dn(entry);
	if (entry->refused_count == 0)
		refuse(entry,
		       str_dup("anchor: the entry shows none; may the bind account read it?"));
	for (size_t i = 0; i < entry->n; i++)
		entry->values[i].n = entry->values[i].dropped = 0;
}

const struct publish_entry *entry_row(struct entry *entry)
{
	if (entry->anchor_len == 0)
		show_nothing(entry);
	for (size_t i = 0; i < entry->n; i++) {
		struct values *values = &entry->values[i];
		if (values->dropped > 0)
			refuse(entry, str_format("%s: only the first %zu values are read",
						 entry->names[i], values->n));
		entry->columns[i] = (struct publish_values){ values->at, values->n };
	}
	entry->row = (struct publish_entry){
		.anchor = { entry->anchor, entry->anchor_len },
		.dn = entry->dn,
		.refused = { entry->refused, entry->refused_count },
		.attributes = entry->columns,
	};
	return &entry->row;
}
