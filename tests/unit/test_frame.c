/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/frame.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <zstd.h>

#define QUEUE "0b8f3b1e-8f4e-4f0e-9a3e-1d3f5b6c7d8e"

static const struct slice envelopes[] = { { "first", 5 }, { "", 0 }, { "th\0rd", 5 } };

/* One frame of each kind. */
static struct frame frame_of(enum frame_kind kind)
{
	struct frame frame = { .session = 0x1122334455667788, .kind = kind };

	if (kind == FRAME_HELLO) {
		frame.hello.version = 1;
		frame.hello.site = slice_lit("amsterdam");
		frame.hello.node = slice_lit("gw-1");
		frame.hello.incarnation = slice_lit(QUEUE);
	} else if (kind == FRAME_RESUME) {
		frame.resume.incarnation = slice_lit(QUEUE);
		frame.resume.position = INT64_MAX;
		frame.resume.window = 8192;
	} else if (kind == FRAME_BATCH) {
		frame.batch.first = 12345678901;
		frame.batch.skip = true;
		frame.batch.envelopes = envelopes;
		frame.batch.n = countof(envelopes);
	} else if (kind == FRAME_ACK) {
		frame.ack.committed = 77;
		frame.ack.window = UINT32_MAX;
	} else if (kind == FRAME_DIRECT) {
		frame.direct.envelopes = envelopes;
		frame.direct.n = countof(envelopes);
	} else if (kind == FRAME_DIRECT_ACK) {
		frame.handled = 3;
	} else if (kind == FRAME_PING || kind == FRAME_PONG) {
		frame.token = UINT64_MAX;
	} else {
		frame.reason = slice_lit("shutting down");
	}
	return frame;
}

static void assert_same_envelopes(const struct slice *a, const struct slice *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_true(slice_eq(a[i], b[i]));
}

static void assert_same(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->session, b->session);
	assert_int_equal(a->kind, b->kind);
	switch (a->kind) {
	case FRAME_HELLO:
		assert_int_equal(a->hello.version, b->hello.version);
		assert_true(slice_eq(a->hello.site, b->hello.site));
		assert_true(slice_eq(a->hello.node, b->hello.node));
		assert_true(slice_eq(a->hello.incarnation, b->hello.incarnation));
		return;
	case FRAME_RESUME:
		assert_true(slice_eq(a->resume.incarnation, b->resume.incarnation));
		assert_int_equal(a->resume.position, b->resume.position);
		assert_int_equal(a->resume.window, b->resume.window);
		return;
	case FRAME_BATCH:
		assert_int_equal(a->batch.first, b->batch.first);
		assert_int_equal(a->batch.skip, b->batch.skip);
		assert_int_equal(a->batch.n, b->batch.n);
		assert_same_envelopes(a->batch.envelopes, b->batch.envelopes, a->batch.n);
		return;
	case FRAME_ACK:
		assert_int_equal(a->ack.committed, b->ack.committed);
		assert_int_equal(a->ack.window, b->ack.window);
		return;
	case FRAME_DIRECT:
		assert_int_equal(a->direct.n, b->direct.n);
		assert_same_envelopes(a->direct.envelopes, b->direct.envelopes, a->direct.n);
		return;
	case FRAME_DIRECT_ACK:
		assert_int_equal(a->handled, b->handled);
		return;
	case FRAME_PING:
	case FRAME_PONG:
		assert_int_equal(a->token, b->token);
		return;
	case FRAME_BYE:
		assert_true(slice_eq(a->reason, b->reason));
		return;
	case FRAME_KINDS:
		break;
	}
	fail();
}

static void each_kind_comes_back_as_it_was(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();

	(void)state;
	for (enum frame_kind kind = 0; kind < FRAME_KINDS; kind++) {
		struct frame frame = frame_of(kind), back;
		struct hr_err err;

		if (frame_decode(codec, frame_encode(codec, &frame), &back, &err) != HR_OK)
			fail_msg("%s: %s", frame_kind_name(kind), err.text);
		assert_same(&frame, &back);
	}
}

