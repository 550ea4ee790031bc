/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are a mailbox or not. One that is has parts within their bounds, nothing that could end
 * a line of SMTP or of a header, and is the same in a path. */
#include "gateway/mail/mailbox.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_box(const struct mailbox *box)
{
	check(box->local.len > 0 && box->local.len <= MAILBOX_LOCAL_MAX);
	check(box->domain.len > 0 && box->domain.len <= MAILBOX_DOMAIN_MAX);
	check(box->text.len == box->local.len + 1 + box->domain.len);
	check(box->text.len <= MAILBOX_MAX && utf8_valid(box->text));
	check(box->is_utf8 == !utf8_ascii(box->text));
	for (size_t i = 0; i < box->text.len; i++)
		check((unsigned char)box->text.data[i] >= ' ' && box->text.data[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct mailbox box, again;
	struct hr_err err;
	size_t len = 0;

	if (mailbox_parse_path(text, &box, &len, &err) == HR_OK) {
		check_box(&box);
		check(len <= size && mailbox_parse(box.text, &again, &err) == HR_OK);
	}
	if (mailbox_parse(text, &box, &err) == HR_OK) {
		scoped_buf path = BUF_INIT(0);
		check_box(&box);
		buf_format(&path, "<" SLICE_FMT ">", SLICE_ARG(text));
		check(mailbox_parse_path(buf_slice(&path), &again, &len, &err) == HR_OK);
		check(slice_eq(again.text, text) && len == size + 2);
	}
	return 0;
}
