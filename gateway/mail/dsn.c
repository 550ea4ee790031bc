/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/dsn.h"

#include "base/utf8.h"
#include "gateway/mail/charset.h"

#include <strings.h>

enum {
	STATUS_PART_MAX = 512 * 1024,
	ORIGINAL_MAX = MIME_HEADER_MAX,
	ADDRESS_MAX_LEN = 320,
	DIAGNOSTIC_MAX = 500
};

static const char *const actions[DSN_ACTIONS] = {
	[DSN_FAILED] = "failed",   [DSN_DELAYED] = "delayed",	[DSN_DELIVERED] = "delivered",
	[DSN_RELAYED] = "relayed", [DSN_EXPANDED] = "expanded",
};
static const char *const status_types[] = {
	"message/delivery-status",
	"message/global-delivery-status",
	NULL,
};
static const char *const original_types[] = {
	"message/rfc822",	  "message/global",	    "text/rfc822-headers",
	"message/rfc822-headers", "message/global-headers", NULL,
};

static const struct mime_part *find_part(const struct mime *mime, const char *const *types)
{
	for (size_t i = 1; i < mime_count(mime); i++)
		for (const char *const *type = types; *type; type++)
			if (strcmp(mime_part(mime, i)->type, *type) == 0)
				return mime_part(mime, i);
	return NULL;
}

/* "rfc822; ada@example.com" without what stands before the semicolon. */
static const char *after_type(const char *value)
{
	const char *semicolon = strchr(value, ';');
	const char *at = semicolon ? semicolon + 1 : value;

	return at + strspn(at, " \t");
}

/* The character that \x{HEX} at `text` stands for (RFC 6533 section 3); its length, 0: none. */
static size_t take_escape(const char *text, uint32_t *code)
{
	char *end;

	if (strncmp(text, "\\x{", 3) != 0 || !strchr("0123456789abcdefABCDEF", text[3]) || !text[3])
		return 0;
	unsigned long value = strtoul(text + 3, &end, 16);
	if (*end != '}' || end - text > 9)
		return 0;
	*code = (uint32_t)value;
	return (size_t)(end - text) + 1;
}

static char *address_of(const char *value)
{
	scoped_buf made = BUF_INIT(0);
	const char *at = after_type(value);

	while (*at) {
		uint32_t code;
		char text[4];
		size_t escape = take_escape(at, &code);
		size_t len = escape ? utf8_put(code, text) : 0;
		if (len > 0)
			buf_add(&made, text, len);
		else
			buf_add_char(&made, *at);
		at += len > 0 ? escape : 1;
	}
	return charset_line(buf_slice(&made), ADDRESS_MAX_LEN);
}

static bool is_status(const char *text)
{
	static const char digits[] = "0123456789";
	size_t class = strspn(text, digits), subject, detail;

	if (class != 1 || text[1] != '.')
		return false;
	subject = strspn(text + 2, digits);
	if (subject < 1 || subject > 3 || text[2 + subject] != '.')
		return false;
	detail = strspn(text + 3 + subject, digits);
	return detail >= 1 && detail <= 3 && text[3 + subject + detail] == '\0';
}

/* The fields of one recipient; false: they are not all there. */
static bool read_recipient(const struct mime_part *group, struct dsn_recipient *out)
{
	scoped_str address = mime_text(group, "Original-Recipient");
	scoped_str action = mime_text(group, "Action");
	scoped_str status = mime_text(group, "Status");
	scoped_str diagnostic = mime_text(group, "Diagnostic-Code");
	size_t found = 0;

	if (!address)
		address = mime_text(group, "Final-Recipient");
	while (found < DSN_ACTIONS && action && strcasecmp(actions[found], action) != 0)
		found++;
	if (!address || !action || found == DSN_ACTIONS)
		return false;
	if (status)
		status[strcspn(status, " (")] = '\0';
	*out = (struct dsn_recipient){
		.address = address_of(address),
		.action = (enum dsn_action)found,
		.status = str_dup(status && is_status(status) ? status : ""),
		.diagnostic = charset_line(slice_str(diagnostic ? after_type(diagnostic) : ""),
					   DIAGNOSTIC_MAX),
	};
	return true;
}

static struct slice without_empty_lines(struct slice text)
{
	while (text.len > 0 && (text.data[0] == '\r' || text.data[0] == '\n'))
		text = (struct slice){ text.data + 1, text.len - 1 };
	return text;
}

/* Each group of fields is a header, and what follows it the next one. */
static enum hr_status read_groups(struct slice text, struct dsn *dsn, struct hr_err *err)
{
	for (size_t n = 0; n <= DSN_RECIPIENTS_MAX; n++) {
		scoped(mime) group = NULL;
		struct dsn_recipient recipient;
		text = without_empty_lines(text);
		if (text.len == 0 || mime_parse(text, &group, err) != HR_OK)
			break;
		if (n > 0 && read_recipient(mime_part(group, 0), &recipient))
			dsn->recipients[dsn->recipient_count++] = recipient;
		text = mime_part(group, 0)->body;
	}
	if (dsn->recipient_count == 0)
		return err_set(err, HR_FAIL, "the delivery report names no recipient");
	return HR_OK;
}

static char *original_id(const struct mime *mime)
{
	const struct mime_part *part = find_part(mime, original_types);
	scoped_buf text = BUF_INIT(ORIGINAL_MAX);
	scoped(mime) original = NULL;
	struct hr_err err;

	if (!part)
		return NULL;
	mime_decode(part, &text);
	if (mime_parse(buf_slice(&text), &original, &err) != HR_OK)
		return NULL;
	char **ids = mime_ids(mime_part(original, 0), "Message-ID", 1);
	char *id = str_dup(ids[0]);
	mime_ids_free(ids);
	return id;
}

enum hr_status dsn_read(const struct mime *mime, struct dsn **out, struct hr_err *err)
{
	const struct mime_part *part = find_part(mime, status_types);
	scoped(dsn) dsn = mem_new(struct dsn);
	scoped_buf text = BUF_INIT(STATUS_PART_MAX);

	if (!part || strcmp(mime_part(mime, 0)->type, "multipart/report") != 0)
		return HR_NONE;
	mime_decode(part, &text);
	dsn->recipients = mem_array(struct dsn_recipient, DSN_RECIPIENTS_MAX);
	if (read_groups(buf_slice(&text), dsn, err) != HR_OK)
		return err->status;
	dsn->message_id = original_id(mime);
	*out = give(dsn);
	return HR_OK;
}

void dsn_free(struct dsn *dsn)
{
	if (!dsn)
		return;
	for (size_t i = 0; i < dsn->recipient_count; i++) {
		free(dsn->recipients[i].address);
		free(dsn->recipients[i].status);
		free(dsn->recipients[i].diagnostic);
	}
	free(dsn->recipients);
	free(dsn->message_id);
	free(dsn);
}
