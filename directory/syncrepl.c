/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/syncrepl.h"

#include "base/mem.h"
#include "directory/anchor.h"

/* BER tags; SEQUENCE, SET and those of a CHOICE are constructed. */
enum tag {
	BOOLEAN = 0x01,
	OCTETS = 0x04,
	ENUMERATED = 0x0a,
	SEQUENCE = 0x30,
	SET = 0x31,
	NEW_COOKIE = 0x80,
	REFRESH_DELETE = 0xa1,
	REFRESH_PRESENT = 0xa2,
	ID_SET = 0xa3,
};

/* Read
 * --------------------------------------------------------------------------------------------- */

/* Takes an element off the front of *from: its tag, 0 for none, and its content. Lengths of more
 * than four bytes, and what does not fit, are none. */
static int take(struct slice *from, struct slice *content)
{
	const unsigned char *at = (const unsigned char *)from->data;
	size_t head = 2, len;

	if (from->len < 2)
		return 0;
	len = at[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;
		if (bytes == 0 || bytes > 4 || from->len < 2 + bytes)
			return 0;
		len = 0;
		for (size_t i = 0; i < bytes; i++)
			len = len << 8 | at[2 + i];
		head += bytes;
	}
	if (from->len - head < len)
		return 0;
	*content = (struct slice){ from->data + head, len };
	*from = (struct slice){ from->data + head + len, from->len - head - len };
	return at[0];
}

/* The same when it has that tag; else nothing is taken. */
static bool take_tag(struct slice *from, enum tag tag, struct slice *content)
{
	return from->len > 0 && (unsigned char)from->data[0] == tag && take(from, content) != 0;
}

static void take_cookie(struct slice *from, struct slice *out)
{
	struct slice cookie;

	if (take_tag(from, OCTETS, &cookie) && cookie.len > 0)
		*out = cookie;
}

static bool take_flag(struct slice *from, bool otherwise)
{
	struct slice content;

	if (!take_tag(from, BOOLEAN, &content) || content.len != 1)
		return otherwise;
	return content.data[0] != 0;
}

static enum hr_status wrong(const char *what, struct hr_err *err)
{
	return err_set(err, HR_FAIL, "the directory sends %s that is not of RFC 4533", what);
}

enum hr_status syncrepl_parse_state(struct slice value, struct syncrepl_state *out,
				    struct hr_err *err)
{
	struct syncrepl_state state = { 0 };
	struct slice content, what;

	if (!take_tag(&value, SEQUENCE, &content) || !take_tag(&content, ENUMERATED, &what) ||
	    what.len != 1 || (unsigned char)what.data[0] > SYNCREPL_DELETE ||
	    !take_tag(&content, OCTETS, &state.uuid) || state.uuid.len != ANCHOR_RAW)
		return wrong("the state of an entry", err);
	state.what = (enum syncrepl_what)what.data[0];
	take_cookie(&content, &state.cookie);
	*out = state;
	return HR_OK;
}

enum hr_status syncrepl_parse_info(struct slice value, struct syncrepl_info *out,
				   struct hr_err *err)
{
	struct syncrepl_info info = { 0 };
	struct slice content;
	int tag = take(&value, &content);

	switch (tag) {
	case NEW_COOKIE:
		info.topic = SYNCREPL_NEW_COOKIE;
		if (content.len > 0)
			info.cookie = content;
		break;
	case REFRESH_DELETE:
	case REFRESH_PRESENT:
		info.topic =
			tag == REFRESH_DELETE ? SYNCREPL_REFRESH_DELETE : SYNCREPL_REFRESH_PRESENT;
		take_cookie(&content, &info.cookie);
		info.refresh_done = take_flag(&content, true);
		break;
	case ID_SET:
		info.topic = SYNCREPL_ID_SET;
		take_cookie(&content, &info.cookie);
		info.are_gone = take_flag(&content, false);
		if (!take_tag(&content, SET, &info.uuids))
			return wrong("a set of entries", err);
		break;
	default:
		return wrong("information", err);
	}
	*out = info;
	return HR_OK;
}

