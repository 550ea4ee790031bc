/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/kind.h"

#include <strings.h>

enum match { ANY, IS, IS_NOT };

/* The first row that fits decides. The value is compared without comments and parameters. */
static const struct {
	const char *field;
	enum match match;
	const char *value;
	enum kind kind;
	const char *why;
} rows[] = {
	{ "Auto-Submitted", IS, "auto-replied", KIND_VACATION, "Auto-Submitted: auto-replied" },
	{ "Auto-Submitted", IS_NOT, "no", KIND_AUTOMATIC, "Auto-Submitted" },
	{ "X-Autoreply", IS_NOT, "no", KIND_VACATION, "X-Autoreply" },
	{ "X-Autorespond", ANY, NULL, KIND_VACATION, "X-Autorespond" },
	{ "X-Auto-Reply-From", ANY, NULL, KIND_VACATION, "X-Auto-Reply-From" },
	{ "X-MS-Exchange-Inbox-Rules-Loop", ANY, NULL, KIND_VACATION,
	  "X-MS-Exchange-Inbox-Rules-Loop" },
	{ "Precedence", IS, "auto_reply", KIND_VACATION, "Precedence: auto_reply" },
	{ "List-Id", ANY, NULL, KIND_LIST, "List-Id" },
	{ "List-Post", ANY, NULL, KIND_LIST, "List-Post" },
	{ "List-Unsubscribe", ANY, NULL, KIND_LIST, "List-Unsubscribe" },
	{ "List-Help", ANY, NULL, KIND_LIST, "List-Help" },
	{ "Mailing-List", ANY, NULL, KIND_LIST, "Mailing-List" },
	{ "X-Mailing-List", ANY, NULL, KIND_LIST, "X-Mailing-List" },
	{ "X-Mailman-Version", ANY, NULL, KIND_LIST, "X-Mailman-Version" },
	{ "Precedence", IS, "list", KIND_LIST, "Precedence: list" },
	{ "Precedence", IS, "bulk", KIND_BULK, "Precedence: bulk" },
	{ "Precedence", IS, "junk", KIND_BULK, "Precedence: junk" },
	{ "X-Failed-Recipients", ANY, NULL, KIND_BOUNCE, "X-Failed-Recipients" },
};

/* Reports of RFC 6522, by their type. */
static const struct {
	const char *type;
	enum kind kind;
} reports[] = {
	{ "delivery-status", KIND_REPORT },
	{ "disposition-notification", KIND_DISPOSITION },
};

/* Local parts of senders that are no person (RFC 3834 section 2, RFC 2142, RFC 5321 4.5.5). */
static const struct {
	const char *begin, *end;
	enum kind kind;
} senders[] = {
	{ "mailer-daemon", NULL, KIND_BOUNCE }, { "owner-", NULL, KIND_LIST },
	{ NULL, "-owner", KIND_LIST },		{ NULL, "-request", KIND_LIST },
	{ NULL, "-bounce", KIND_LIST },		{ NULL, "-bounces", KIND_LIST },
};

/* Up to the first thing that is no value: a comment, a parameter. */
static struct slice plain_value(struct slice value)
{
	size_t len = 0;

	while (len < value.len && !memchr(" \t\r\n;(", value.data[len], 6))
		len++;
	return (struct slice){ value.data, len };
}

static bool is_word(struct slice text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

static bool fits(struct slice value, enum match match, const char *wanted)
{
	return match == ANY || is_word(plain_value(value), wanted) == (match == IS);
}

static enum kind by_fields(const struct mime_part *mail, const char **why)
{
	for (size_t i = 0; i < countof(rows); i++)
		for (const struct mime_field *field = NULL;
		     (field = mime_field(mail, rows[i].field, field));)
			if (fits(field->value, rows[i].match, rows[i].value)) {
				*why = rows[i].why;
				return rows[i].kind;
			}
	return KIND_PERSONAL;
}

static enum kind by_type(const struct mime_part *mail, const char **why)
{
	if (strcmp(mail->type, "multipart/report") != 0)
		return KIND_PERSONAL;
	scoped_str type = mime_type_parameter(mail, "report-type");
	*why = "multipart/report";
	for (size_t i = 0; i < countof(reports); i++)
		if (type && strcasecmp(type, reports[i].type) == 0)
			return reports[i].kind;
	return KIND_AUTOMATIC;
}

static bool begins(struct slice text, const char *with)
{
	size_t len = strlen(with);

	return text.len >= len && strncasecmp(text.data, with, len) == 0;
}

static bool ends(struct slice text, const char *with)
{
	size_t len = strlen(with);

	return text.len >= len && strncasecmp(text.data + text.len - len, with, len) == 0;
}

static enum kind by_sender(struct slice sender, const char **why)
{
	const char *at = sender.len ? memrchr(sender.data, '@', sender.len) : NULL;
	struct slice local = { sender.data, at ? (size_t)(at - sender.data) : sender.len };

	*why = sender.len ? "envelope sender" : "null envelope sender";
	if (sender.len == 0)
		return KIND_BOUNCE;
	for (size_t i = 0; i < countof(senders); i++)
		if (senders[i].begin ? begins(local, senders[i].begin)
				     : ends(local, senders[i].end))
			return senders[i].kind;
	*why = NULL;
	return KIND_PERSONAL;
}

/* Counts the sites in `list`; false: `site` is one of them. */
static bool count_sites(struct slice list, const char *site, size_t *count)
{
	while (list.len > 0) {
		size_t len = 0;
		while (len < list.len && !memchr(" \t\r\n,", list.data[len], 5))
			len++;
		struct slice name = { list.data, len };
		if (slice_is(name, site))
			return false;
		*count += len > 0;
		len += len < list.len;
		list = (struct slice){ list.data + len, list.len - len };
	}
	return true;
}

static enum kind by_way(const struct mime_part *mail, const char *site, const char **why)
{
	const struct mime_field *field = NULL;
	size_t sites = 0, received = 0;

	*why = KIND_TRACE_FIELD ": it has been here";
	while ((field = mime_field(mail, KIND_TRACE_FIELD, field)))
		if (!count_sites(field->value, site, &sites))
			return KIND_LOOP;
	while ((field = mime_field(mail, "Received", field)))
		received++;
	*why = sites > KIND_TRACE_MAX ? KIND_TRACE_FIELD ": too many sites" : "too many Received";
	if (sites > KIND_TRACE_MAX || received > KIND_RECEIVED_MAX)
		return KIND_LOOP;
	*why = NULL;
	return KIND_PERSONAL;
}

enum kind kind_of(const struct mime *mime, struct slice sender, const char *site, const char **why)
{
	const struct mime_part *mail = mime_part(mime, 0);
	enum kind kind = by_way(mail, site, why);

	if (kind == KIND_PERSONAL)
		kind = by_type(mail, why);
	if (kind == KIND_PERSONAL)
		kind = by_fields(mail, why);
	if (kind == KIND_PERSONAL)
		kind = by_sender(sender, why);
	return kind;
}

const char *kind_name(enum kind kind)
{
	static const char *const names[KINDS] = {
		[KIND_PERSONAL] = "personal", [KIND_LOOP] = "loop",
		[KIND_REPORT] = "report",     [KIND_DISPOSITION] = "disposition",
		[KIND_VACATION] = "vacation", [KIND_AUTOMATIC] = "automatic",
		[KIND_LIST] = "list",	      [KIND_BULK] = "bulk",
		[KIND_BOUNCE] = "bounce",
	};

	return names[kind];
}
