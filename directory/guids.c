/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/guids.h"

#include "base/mem.h"

void guids_clear(struct guids *guids)
{
	free(guids->at);
	*guids = (struct guids){ 0 };
}

void guids_add(struct guids *guids, struct slice bytes, bool moved)
{
	if (bytes.len != ANCHOR_RAW)
		return;
	if (guids->n == GUIDS_MAX) {
		guids->incomplete = true;
		return;
	}
	if (guids->n == guids->size) {
		guids->size = guids->size ? 2 * guids->size : 64;
		guids->at = mem_resize(guids->at, guids->size, sizeof *guids->at);
	}
	struct guid *guid = &guids->at[guids->n++];
	*guid = (struct guid){ .moved = moved };
	memcpy(guid->bytes, bytes.data, ANCHOR_RAW);
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct guid *)a)->bytes, ((const struct guid *)b)->bytes, ANCHOR_RAW);
}

void guids_settle(struct guids *guids)
{
	size_t kept = 0;

	if (guids->n > 0)
		qsort(guids->at, guids->n, sizeof *guids->at, compare);
	for (size_t i = 0; i < guids->n; i++) {
		if (kept > 0 && compare(&guids->at[kept - 1], &guids->at[i]) == 0)
			guids->at[kept - 1].moved |= guids->at[i].moved;
		else
			guids->at[kept++] = guids->at[i];
	}
	guids->n = kept;
}

struct guid *guids_find(struct guids *guids, struct slice bytes)
{
	struct guid wanted;

	if (bytes.len != ANCHOR_RAW || guids->n == 0)
		return NULL;
	memcpy(wanted.bytes, bytes.data, ANCHOR_RAW);
	return bsearch(&wanted, guids->at, guids->n, sizeof *guids->at, compare);
}

bool guids_filter(const struct guids *guids, struct guids_part part, const char *filter,
		  struct buf *out)
{
	bool any = false;

	buf_format(out, "(&%s(|", filter);
	for (size_t i = part.from; i < guids->n && i < part.from + part.n; i++) {
		const struct guid *guid = &guids->at[i];
		if (part.moved_only && (!guid->moved || guid->found))
			continue;
		any = true;
		buf_add_str(out, "(objectGUID=");
		for (size_t k = 0; k < ANCHOR_RAW; k++)
			buf_format(out, "\\%02x", guid->bytes[k]);
		buf_add_char(out, ')');
	}
	buf_add_str(out, "))");
	return any;
}