static void a_frame_cut_short_anywhere_is_refused(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();

	(void)state;
	for (enum frame_kind kind = 0; kind < FRAME_KINDS; kind++) {
		struct frame frame = frame_of(kind), back;
		struct slice bytes = frame_encode(codec, &frame);
		struct hr_err err;

		/* Exact copies, so that a sanitizer sees a read past the end. The session alone,
		 * the first 9 bytes, is protobuf, but a frame of no kind. */
		for (size_t len = 0; len < bytes.len; len++) {
			scoped_str cut = mem_alloc(len);
			memcpy(cut, bytes.data, len);
			assert_int_equal(
				frame_decode(codec, (struct slice){ cut, len }, &back, &err),
				HR_FAIL);
		}
	}
}

/* A frame that is worth compressing. */
static struct frame large_frame(struct slice list[static 512])
{
	struct frame frame = { .session = 1, .kind = FRAME_BATCH };

	for (size_t i = 0; i < 512; i++)
		list[i] = slice_lit("the same words again and again, as people do");
	frame.batch.first = 1;
	frame.batch.envelopes = list;
	frame.batch.n = 512;
	return frame;
}

static void compresses_what_is_large_and_not_what_is_small(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();
	struct frame small = frame_of(FRAME_PING), back;
	struct slice list[512], bytes;
	struct frame large = large_frame(list);
	struct hr_err err;

	(void)state;
	assert_int_equal(frame_encode(codec, &small).data[0], 0x10);
	bytes = frame_encode(codec, &large);
	assert_int_equal(bytes.data[0], 0x11);
	assert_in_range(bytes.len, 1, 2000);
	assert_int_equal(frame_decode(codec, bytes, &back, &err), HR_OK);
	assert_same(&large, &back);

	for (size_t len = 0; len < bytes.len; len++) {
		scoped_str cut = mem_alloc(len);
		memcpy(cut, bytes.data, len);
		assert_int_equal(frame_decode(codec, (struct slice){ cut, len }, &back, &err),
				 HR_FAIL);
	}
}

static void random_bytes_are_sent_as_they_are(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();
	char noise[4096];
	struct slice one = { noise, sizeof noise };
	struct frame frame = { .session = 1, .kind = FRAME_DIRECT };
	uint32_t seed = 1;

	(void)state;
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
	frame.direct.envelopes = &one;
	frame.direct.n = 1;
	assert_int_equal(frame_encode(codec, &frame).data[0], 0x10);
}

static void assert_refused(struct slice bytes, const char *why)
{
	scoped(frame_codec) codec = frame_codec_new();
	struct frame frame;
	struct hr_err err;

	assert_int_equal(frame_decode(codec, bytes, &frame, &err), HR_FAIL);
	if (!strstr(err.text, why))
		fail_msg("\"%s\", not \"%s\"", err.text, why);
}

/* `size` zero bytes in one zstd frame, with or without its size, and something after it. */
static void zip(struct buf *out, size_t size, bool say_size, const char *after)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	char *plain = mem_array(char, size);
	size_t room = ZSTD_compressBound(size);

	buf_add_char(out, 0x11);
	ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, say_size);
	size_t len = ZSTD_compress2(context, buf_reserve(out, room), room, plain, size);
	assert_false(ZSTD_isError(len));
	out->len += len;
	buf_add_str(out, after);
	ZSTD_freeCCtx(context);
	free(plain);
}

