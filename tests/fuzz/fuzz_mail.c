/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are a mail or not. One that is has parts within the bytes and the bounds; whatever is
 * asked of it, the answer is text that XML can carry and no longer than promised. */
#include "base/utf8.h"
#include "gateway/mail/dsn.h"
#include "gateway/mail/kind.h"
#include "gateway/mail/read.h"
#include "gateway/mail/vouch.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_text(const char *text, size_t max)
{
	check(strlen(text) <= max && utf8_xml(slice_str(text)));
}

static void check_inside(struct slice part, struct slice whole)
{
	check(part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void check_parts(const struct mime *mime, struct slice mail)
{
	size_t count = mime_count(mime);

	check(count > 0 && count <= MIME_PARTS_MAX && mime_part(mime, 0)->end == count);
	for (size_t i = 0; i < count; i++) {
		const struct mime_part *part = mime_part(mime, i);
		check(part->depth <= MIME_DEPTH_MAX && part->field_count <= MIME_FIELDS_MAX);
		check(part->end > i && part->end <= count && part->parent <= i);
		check_inside(part->body, mail);
		for (size_t k = 0; k < part->field_count; k++)
			check_inside(part->fields[k].value, mail);
	}
}

static void check_words(const struct mime *mime)
{
	scoped_str subject = mime_text(mime_part(mime, 0), "Subject");
	char **ids = mime_ids(mime_part(mime, 0), "References", 5);

	if (subject)
		check_text(subject, SIZE_MAX);
	for (size_t i = 0; ids[i]; i++)
		check(i < 5 && !strpbrk(ids[i], " <\r\n"));
	mime_ids_free(ids);
	mime_date(mime);
}

static void check_read(const struct mime *mime)
{
	struct read_mail mail;

	read_mail(mime, &mail);
	check_text(mail.subject, READ_SUBJECT_MAX);
	check_text(mail.text, READ_TEXT_MAX);
	for (size_t i = 0; i < mail.attachment_count && i < READ_ATTACHMENTS_MAX; i++)
		check_text(mail.attachments[i].name, READ_NAME_MAX);
	read_mail_clear(&mail);
}

static void check_vouch(const struct mime *mime)
{
	static const struct vouch_trust trust = { .authserv_id = "mx" };
	struct vouched vouched;
	struct hr_err err;

	if (vouch(mime, &trust, slice_lit(""), &vouched, &err) != HR_OK)
		return;
	check(utf8_valid(slice_str(vouched.address)) && strchr(vouched.address, '@'));
	check_text(vouched.name, SIZE_MAX);
	vouched_clear(&vouched);
}

static void check_dsn(const struct mime *mime)
{
	scoped(dsn) dsn = NULL;
	struct hr_err err;

	if (dsn_read(mime, &dsn, &err) != HR_OK)
		return;
	check(dsn->recipient_count > 0 && dsn->recipient_count <= DSN_RECIPIENTS_MAX);
	for (size_t i = 0; i < dsn->recipient_count; i++) {
		check_text(dsn->recipients[i].address, SIZE_MAX);
		check_text(dsn->recipients[i].diagnostic, SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice mail = { (const char *)data, size };
	scoped(mime) mime = NULL;
	struct hr_err err;
	const char *why = NULL;

	if (mime_parse(mail, &mime, &err) != HR_OK)
		return 0;
	check_parts(mime, mail);
	check_words(mime);
	check((kind_of(mime, slice_lit("a@b"), "here", &why) == KIND_PERSONAL) == !why);
	check_vouch(mime);
	check_dsn(mime);
	check_read(mime);
	return 0;
}
