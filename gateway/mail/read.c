/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/read.h"

#include "base/utf8.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/flowed.h"
#include "gateway/mail/html.h"
#include "gateway/mail/picture.h"
#include "gateway/mail/quote.h"

#include <strings.h>

enum {
	HTML_MAX = 1024 * 1024,
	PLAIN_MAX = 256 * 1024,
	SOURCE_MAX =
		2 * HTML_MAX, /* of all parts, before they are text: a part may come to nothing */
	BODY_MAX = 256 * 1024 + 1, /* of all parts, before anything is cut */
	GLANCE_MAX = 4 * 1024	   /* that is looked at to see whether a part says anything */
};

/* Parts that say nothing to a person. */
static const char *const silent_types[] = {
	"application/pgp-signature",
	"application/pkcs7-signature",
	"application/x-pkcs7-signature",
};

struct reader {
	const struct mime *mime;
	struct pictures *pictures; /* of it */
	struct read_mail *mail;
	struct buf body;
	size_t left; /* of SOURCE_MAX */
};

static bool is_text(const struct mime_part *part, const char *type)
{
	return strcmp(part->type, type) == 0 && !mime_is_attachment(part);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The text of a text/plain or text/html part, lines end with \n. */
static void read_text(struct reader *reader, const struct mime_part *part, struct buf *out)
{
	bool is_html = strcmp(part->type, "text/html") == 0;
	size_t max = is_html ? HTML_MAX : PLAIN_MAX;
	scoped_buf bytes = BUF_INIT(max < reader->left ? max : reader->left);
	scoped_buf text = BUF_INIT(HTML_MAX);
	scoped_str charset = mime_type_parameter(part, "charset");
	scoped_str format = mime_type_parameter(part, "format");
	scoped_str delsp = mime_type_parameter(part, "delsp");

	mime_decode(part, &bytes);
	reader->left -= bytes.len;
	charset_to_utf8(buf_slice(&bytes), charset, &text);
	if (is_html)
		html_to_text(buf_slice(&text), out);
	else if (format && strcasecmp(format, "flowed") == 0)
		flowed_to_text(buf_slice(&text), delsp && strcasecmp(delsp, "yes") == 0, out);
	else
		charset_add(out, buf_slice(&text));
	if (bytes.overflowed || text.overflowed)
		out->overflowed = true;
}

static void add_text(struct reader *reader, const struct mime_part *part)
{
	size_t room = BODY_MAX - reader->body.len;
	scoped_buf text = BUF_INIT(room);

	if (room == 0 || reader->left == 0) {
		reader->mail->is_too_long = true;
		return;
	}
	if (reader->body.len > 0)
		buf_add_char(&text, '\n');
	read_text(reader, part, &text);
	buf_add_slice(&reader->body, buf_slice(&text));
	reader->mail->is_too_long |= text.overflowed;
}

static void add_attachment(struct reader *reader, const struct mime_part *part)
{
	struct read_mail *mail = reader->mail;

	for (size_t i = 0; i < countof(silent_types); i++)
		if (strcmp(part->type, silent_types[i]) == 0)
			return;
	bool is_picture = pictures_have(reader->pictures, part);
	mail->picture_count += is_picture;
	if (mail->attachment_count++ >= READ_ATTACHMENTS_MAX)
		return;
	scoped_str name = mime_file_name(part);
	mail->attachments[mail->attachment_count - 1] = (struct read_attachment){
		.name = charset_line(slice_str(name ? name : part->type), READ_NAME_MAX),
		.size = mime_decoded_size(part),
		.is_picture = is_picture,
	};
}

static bool says_something(const struct mime_part *part)
{
	scoped_buf text = BUF_INIT(GLANCE_MAX);

	mime_decode(part, &text);
	for (size_t i = 0; i < text.len; i++)
		if (!is_space(text.data[i]))
			return true;
	return false;
}

/* Whether the entity, or one of those in it, is a text of that type that says something. */
static bool has_text(const struct mime *mime, size_t number, const char *type)
{
	const struct mime_part *whole = mime_part(mime, number);

	for (size_t i = number; i < whole->end; i++)
		if (is_text(mime_part(mime, i), type) && says_something(mime_part(mime, i)))
			return true;
	return false;
}

static void read_part(struct reader *reader, size_t number);

/* Of the alternatives only the best is read: the first with plain text, else with HTML. */
static void read_alternatives(struct reader *reader, size_t number)
{
	static const char *const types[] = { "text/plain", "text/html" };
	const struct mime_part *whole = mime_part(reader->mime, number);

	for (size_t t = 0; t < countof(types); t++)
		for (size_t i = number + 1; i < whole->end; i = mime_part(reader->mime, i)->end)
			if (has_text(reader->mime, i, types[t])) {
				read_part(reader, i);
				return;
			}
	if (number + 1 < whole->end)
		read_part(reader, number + 1);
}

static void read_children(struct reader *reader, size_t number)
{
	const struct mime_part *whole = mime_part(reader->mime, number);

	for (size_t i = number + 1; i < whole->end; i = mime_part(reader->mime, i)->end)
		read_part(reader, i);
}

/* A text with a name is a file, unless there is no other to begin with. */
static bool is_body(const struct reader *reader, const struct mime_part *part)
{
	scoped_str name = mime_file_name(part);

	return (is_text(part, "text/plain") || is_text(part, "text/html")) &&
	       (!name || reader->body.len == 0);
}

static void read_part(struct reader *reader, size_t number)
{
	const struct mime_part *part = mime_part(reader->mime, number);

	if (strcmp(part->type, "multipart/alternative") == 0)
		read_alternatives(reader, number);
	else if (strncmp(part->type, "multipart/", 10) == 0)
		read_children(reader, number);
	else if (is_body(reader, part))
		add_text(reader, part);
	else
		add_attachment(reader, part);
}

/* What XML can carry of the text, and not too much of it. */
static char *bounded(struct slice text, struct read_mail *mail)
{
	struct slice cut = utf8_cut(text, READ_TEXT_MAX);

	if (cut.len < text.len)
		mail->is_too_long = true;
	while (cut.len > 0 && is_space(cut.data[cut.len - 1]))
		cut.len--;
	while (cut.len > 0 && is_space(cut.data[0]))
		cut = (struct slice){ cut.data + 1, cut.len - 1 };
	return mem_dup(cut.data, cut.len);
}

void read_mail(const struct mime *mime, struct read_mail *out)
{
	struct read_mail mail = { 0 };
	scoped(pictures) pictures = pictures_new(mime);
	struct reader reader = {
		.mime = mime,
		.pictures = pictures,
		.mail = &mail,
		.body = BUF_INIT(0),
		.left = SOURCE_MAX,
	};
	scoped_str subject = mime_text(mime_part(mime, 0), "Subject");
	scoped_buf text = BUF_INIT(0);

	mail.subject = charset_line(slice_str(subject ? subject : ""), READ_SUBJECT_MAX);
	read_part(&reader, 0);
	mail.is_quote_cut = quote_cut(buf_slice(&reader.body), &text);
	mail.text = bounded(buf_slice(&text), &mail);
	buf_free(&reader.body);
	*out = mail;
}

bool read_has_attachments(const struct read_mail *mail)
{
	return mail->attachment_count > (*mail->text ? mail->picture_count : 0);
}

void read_mail_clear(struct read_mail *mail)
{
	size_t kept = mail->attachment_count < READ_ATTACHMENTS_MAX ? mail->attachment_count
								    : READ_ATTACHMENTS_MAX;

	for (size_t i = 0; i < kept; i++)
		free(mail->attachments[i].name);
	free(mail->subject);
	free(mail->text);
	*mail = (struct read_mail){ 0 };
}