static void a_bomb_is_refused_before_it_is_unpacked(void **state)
{
	static const struct {
		size_t size;
		bool say_size;
		const char *after, *why;
	} rows[] = {
		{ FRAME_PLAIN_MAX + 1, true, "", "too many" },
		{ 1 << 30, true, "", "too many" },
		{ 1000, false, "", "does not say its size" },
		{ FRAME_PLAIN_MAX, true, "", "protobuf" },
		{ 1000, true, "more", "something follows" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		scoped_buf bytes = BUF_INIT(0);
		zip(&bytes, rows[i].size, rows[i].say_size, rows[i].after);
		assert_refused(buf_slice(&bytes), rows[i].why);
	}
}

static void bounds_hold_for_each_field(void **state)
{
	/* protobuf by hand: tag, length or value; the Frame around each has only the body. */
	static const struct {
		const char *bytes;
		size_t len;
		const char *why;
	} rows[] = {
#define ROW(text, complaint) { text, sizeof(text) - 1, complaint }
		ROW("", "an empty frame"),
		ROW("\x10", "no kind"),
		ROW("\x20\x12\x00", "header byte 0x20"),
		ROW("\x12\x12\x00", "header byte 0x12"),
		ROW("\x11", "not a zstd frame"),
		ROW("\x10\x12\x00", "the site has 0 bytes"),
		ROW("\x10\x12\x03\x12\x01\x0a", "the site has a control character"),
		ROW("\x10\x12\x06\x12\x01z\x1a\x01\x7f", "the node has a control character"),
		ROW("\x10\x12\x09\x12\x01z\x1a\x01z\x22\x01z", "a UUID of 36"),
		ROW("\x10\x12\x2c\x12\x01z\x1a\x01z\x22\x24"
		    "0B8F3B1E-8f4e-4f0e-9a3e-1d3f5b6c7d8e",
		    "in lower case"),
		ROW("\x10\x1a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
		ROW("\x10\x22\x00", "begin at 0"),
		ROW("\x10\x22\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x1a\x00", "begin at"),
		ROW("\x10\x22\x02\x08\x01", "0 envelopes"),
		ROW("\x10\x2a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
		ROW("\x10\x32\x00", "0 envelopes"),
		ROW("\x10\x3a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
		ROW("\x10\x7a\x00", "no kind"),
		ROW("\x10\x12\x7f", "not protobuf"),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++)
		assert_refused((struct slice){ rows[i].bytes, rows[i].len }, rows[i].why);
}

/* Millions of tiny fields cost protobuf-c far more memory than their bytes. */
static void a_flood_of_fields_is_refused(void **state)
{
	enum { FIELDS = 1000 * 1000 };
	static const char *const field[] = { "\x1a\x00", "\x78\x00" }; /* an envelope; unknown */
	scoped_buf bytes = BUF_INIT(0);

	(void)state;
	for (size_t kind = 0; kind < countof(field); kind++) {
		buf_clear(&bytes);
		buf_add(&bytes, "\x10\x22\x82\x89\x7a\x08\x01", 7); /* a batch of 2,000,002 bytes */
		for (int i = 0; i < FIELDS; i++)
			buf_add(&bytes, field[kind], 2);
		assert_refused(buf_slice(&bytes), "");
	}
}

static void a_reason_is_cut(void **state)
{
	scoped(frame_codec) codec = frame_codec_new();
	char text[300];
	struct frame frame = { .kind = FRAME_BYE, .reason = { text, sizeof text } }, back;
	struct hr_err err;

	(void)state;
	memset(text, 'x', sizeof text);
	assert_int_equal(frame_decode(codec, frame_encode(codec, &frame), &back, &err), HR_OK);
	assert_int_equal(back.reason.len, FRAME_REASON_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_comes_back_as_it_was),
		cmocka_unit_test(a_frame_cut_short_anywhere_is_refused),
		cmocka_unit_test(compresses_what_is_large_and_not_what_is_small),
		cmocka_unit_test(random_bytes_are_sent_as_they_are),
		cmocka_unit_test(a_bomb_is_refused_before_it_is_unpacked),
		cmocka_unit_test(bounds_hold_for_each_field),
		cmocka_unit_test(a_flood_of_fields_is_refused),
		cmocka_unit_test(a_reason_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
