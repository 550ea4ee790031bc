/* SPDX-License-Identifier: Apache-2.0 */
/* The controls that a directory sends while its changes are followed. */
#include "directory/syncrepl.h"

#include "base/mem.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice value = { (const char *)data, size }, uuid;
	scoped_buf merged = BUF_INIT(0), again = BUF_INIT(0);
	struct syncrepl_state state;
	struct syncrepl_info info;
	struct hr_err err;

	if (syncrepl_parse_state(value, &state, &err) == HR_OK) {
		if (state.uuid.len != 16)
			abort();
		syncrepl_merge(state.cookie, state.uuid, &merged);
	}
	if (syncrepl_parse_info(value, &info, &err) == HR_OK && info.topic == SYNCREPL_ID_SET)
		while (syncrepl_next_uuid(&info.uuids, &uuid, &err) == HR_OK)
			if (uuid.len != 16)
				abort();
	/* Merging what has been merged changes nothing. */
	struct slice newer = { value.data, size / 2 },
		     older = { value.data + size / 2, size - size / 2 };
	buf_clear(&merged);
	syncrepl_merge(older, newer, &merged);
	syncrepl_merge(older, buf_slice(&merged), &again);
	if (!slice_eq(buf_slice(&merged), buf_slice(&again)))
		abort();
	return 0;
}
