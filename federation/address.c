/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/address.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <idna.h>
#include <stdio.h>
#include <stringprep.h>
#include <strings.h>

enum { LABEL_MAX = 63, PREP_ROUNDS = 3 };

/* What a byte may be part of. Bytes above 0x7f are in none: they go through libidn. */
enum { LOCAL = 1, DOMAIN = 2, RESOURCE = 4, UPPER = 8 };

#define L LOCAL
#define R RESOURCE
#define LR (LOCAL | RESOURCE)
#define LDR (LOCAL | DOMAIN | RESOURCE)
#define UP (LOCAL | DOMAIN | RESOURCE | UPPER)
/* clang-format off */
static const uint8_t byte_class[256] = {
	[' '] = R, ['!'] = LR, ['"'] = R, ['#'] = LR, ['$'] = LR, ['%'] = LR, ['&'] = R, ['\''] = R,
	['('] = LR, [')'] = LR, ['*'] = LR, ['+'] = LR, [','] = LR, ['-'] = LDR, ['.'] = LDR, ['/'] = R,
	['0'] = LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR,
	[':'] = R, [';'] = LR, ['<'] = R, ['='] = LR, ['>'] = R, ['?'] = LR, ['@'] = R,
	['A'] = UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP,
	['N'] = UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP,
	['['] = LR, ['\\'] = LR, [']'] = LR, ['^'] = LR, ['_'] = LR, ['`'] = LR,
	['a'] = LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR,
	['n'] = LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR, LDR,
	['{'] = LR, ['|'] = LR, ['}'] = LR, ['~'] = LR,
};
/* clang-format on */

static const struct part {
	const char *name;
	uint8_t class;
	bool folds; /* upper case becomes lower case */
	const Stringprep_profile *profile;
} parts[] = {
	{ "local part", LOCAL, true, stringprep_xmpp_nodeprep },
	{ "domain", DOMAIN, true, stringprep_nameprep },
	{ "resource", RESOURCE, false, stringprep_xmpp_resourceprep },
};
enum { PART_LOCAL, PART_DOMAIN, PART_RESOURCE };

/* The address as it grows. What libidn makes of a part may be longer than the part. */
struct text {
	char *data; /* owned */
	size_t len;
	bool roomy; /* ADDRESS_MAX + 1 bytes, else just what ASCII needs */
};

static void text_end(struct text *text)
{
	free(text->data);
}

static char *text_room(struct text *text)
{
	if (!text->roomy)
		text->data = mem_resize(text->data, ADDRESS_MAX + 1, 1);
	text->roomy = true;
	return text->data + text->len;
}

static enum hr_status refuse(const struct part *part, const char *why, struct hr_err *err)
{
	return err_set(err, HR_FAIL, "address: the %s %s", part->name, why);
}

/* The bytes of an ASCII part into `out`, folded. */
static bool copy_ascii(struct slice text, const struct part *part, char *out)
{
	uint8_t all = part->class;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t class = byte_class[(unsigned char)text.data[i]];
		all &= class;
		out[i] =
			part->folds && (class & UPPER) ? (char)(text.data[i] | 0x20) : text.data[i];
	}
	return all & part->class;
}

/* One application of the profile, in place, in a buffer of ADDRESS_PART_MAX + 1 bytes. */
static enum hr_status prepare(char *text, const struct part *part, struct hr_err *err)
{
	int code = stringprep(text, ADDRESS_PART_MAX + 1, 0, part->profile);

	if (code == STRINGPREP_TOO_SMALL_BUFFER)
		return refuse(part, "is longer than 1023 bytes", err);
	if (code != STRINGPREP_OK)
		return refuse(part, stringprep_strerror(code), err);
	return *text ? HR_OK : refuse(part, "is empty", err);
}

/* Takes the next label off the front of a domain; false at the end. */
static bool next_label(struct slice *rest, struct slice *label)
{
	if (!rest->data)
		return false;
	const char *dot = memchr(rest->data, '.', rest->len);
	*label = (struct slice){ rest->data, dot ? (size_t)(dot - rest->data) : rest->len };
	*rest = dot ? (struct slice){ dot + 1, rest->len - label->len - 1 } : (struct slice){ 0 };
	return true;
}

static bool is_ace(struct slice label)
{
	return label.len >= 4 && strncasecmp(label.data, IDNA_ACE_PREFIX, 4) == 0;
}

