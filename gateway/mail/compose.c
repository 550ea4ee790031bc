/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/compose.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/gmime.h"
#include "gateway/mail/kind.h"
#include "gateway/mail/mailbox.h"
#include "gateway/mail/phrases.h"

enum {
	NAME_MAX_LEN = 100,
	ID_MAX = 250, /* so that a header line with it stays below 998 bytes */
	SITE_MAX = 255,
	TEXTS_MAX = 512 * 1024 /* bytes of all texts; those past it are only counted */
};

/* Neither occurs in what quoted-printable or base64 make. */
static const char boundary[] = "=_hedgerow";

/* ---- what is refused ---- */

static enum hr_status check_address(const char *what, const char *address, bool *needs_utf8,
				    struct hr_err *err)
{
	struct mailbox box;

	if (mailbox_parse(slice_str(address), &box, err) != HR_OK)
		return err_add(err, "%s of a mail", what);
	*needs_utf8 |= !utf8_ascii(box.local);
	return HR_OK;
}

/* Of printable ASCII without `forbidden`. */
static enum hr_status check_word(const char *what, const char *word, const char *forbidden,
				 size_t max, struct hr_err *err)
{
	if (!*word || strlen(word) > max || !utf8_printable(slice_str(word)) ||
	    strpbrk(word, forbidden))
		return err_set(err, HR_FAIL, "%s of a mail: not one", what);
	return HR_OK;
}

bool compose_can_name(const char *message_id)
{
	struct hr_err err;

	return check_word("Message-ID", message_id, "<>", ID_MAX, &err) == HR_OK;
}

static enum hr_status check_ids(const struct compose *mail, struct hr_err *err)
{
	static const char forbidden[] = "<>(),;\"\\";

	if (check_word("Message-ID", mail->message_id, forbidden, ID_MAX, err) != HR_OK)
		return err->status;
	if (mail->in_reply_to &&
	    check_word("In-Reply-To", mail->in_reply_to, "<>", ID_MAX, err) != HR_OK)
		return err->status;
	for (size_t i = 0; i < mail->reference_count; i++)
		if (check_word("References", mail->references[i], "<>", ID_MAX, err) != HR_OK)
			return err->status;
	for (size_t i = 0; i < mail->trace_count; i++)
		if (check_word("trace", mail->trace[i], ",", SITE_MAX, err) != HR_OK)
			return err->status;
	return HR_OK;
}

static enum hr_status check(const struct compose *mail, bool *needs_utf8, struct hr_err *err)
{
	if (check_address("From", mail->from, needs_utf8, err) != HR_OK ||
	    check_address("To", mail->to, needs_utf8, err) != HR_OK)
		return err->status;
	if (mail->reply_to && check_address("Reply-To", mail->reply_to, needs_utf8, err) != HR_OK)
		return err->status;
	if (mail->text_count > COMPOSE_TEXTS_MAX || mail->reference_count > COMPOSE_REFERENCES_MAX)
		return err_set(err, HR_FAIL, "more texts or references than a mail has");
	return check_ids(mail, err);
}

/* ---- text ---- */

/* Plain text and HTML, which say the same. */
struct body {
	const struct compose *mail;
	const struct phrases *phrases;
	char *name; /* owned: "Ada Adams (ada@example.com)" */
	struct buf plain, html;
};

static void add_html(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		switch (text.data[i]) {
		case '<':
			buf_add_str(out, "&lt;");
			break;
		case '>':
			buf_add_str(out, "&gt;");
			break;
		case '&':
			buf_add_str(out, "&amp;");
			break;
		case '\n':
			buf_add_str(out, "<br>"); /* alone: a line end counts where text is as_is */
			break;
		default:
			buf_add_char(out, text.data[i]);
		}
	}
}

static const char grey[] = " style=\"color:#777\"", as_is[] = " style=\"white-space:pre-wrap\"";

/* A paragraph with an empty line after it. */
static void add_paragraph(struct body *body, struct slice text, const char *style)
{
	buf_add_slice(&body->plain, text);
	buf_add_str(&body->plain, "\n\n");
	buf_format(&body->html, "<p%s>", style);
	add_html(&body->html, text);
	buf_add_str(&body->html, "</p>\n");
}

static void add_phrase(struct body *body, const char *phrase, size_t count, const char *style)
{
	scoped_buf text = BUF_INIT(0);

	phrases_add(&text, phrase, body->name, count);
	add_paragraph(body, buf_slice(&text), style);
}