enum hr_status syncrepl_next_uuid(struct slice *uuids, struct slice *uuid, struct hr_err *err)
{
	struct slice found;

	if (uuids->len == 0)
		return HR_NONE;
	if (!take_tag(uuids, OCTETS, &found) || found.len != ANCHOR_RAW)
		return wrong("a set of entries", err);
	*uuid = found;
	return HR_OK;
}

/* Write
 * -------------------------------------------------------------------------------------------- */

/* The head of an element of less than 64 KiB. */
static void add_head(struct buf *out, enum tag tag, size_t len)
{
	buf_add_char(out, (char)tag);
	if (len >= 0x80) {
		buf_add_char(out, (char)0x82);
		buf_add_char(out, (char)(len >> 8));
	}
	buf_add_char(out, (char)len);
}

void syncrepl_request(enum syncrepl_mode mode, struct slice cookie, struct buf *out)
{
	scoped_buf content = BUF_INIT(0);

	add_head(&content, ENUMERATED, 1);
	buf_add_char(&content, (char)mode);
	if (cookie.data) {
		add_head(&content, OCTETS, cookie.len);
		buf_add_slice(&content, cookie);
	}
	add_head(out, SEQUENCE, content.len);
	buf_add_slice(out, buf_slice(&content));
}

/* Cookies
 * ------------------------------------------------------------------------------------------ */

/* The change numbers of a cookie, "csn=NUMBER;NUMBER"; data NULL: it has none. */
static struct slice numbers_of(struct slice cookie)
{
	static const char name[] = "csn=";
	const char *at =
		cookie.len > 0 ? memmem(cookie.data, cookie.len, name, sizeof name - 1) : NULL;

	if (!at)
		return (struct slice){ 0 };
	at += sizeof name - 1;
	size_t left = cookie.len - (size_t)(at - cookie.data);
	const char *end = memchr(at, ',', left);
	return (struct slice){ at, end ? (size_t)(end - at) : left };
}

static bool next_number(struct slice *numbers, struct slice *out)
{
	if (numbers->len == 0)
		return false;
	const char *end = memchr(numbers->data, ';', numbers->len);
	size_t len = end ? (size_t)(end - numbers->data) : numbers->len;
	*out = (struct slice){ numbers->data, len };
	*numbers = (struct slice){ numbers->data + len + (end != NULL),
				   numbers->len - len - (end != NULL) };
	return true;
}

/* The writer within a change number, TIME#COUNT#WRITER#MODIFICATION. */
static struct slice writer_of(struct slice number)
{
	for (int i = 0; i < 2; i++) {
		const char *hash = memchr(number.data, '#', number.len);
		if (!hash)
			return (struct slice){ 0 };
		number = (struct slice){ hash + 1, number.len - (size_t)(hash + 1 - number.data) };
	}
	const char *end = memchr(number.data, '#', number.len);
	return (struct slice){ number.data, end ? (size_t)(end - number.data) : number.len };
}

static bool has_writer(struct slice numbers, struct slice writer)
{
	struct slice number;

	while (next_number(&numbers, &number))
		if (slice_eq(writer_of(number), writer))
			return true;
	return false;
}

void syncrepl_merge(struct slice older, struct slice newer, struct buf *out)
{
	struct slice held = numbers_of(older), fresh = numbers_of(newer), number;

	if (!held.data || !fresh.data) {
		buf_add_slice(out, newer);
		return;
	}
	size_t before = (size_t)(fresh.data + fresh.len - newer.data);
	buf_add(out, newer.data, before);
	while (next_number(&held, &number)) {
		if (number.len == 0 || has_writer(fresh, writer_of(number)))
			continue;
		buf_add_char(out, ';');
		buf_add_slice(out, number);
	}
	buf_add(out, newer.data + before, newer.len - before);
}