/* Letters, digits and hyphens, the hyphens inside; bytes above 0x7f have been through nameprep. */
static enum hr_status check_label(struct slice label, const struct part *part, struct hr_err *err)
{
	if (label.len == 0)
		return refuse(part, "has an empty label", err);
	if (label.data[0] == '-' || label.data[label.len - 1] == '-')
		return refuse(part, "has a hyphen at the edge of a label", err);
	if (label.len > LABEL_MAX && utf8_ascii(label))
		return refuse(part, "has a label longer than 63 bytes", err);
	for (size_t i = 0; i < label.len; i++) {
		unsigned char c = (unsigned char)label.data[i];
		if (c < 0x80 && !(byte_class[c] & DOMAIN))
			return refuse(part, "has a forbidden character", err);
	}
	return HR_OK;
}

static struct slice without_final_dot(struct slice domain)
{
	if (domain.len > 0 && domain.data[domain.len - 1] == '.')
		domain.len--;
	return domain;
}

/* Nameprep label by label (its rule on mixed directions holds within a label) and A-labels to
 * U-labels, in place. idna_to_unicode also puts dots for the other full stops of RFC 3490 3.1. */
static enum hr_status prepare_domain(char *text, const struct part *part, struct hr_err *err)
{
	char *unicode = NULL;
	int code = idna_to_unicode_8z8z(text, &unicode, IDNA_ALLOW_UNASSIGNED);
	scoped_str owned = unicode;
	scoped_str work = mem_alloc(ADDRESS_PART_MAX + 1);
	scoped_buf domain = BUF_INIT(ADDRESS_PART_MAX);

	if (code != IDNA_SUCCESS)
		return refuse(part, idna_strerror(code), err);
	struct slice rest = without_final_dot(slice_str(owned)), label;
	while (next_label(&rest, &label)) {
		if (label.len == 0 || label.len > ADDRESS_PART_MAX)
			return refuse(part, "has an empty or overlong label", err);
		memcpy(work, label.data, label.len);
		work[label.len] = '\0';
		if (prepare(work, part, err) != HR_OK ||
		    check_label(slice_str(work), part, err) != HR_OK)
			return err->status;
		if (domain.len > 0)
			buf_add_char(&domain, '.');
		buf_add_str(&domain, work);
		if (strchr(work, '.'))
			return refuse(part, "has a full stop inside a label", err);
	}
	if (domain.overflowed)
		return refuse(part, "is longer than 1023 bytes", err);
	memcpy(text, domain.data, domain.len);
	text[domain.len] = '\0';
	return HR_OK;
}

/* Every label of a domain must have an ASCII form, of 63 bytes at most (RFC 6122 2.2). */
static enum hr_status check_ascii_form(const char *text, const struct part *part,
				       struct hr_err *err)
{
	char *ascii = NULL;
	int code =
		idna_to_ascii_8z(text, &ascii, IDNA_ALLOW_UNASSIGNED | IDNA_USE_STD3_ASCII_RULES);

	free(ascii);
	return code == IDNA_SUCCESS ? HR_OK : refuse(part, idna_strerror(code), err);
}

/* Through libidn until the form is stable: a profile may have to be applied twice. */
static enum hr_status put_unicode(struct slice in, const struct part *part, struct text *out,
				  struct hr_err *err)
{
	bool is_domain = part->class == DOMAIN;
	scoped_str text = mem_alloc(ADDRESS_PART_MAX + 1);
	scoped_str before = NULL;

	if (!utf8_text(in))
		return refuse(part, "is not UTF-8 text", err);
	memcpy(text, in.data, in.len);
	for (int i = 0; !before || strcmp(before, text) != 0; i++) {
		if (i == PREP_ROUNDS)
			return refuse(part, "has no stable form", err);
		free(before);
		before = str_dup(text);
		if ((is_domain ? prepare_domain(text, part, err) : prepare(text, part, err)) !=
		    HR_OK)
			return err->status;
	}
	if (is_domain && check_ascii_form(text, part, err) != HR_OK)
		return err->status;
	size_t len = strlen(text);
	memcpy(text_room(out), text, len);
	out->len += len;
	return HR_OK;
}

/* [IPv6 address], in the form of RFC 5952. */
static enum hr_status put_literal(struct slice in, const struct part *part, struct text *out,
				  struct hr_err *err)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr binary;

	if (in.len < 2 || in.len - 2 >= sizeof text || in.data[in.len - 1] != ']')
		return refuse(part, "is not an IPv6 literal", err);
	memcpy(text, in.data + 1, in.len - 2);
	text[in.len - 2] = '\0';
	if (strlen(text) != in.len - 2 || inet_pton(AF_INET6, text, &binary) != 1 ||
	    !inet_ntop(AF_INET6, &binary, text, sizeof text))
		return refuse(part, "is not an IPv6 literal", err);
	out->len += (size_t)sprintf(text_room(out), "[%s]", text);
	return HR_OK;
}

