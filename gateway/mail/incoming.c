/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/incoming.h"

#include "gateway/xmpp/stanza.h"

enum { RELAYS_MAX = 256 };

static char *message_id_of(const struct mime *mime)
{
	static unsigned long long made;
	char **ids = mime_ids(mime_part(mime, 0), "Message-ID", 1);
	char *id = ids[0] ? str_dup(ids[0]) : NULL;

	mime_ids_free(ids);
	if (!id || strlen(id) > 998) { /* a line of RFC 5322 */
		free(id);
		id = str_format("%llx.%llx@invalid", (unsigned long long)time_usec(), ++made);
	}
	return id;
}

enum hr_status incoming_new(const struct lmtp_mail *mail, const char *site, struct incoming **out,
			    const char **why, struct hr_err *err)
{
	scoped(incoming) made = mem_new(struct incoming);

	made->refs = 1;
	made->client = mem_dup(mail->client.data, mail->client.len);
	if (mime_parse(mail->bytes, &made->mime, err) != HR_OK)
		return err->status;
	made->kind = kind_of(made->mime, slice_str(mail->sender), site, why);
	made->message_id = message_id_of(made->mime);
	if (made->kind == KIND_REPORT && dsn_read(made->mime, &made->report, err) == HR_FAIL)
		made->report = NULL; /* it is dropped as one that says nothing */
	*out = give(made);
	return HR_OK;
}

void incoming_keep(struct incoming *incoming, struct lmtp *lmtp, struct room *room, size_t len)
{
	incoming->original = lmtp_take_bytes(lmtp);
	incoming->original_len = len;
	incoming->room = room;
}

void incoming_kept(struct incoming *incoming)
{
	if (incoming->original)
		room_free(incoming->room, give(incoming->original), incoming->original_len);
}

void incoming_read(struct incoming *incoming)
{
	if (incoming->is_read)
		return;
	read_mail(incoming->mime, &incoming->said);
	incoming->is_read = true;
}

void incoming_shed(struct incoming *incoming)
{
	mime_free(give(incoming->mime));
}

struct incoming *incoming_ref(struct incoming *incoming)
{
	incoming->refs++;
	return incoming;
}

void incoming_free(struct incoming *incoming)
{
	if (!incoming || --incoming->refs > 0)
		return;
	read_mail_clear(&incoming->said);
	dsn_free(incoming->report);
	mime_free(incoming->mime);
	free(incoming->message_id);
	free(incoming->client);
	incoming_kept(incoming);
	free(incoming);
}

enum hr_status incoming_vouch(const struct incoming *incoming, const struct config_mail *mail,
			      struct vouched *out, struct hr_err *err)
{
	struct network relays[RELAYS_MAX];
	struct vouch_trust trust = { .authserv_id = mail->authserv_id, .relays = relays };

	for (char **text = mail->relays; *text && trust.relay_count < RELAYS_MAX; text++)
		if (network_parse(slice_str(*text), &relays[trust.relay_count], err) == HR_OK)
			trust.relay_count++;
	return vouch(incoming->mime, &trust, slice_str(incoming->client), out, err);
}

static void add_attachments(const struct read_mail *said, struct buf *out)
{
	for (size_t i = 0; i < said->attachment_count && i < READ_ATTACHMENTS_MAX; i++) {
		const struct read_attachment *one = &said->attachments[i];

		buf_add_str(out, out->len > 0 ? "\n[" : "[");
		buf_add_str(out, one->name);
		buf_format(out, ", %zu kB]", (one->size + 1023) / 1024);
	}
	if (said->attachment_count > READ_ATTACHMENTS_MAX)
		buf_format(out, "\n[+%zu]", said->attachment_count - READ_ATTACHMENTS_MAX);
}

void incoming_payload(const struct incoming *incoming, struct slice thread, bool first,
		      struct buf *out)
{
	const struct read_mail *said = &incoming->said;
	scoped_buf text = BUF_INIT(0);

	if (first && *said->subject)
		buf_format(&text, "%s\n\n", said->subject);
	buf_add_str(&text, said->text);
	while (text.len > 0 && text.data[text.len - 1] == '\n')
		text.len--;
	if (said->is_too_long)
		buf_add_str(&text, "\n[...]");
	add_attachments(said, &text);
	buf_add_str(out, "<body>");
	stanza_escape(out, buf_slice(&text));
	buf_add_str(out, "</body>");
	if (thread.len > 0) {
		buf_add_str(out, "<thread>");
		stanza_escape(out, thread);
		buf_add_str(out, "</thread>");
	}
}

bool incoming_failure(const struct incoming *incoming, struct buf *out)
{
	const struct dsn *report = incoming->report;

	for (size_t i = 0; report && i < report->recipient_count; i++) {
		const struct dsn_recipient *one = &report->recipients[i];

		if (one->action != DSN_FAILED)
			continue;
		buf_format(out,
			   "<error type='%s'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
			   "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>",
			   bounce_type(BOUNCE_RECIPIENT_UNAVAILABLE),
			   bounce_condition(BOUNCE_RECIPIENT_UNAVAILABLE));
		stanza_escape(out, slice_str("the mail could not be delivered: "));
		stanza_escape(out, slice_str(one->status));
		if (*one->diagnostic) {
			buf_add_char(out, ' ');
			stanza_escape(out, slice_str(one->diagnostic));
		}
		buf_add_str(out, "</text></error>");
		return true;
	}
	return false;
}
