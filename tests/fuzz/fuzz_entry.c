/* SPDX-License-Identifier: Apache-2.0 */
/* What a directory may send as an entry: lines of "name value", the first byte of a name '!' for an
 * anchor as GUID, '?' for one as UUID, '=' for the DN. What comes out must be storable. */
#include "base/utf8.h"
#include "directory/entry.h"

static const char *const names[] = { "mail", "proxyAddresses", "cn" };

static void give_line(struct entry *entry, struct slice line)
{
	const char *space = memchr(line.data, ' ', line.len);
	struct slice name = { line.data, space ? (size_t)(space - line.data) : line.len };
	struct slice value = { space ? space + 1 : "", space ? line.len - name.len - 1 : 0 };

	if (name.len > 0 && name.data[0] == '!')
		entry_set_guid(entry, value);
	else if (name.len > 0 && name.data[0] == '?')
		entry_set_uuid(entry, value);
	else if (name.len > 0 && name.data[0] == '=')
		entry_set_dn(entry, value);
	else
		entry_add(entry, name, value);
}

static void must_be_text(struct slice text)
{
	if (!utf8_text(text) || memchr(text.data, '\0', text.len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped(entry) entry = entry_new(names, countof(names));

	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t len = end ? (size_t)(end - data) - at : size - at;
		give_line(entry, (struct slice){ (const char *)data + at, len });
		at += len + 1;
	}
	const struct publish_entry *row = entry_row(entry);
	must_be_text(row->anchor);
	if (row->anchor.len == 0)
		abort();
	if (row->dn.data)
		must_be_text(row->dn);
	for (size_t i = 0; i < row->refused.n; i++)
		must_be_text(row->refused.at[i]);
	for (size_t i = 0; i < countof(names); i++) {
		for (size_t k = 0; k < row->attributes[i].n; k++) {
			must_be_text(row->attributes[i].at[k]);
			if (row->attributes[i].at[k].len == 0 ||
			    row->attributes[i].at[k].len > ENTRY_VALUE_BYTES)
				abort();
		}
	}
	return 0;
}