static void add_mark(struct body *body)
{
	scoped_buf mark = BUF_INIT(0);

	buf_format(&mark, COMPOSE_MARK " %s " COMPOSE_MARK, body->phrases->mark);
	add_paragraph(body, buf_slice(&mark), grey);
}

static void add_time(struct body *body, usec sent)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(sent / 1000000);
	g_autofree char *text = time ? g_date_time_format(time, "[%Y-%m-%d %H:%M UTC]") : NULL;

	if (text)
		add_paragraph(body, slice_str(text), grey);
}

static struct slice without_line_ends(struct slice text)
{
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	return text;
}

/* Returns how many texts there was room for. */
static size_t add_texts(struct body *body)
{
	const struct compose *mail = body->mail;
	size_t i;

	for (i = 0; i < mail->text_count; i++) {
		scoped_buf text = BUF_INIT(TEXTS_MAX);
		charset_to_utf8(mail->texts[i].text, "utf-8", &text);
		if (i > 0 && body->plain.len + text.len > TEXTS_MAX)
			break;
		if (mail->text_count > 1)
			add_time(body, mail->texts[i].sent);
		add_paragraph(body, without_line_ends(buf_slice(&text)), as_is);
	}
	return i;
}

static void add_notice(struct body *body)
{
	size_t count = body->mail->more;

	add_phrase(body, count > 1 ? body->phrases->many : body->phrases->one, count, "");
}

/* Under the usual line before a signature, which clients show small, or not in what they quote. */
static void add_footer(struct body *body)
{
	const struct phrases *phrases = body->phrases;
	scoped_buf text = BUF_INIT(0);

	if (body->mail->text_count > 0) {
		phrases_add(&text, phrases->sent, body->name, 0);
		buf_add_char(&text, '\n');
	}
	phrases_add(&text, body->mail->reply_to ? phrases->reply : phrases->no_reply, body->name,
		    0);
	buf_format(&body->plain, "-- \n" SLICE_FMT "\n", SLICE_ARG(buf_slice(&text)));
	buf_format(&body->html, "<p%s>-- <br>", grey);
	add_html(&body->html, buf_slice(&text));
	buf_add_str(&body->html, "</p>\n");
}

static void write_body(struct body *body)
{
	buf_format(&body->html, "<!DOCTYPE html>\n<html lang=\"%s\">\n<body>\n",
		   body->phrases->language);
	if (body->mail->reply_to)
		add_mark(body);
	size_t shown = add_texts(body), more = body->mail->more + body->mail->text_count - shown;
	if (body->mail->text_count == 0)
		add_notice(body);
	else if (more > 0)
		add_phrase(body, body->phrases->more, more, "");
	add_footer(body);
	buf_add_str(&body->html, "</body>\n</html>\n");
}

static void body_end(struct body *body)
{
	free(body->name);
	buf_free(&body->plain);
	buf_free(&body->html);
}

/* ---- MIME ---- */

/* In UTF-8, always encoded, so that nothing in it looks like a boundary. */
static GMimeObject *new_part(const char *subtype, const struct buf *text)
{
	GMimePart *part = g_mime_part_new_with_type("text", subtype);
	gmime_scoped(GMimeStream) stream = g_mime_stream_mem_new_with_buffer(text->data, text->len);
	gmime_scoped(GMimeDataWrapper) content =
		g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT);

	g_mime_object_set_content_type_parameter(GMIME_OBJECT(part), "charset", "utf-8");
	g_mime_part_set_content(part, content);
	GMimeContentEncoding best =
		g_mime_part_get_best_content_encoding(part, GMIME_ENCODING_CONSTRAINT_7BIT);
	g_mime_part_set_content_encoding(part, best == GMIME_CONTENT_ENCODING_BASE64
						       ? best
						       : GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
	return GMIME_OBJECT(part);
}

static GMimeObject *new_alternatives(struct body *body)
{
	GMimeMultipart *both = g_mime_multipart_new_with_subtype("alternative");
	gmime_scoped(GMimeObject) plain = new_part("plain", &body->plain);
	gmime_scoped(GMimeObject) html = new_part("html", &body->html);

	g_mime_multipart_set_boundary(both, boundary);
	g_mime_multipart_add(both, plain);
	g_mime_multipart_add(both, html);
	return GMIME_OBJECT(both);
}

