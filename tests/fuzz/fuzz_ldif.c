/* SPDX-License-Identifier: Apache-2.0 */
/* A file that claims to be LDIF. The first byte says in what pieces it comes; whatever they are,
 * the same records must come out. */
#include "directory/ldif.h"

#include "base/buf.h"

static enum hr_status write_down(void *arg, const struct ldif_record *record, struct hr_err *err)
{
	struct buf *out = arg;

	(void)err;
	buf_add_slice(out, record->dn);
	for (size_t i = 0; i < record->n; i++) {
		if (record->values[i].name.len == 0)
			abort();
		buf_add_slice(out, record->values[i].name);
		buf_add_slice(out, record->values[i].value);
	}
	return HR_OK;
}

static enum hr_status parse(struct slice text, size_t step, struct buf *out)
{
	scoped(ldif) ldif = ldif_new(write_down, out);
	struct hr_err err;

	for (size_t at = 0; at < text.len; at += step) {
		size_t len = text.len - at < step ? text.len - at : step;
		if (ldif_feed(ldif, (struct slice){ text.data + at, len }, &err) != HR_OK)
			return err.status;
	}
	return ldif_end(ldif, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	scoped_buf whole = BUF_INIT(0), pieces = BUF_INIT(0);

	if (size == 0)
		return 0;
	struct slice text = { (const char *)data + 1, size - 1 };
	if (parse(text, text.len + 1, &whole) != parse(text, 1 + data[0] % 16U, &pieces) ||
	    !slice_eq(buf_slice(&whole), buf_slice(&pieces)))
		abort();
	return 0;
}
