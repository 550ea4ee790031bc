/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/reply_address.h"

#include <endian.h>
#include <gnutls/crypto.h>

/* The 30 bytes that base32 makes 48 characters of. */
enum {
	FORMAT = 1,
	THREAD_AT = 1,
	EXPIRES_AT = 9,
	MAC_AT = 14,
	MAC_LEN = 16,
	PACKED_LEN = MAC_AT + MAC_LEN,
	PREFIX_LEN = 5,
	GROUP_LEN = 5, /* bytes that make... */
	GROUP_CHARS = 8
};
static const char prefix[] = "reply";
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
static const usec second = 1000000, last_second = 0xffffffffff;

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void put_group(struct buf *out, const unsigned char *from)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < GROUP_LEN; i++)
		bits = bits << 8 | from[i];
	for (int shift = 35; shift >= 0; shift -= 5)
		buf_add_char(out, alphabet[bits >> shift & 31]);
}

static bool take_group(const char *from, unsigned char *to)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < GROUP_CHARS; i++) {
		char c = lower(from[i]);
		const char *found = c ? strchr(alphabet, c) : NULL;
		if (!found)
			return false;
		bits = bits << 5 | (uint64_t)(found - alphabet);
	}
	for (size_t i = GROUP_LEN; i-- > 0; bits >>= 8)
		to[i] = (unsigned char)bits;
	return true;
}

static void put_number(unsigned char *to, uint64_t value, size_t len)
{
	uint64_t network = htobe64(value);

	memcpy(to, (const char *)&network + sizeof network - len, len);
}

static uint64_t take_number(const unsigned char *from, size_t len)
{
	uint64_t network = 0;

	memcpy((char *)&network + sizeof network - len, from, len);
	return be64toh(network);
}

/* What is signed: a name for this use of the key, the domain in lower case, and the bytes. */
static enum hr_status sign(const unsigned char *packed, struct slice domain, struct slice key,
			   unsigned char *mac, struct hr_err *err)
{
	scoped_buf text = BUF_INIT(0);
	unsigned char whole[32];

	if (key.len < REPLY_KEY_MIN)
		return err_set(err, HR_FAIL, "the key of reply addresses is shorter than %d bytes",
			       REPLY_KEY_MIN);
	buf_add_str(&text, "hedgerow reply address\n");
	for (size_t i = 0; i < domain.len; i++)
		buf_add_char(&text, lower(domain.data[i]));
	buf_add_char(&text, '\n');
	buf_add(&text, packed, MAC_AT);
	int status =
		gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.data, key.len, text.data, text.len, whole);
	if (status < 0)
		return err_set(err, HR_FAIL, "sign a reply address: %s", gnutls_strerror(status));
	memcpy(mac, whole, MAC_LEN);
	return HR_OK;
}

enum hr_status reply_address_write(const struct reply_address *reply, const struct reply_keys *keys,
				   const char *domain, struct buf *out, struct hr_err *err)
{
	unsigned char packed[PACKED_LEN] = { FORMAT };
	usec expires = reply->expires / second;

	if (reply->thread < 0 || expires < 0 || expires > last_second)
		return err_set(err, HR_FAIL, "no such thread or time for a reply address");
	put_number(packed + THREAD_AT, (uint64_t)reply->thread, EXPIRES_AT - THREAD_AT);
	put_number(packed + EXPIRES_AT, (uint64_t)expires, MAC_AT - EXPIRES_AT);
	if (sign(packed, slice_str(domain), keys->current, packed + MAC_AT, err) != HR_OK)
		return err->status;
	buf_add_str(out, prefix);
	for (size_t i = 0; i < PACKED_LEN; i += GROUP_LEN)
		put_group(out, packed + i);
	buf_add_char(out, '@');
	buf_add_str(out, domain);
	return HR_OK;
}

static bool unpack(struct slice local, unsigned char *packed)
{
	if (local.len != REPLY_LOCAL_LEN)
		return false;
	for (size_t i = 0; i < PREFIX_LEN; i++)
		if (lower(local.data[i]) != prefix[i])
			return false;
	for (size_t i = 0; i < PACKED_LEN / GROUP_LEN; i++)
		if (!take_group(local.data + PREFIX_LEN + i * GROUP_CHARS, packed + i * GROUP_LEN))
			return false;
	return packed[0] == FORMAT;
}

bool reply_address_is(struct slice local)
{
	unsigned char packed[PACKED_LEN];

	return unpack(local, packed);
}

/* HR_NONE: not by this key. */
static enum hr_status verify(const unsigned char *packed, struct slice domain, struct slice key,
			     struct hr_err *err)
{
	unsigned char mac[MAC_LEN];

	if (sign(packed, domain, key, mac, err) != HR_OK)
		return err->status;
	return gnutls_memcmp(mac, packed + MAC_AT, MAC_LEN) == 0 ? HR_OK : HR_NONE;
}

enum hr_status reply_address_read(struct slice local, struct slice domain,
				  const struct reply_keys *keys, usec now,
				  struct reply_address *out, struct hr_err *err)
{
	unsigned char packed[PACKED_LEN];

	if (!unpack(local, packed))
		return err_set(err, HR_FAIL, "not a reply address");
	enum hr_status status = verify(packed, domain, keys->current, err);
	if (status == HR_NONE && keys->previous.len > 0)
		status = verify(packed, domain, keys->previous, err);
	if (status == HR_NONE)
		return err_set(err, HR_FAIL,
			       "a reply address that was not made here for this domain");
	if (status != HR_OK)
		return status;
	struct reply_address reply = {
		.thread = (int64_t)take_number(packed + THREAD_AT, EXPIRES_AT - THREAD_AT),
		.expires = (usec)take_number(packed + EXPIRES_AT, MAC_AT - EXPIRES_AT) * second,
	};
	if (reply.expires <= now)
		return err_set(err, HR_FAIL, "a reply address that has expired");
	*out = reply;
	return HR_OK;
}