/* HR_NONE: it has A-labels, so it is not as plain as it looks. */
static enum hr_status check_ascii_domain(struct slice domain, const struct part *part,
					 struct hr_err *err)
{
	struct slice rest = domain, label;
	bool ace = false;

	while (next_label(&rest, &label)) {
		if (check_label(label, part, err) != HR_OK)
			return err->status;
		ace |= is_ace(label);
	}
	return ace ? HR_NONE : HR_OK;
}

static enum hr_status put_part(struct slice in, const struct part *part, struct text *out,
			       struct hr_err *err)
{
	if (in.len == 0)
		return refuse(part, "is empty", err);
	if (in.len > ADDRESS_PART_MAX)
		return refuse(part, "is longer than 1023 bytes", err);
	if (copy_ascii(in, part, out->data + out->len)) {
		out->len += in.len;
		return HR_OK;
	}
	if (utf8_ascii(in))
		return refuse(part, "has a forbidden character", err);
	return put_unicode(in, part, out, err);
}

static enum hr_status put_domain(struct slice in, struct text *out, struct hr_err *err)
{
	const struct part *part = &parts[PART_DOMAIN];
	struct slice domain = without_final_dot(in);
	size_t start = out->len;

	if (domain.len > 0 && domain.data[0] == '[')
		return put_literal(domain, part, out, err);
	if (put_part(domain, part, out, err) != HR_OK)
		return err->status;
	struct slice put = { out->data + start, out->len - start };
	enum hr_status status = utf8_ascii(put) ? check_ascii_domain(put, part, err) : HR_OK;
	if (status != HR_NONE)
		return status;
	out->len = start;
	return put_unicode(domain, part, out, err);
}

enum hr_status address_parse(struct slice text, struct address *out, struct hr_err *err)
{
	if (text.len > ADDRESS_MAX)
		return err_set(err, HR_FAIL, "address: longer than %d bytes", ADDRESS_MAX);
	const char *slash = text.len ? memchr(text.data, '/', text.len) : NULL;
	struct slice bare = { text.data, slash ? (size_t)(slash - text.data) : text.len };
	const char *at = bare.len ? memchr(bare.data, '@', bare.len) : NULL;
	__attribute__((cleanup(text_end))) struct text made = { mem_alloc(text.len + 1), 0, false };
	struct address address = { 0 };

	if (at) {
		struct slice local = { bare.data, (size_t)(at - bare.data) };
		if (put_part(local, &parts[PART_LOCAL], &made, err) != HR_OK)
			return err->status;
		made.data[made.len++] = '@';
		address.domain_at = (uint16_t)made.len;
		bare = (struct slice){ at + 1, bare.len - local.len - 1 };
	}
	if (put_domain(bare, &made, err) != HR_OK)
		return err->status;
	address.bare_len = (uint16_t)made.len;
	address.domain_len = (uint16_t)(made.len - address.domain_at);
	if (slash) {
		made.data[made.len++] = '/';
		struct slice resource = { slash + 1, text.len - (size_t)(slash + 1 - text.data) };
		if (put_part(resource, &parts[PART_RESOURCE], &made, err) != HR_OK)
			return err->status;
	}
	made.data[made.len] = '\0';
	address.len = (uint16_t)made.len;
	address.text = give(made.data);
	*out = address;
	return HR_OK;
}

void address_clear(struct address *address)
{
	free(address->text);
	*address = (struct address){ 0 };
}

struct slice address_full(const struct address *address)
{
	return (struct slice){ address->text, address->len };
}

struct slice address_bare(const struct address *address)
{
	return (struct slice){ address->text, address->bare_len };
}

struct slice address_local(const struct address *address)
{
	return (struct slice){ address->text, address->domain_at ? address->domain_at - 1u : 0 };
}

struct slice address_domain(const struct address *address)
{
	return (struct slice){ address->text + address->domain_at, address->domain_len };
}

struct slice address_resource(const struct address *address)
{
	return address_text_resource(address_full(address));
}

struct slice address_text_bare(struct slice prepared)
{
	const char *slash = prepared.len ? memchr(prepared.data, '/', prepared.len) : NULL;

	return slash ? (struct slice){ prepared.data, (size_t)(slash - prepared.data) } : prepared;
}

struct slice address_text_domain(struct slice prepared)
{
	struct slice bare = address_text_bare(prepared);
	const char *at = bare.len ? memchr(bare.data, '@', bare.len) : NULL;

	return at ? (struct slice){ at + 1, bare.len - (size_t)(at + 1 - bare.data) } : bare;
}

struct slice address_text_resource(struct slice prepared)
{
	size_t bare = address_text_bare(prepared).len;

	if (bare == prepared.len)
		return (struct slice){ 0 };
	return (struct slice){ prepared.data + bare + 1, prepared.len - bare - 1 };
}