static void set_header(GMimeMessage *message, const char *name, const char *value)
{
	g_mime_object_set_header(GMIME_OBJECT(message), name, value, "utf-8");
}

static void set_mailbox(GMimeMessage *message, GMimeAddressType type, const char *name,
			const char *address)
{
	scoped_str clean = charset_line(slice_str(name ? name : ""), NAME_MAX_LEN);

	g_mime_message_add_mailbox(message, type, *clean ? clean : NULL, address);
}

static void set_subject(GMimeMessage *message, const struct body *body)
{
	const char *given = body->mail->subject;
	scoped_str name = charset_line(
		slice_str(body->mail->from_name ? body->mail->from_name : ""), NAME_MAX_LEN);
	scoped_buf text = BUF_INIT(0);

	if (given && *given)
		buf_add_str(&text, given);
	else
		phrases_add(&text, body->phrases->subject, *name ? name : body->mail->person, 0);
	scoped_str line = charset_line(buf_slice(&text), COMPOSE_SUBJECT_MAX);
	g_mime_message_set_subject(message, line, "utf-8");
}

/* " <a@b>" for each. */
static void set_ids(GMimeMessage *message, const char *name, const char *const *ids, size_t count)
{
	scoped_buf value = BUF_INIT(0);

	for (size_t i = 0; i < count; i++)
		buf_format(&value, "%s<%s>", i ? " " : "", ids[i]);
	if (count > 0)
		set_header(message, name, buf_text(&value));
}

static void set_trace(GMimeMessage *message, const struct compose *mail)
{
	scoped_buf value = BUF_INIT(0);

	for (size_t i = 0; i < mail->trace_count; i++)
		buf_format(&value, "%s%s", i ? ", " : "", mail->trace[i]);
	if (mail->trace_count > 0)
		set_header(message, KIND_TRACE_FIELD, buf_text(&value));
}

static GMimeMessage *new_message(struct body *body)
{
	const struct compose *mail = body->mail;
	GMimeMessage *message = g_mime_message_new(TRUE);
	gmime_scoped(GMimeObject) content = new_alternatives(body);
	g_autoptr(GDateTime) date = g_date_time_new_from_unix_utc(mail->date / 1000000);

	set_mailbox(message, GMIME_ADDRESS_TYPE_FROM, mail->from_name, mail->from);
	set_mailbox(message, GMIME_ADDRESS_TYPE_TO, mail->to_name, mail->to);
	if (mail->reply_to)
		set_mailbox(message, GMIME_ADDRESS_TYPE_REPLY_TO, mail->from_name, mail->reply_to);
	set_subject(message, body);
	if (date)
		g_mime_message_set_date(message, date);
	g_mime_message_set_message_id(message, mail->message_id);
	set_ids(message, "In-Reply-To", &mail->in_reply_to, mail->in_reply_to ? 1 : 0);
	set_ids(message, "References", mail->references, mail->reference_count);
	if (mail->is_automatic)
		set_header(message, "Auto-Submitted", "auto-generated");
	set_trace(message, mail);
	g_mime_message_set_mime_part(message, content);
	return message;
}

static void write_message(GMimeMessage *message, struct buf *out)
{
	GMimeFormatOptions *format = g_mime_format_options_new();

	g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS);
	g_autofree char *text = g_mime_object_to_string(GMIME_OBJECT(message), format);
	g_mime_format_options_free(format);
	buf_add_str(out, text);
}

enum hr_status compose_mail(const struct compose *mail, struct buf *out, bool *needs_utf8,
			    struct hr_err *err)
{
	__attribute__((cleanup(body_end))) struct body body = { .mail = mail };
	bool is_utf8 = false;

	if (check(mail, &is_utf8, err) != HR_OK)
		return err->status;
	scoped_str name =
		charset_line(slice_str(mail->from_name ? mail->from_name : ""), NAME_MAX_LEN);
	scoped_str person = charset_line(slice_str(mail->person), MAILBOX_MAX);
	body.name = *name ? str_format("%s (%s)", name, person) : str_dup(person);
	body.phrases = phrases_for(mail->languages, mail->language_count);
	gmime_begin();
	write_body(&body);
	gmime_scoped(GMimeMessage) message = new_message(&body);
	write_message(message, out);
	*needs_utf8 = is_utf8;
	return HR_OK;
}
