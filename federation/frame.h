/* SPDX-License-Identifier: Apache-2.0 */
/* One frame of a site link, from bytes and to bytes (federation/wire.proto, message Frame): a
 * header byte, then protobuf, compressed by zstd when that pays. Decoding takes what a peer sent:
 * every size is bounded before anything is allocated. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

#include <stdint.h>

enum {
	FRAME_PLAIN_MAX = 4 * 1024 * 1024,	       /* unpacked */
	FRAME_BYTES_MAX = FRAME_PLAIN_MAX + 16 * 1024, /* on the wire */
	FRAME_ENVELOPES_MAX = 4096,
	FRAME_NAME_MAX = 255, /* site, node, incarnation */
	FRAME_REASON_MAX = 200
};

enum frame_kind {
	FRAME_HELLO,
	FRAME_RESUME,
	FRAME_BATCH,
	FRAME_ACK,
	FRAME_DIRECT,
	FRAME_DIRECT_ACK,
	FRAME_PING,
	FRAME_PONG,
	FRAME_BYE,
	FRAME_KINDS
};

struct frame {
	uint64_t session; /* the sender's */
	enum frame_kind kind;
	union {
		struct {
			uint32_t version;
			struct slice site, node, incarnation;
		} hello;
		struct {
			struct slice incarnation;
			int64_t position;
			uint32_t window;
		} resume;
		struct {
			int64_t first;
			bool skip;
			const struct slice *envelopes;
			size_t n;
		} batch;
		struct {
			int64_t committed;
			uint32_t window;
		} ack;
		struct {
			const struct slice *envelopes;
			size_t n;
		} direct;
		int64_t handled;     /* FRAME_DIRECT_ACK */
		uint64_t token;	     /* FRAME_PING, FRAME_PONG */
		struct slice reason; /* FRAME_BYE */
	};
};

struct frame_codec; /* contexts and memory that are used again for each frame */
struct frame_codec *frame_codec_new(void);
void frame_codec_free(struct frame_codec *codec); /* NULL is fine */
DEFINE_SCOPED(frame_codec)

/* The bytes belong to the codec until the next frame_encode. Never fails: the caller keeps the
 * frame within the bounds above. */
struct slice frame_encode(struct frame_codec *codec, const struct frame *frame);
/* What *out points to belongs to the codec until the next frame_decode. HR_FAIL: not a frame, or a
 * bound is passed; err says what. Sequence numbers are not negative, an end of a batch is no
 * overflow; nothing else is checked. */
HR_MUST_USE enum hr_status frame_decode(struct frame_codec *codec, struct slice bytes,
					struct frame *out, struct hr_err *err);
const char *frame_kind_name(enum frame_kind kind); /* static: "hello", ... */
