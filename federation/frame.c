/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/frame.h"

#include "federation/wire.pb-c.h"

#include <stdalign.h>
#include <zstd.h>

typedef Hedgerow__Wire__Frame wire_frame;

enum {
	LAYOUT = 0x10, /* high nibble of the header byte */
	FLAG_ZSTD = 0x01,
	COMPRESS_FROM = 200, /* bytes: below this zstd only adds */
	COMPRESS_LEVEL = 1,
	/* What protobuf-c may allocate for one frame: the bytes themselves, an array entry for each
	 * envelope, and its notes on each field that it has scanned. */
	ARENA_SIZE = 2 * FRAME_PLAIN_MAX
};

/* Memory that lives until the next frame. The pages are touched only as far as they are used. */
struct arena {
	char *data; /* owned; ARENA_SIZE bytes */
	size_t used;
};

struct frame_codec {
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	char *plain, *packed; /* owned: what is being encoded, header byte first */
	size_t plain_size, packed_size;
	ProtobufCBinaryData *blobs; /* owned; FRAME_ENVELOPES_MAX */
	struct arena arena;
	char *unpacked;	      /* owned; FRAME_PLAIN_MAX bytes */
	struct slice *slices; /* owned; FRAME_ENVELOPES_MAX */
};

static const char *const kind_name[FRAME_KINDS] = {
	[FRAME_HELLO] = "hello", [FRAME_RESUME] = "resume", [FRAME_BATCH] = "batch",
	[FRAME_ACK] = "ack",	 [FRAME_DIRECT] = "direct", [FRAME_DIRECT_ACK] = "direct-ack",
	[FRAME_PING] = "ping",	 [FRAME_PONG] = "pong",	    [FRAME_BYE] = "bye",
};

const char *frame_kind_name(enum frame_kind kind)
{
	return kind_name[kind];
}

static void *arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	size_t step = alignof(max_align_t);

	if (size > ARENA_SIZE - arena->used)
		return NULL;
	void *p = arena->data + arena->used;
	size_t rounded = (size + step - 1) / step * step;
	arena->used = rounded > ARENA_SIZE - arena->used ? ARENA_SIZE : arena->used + rounded;
	return p;
}

static void arena_keep(void *data, void *p)
{
	(void)data;
	(void)p;
}

struct frame_codec *frame_codec_new(void)
{
	struct frame_codec *codec = mem_new(struct frame_codec);

	codec->compressor = ZSTD_createCCtx();
	codec->decompressor = ZSTD_createDCtx();
	if (!codec->compressor || !codec->decompressor)
		abort();
	codec->blobs = mem_array(ProtobufCBinaryData, FRAME_ENVELOPES_MAX);
	codec->slices = mem_array(struct slice, FRAME_ENVELOPES_MAX);
	codec->arena.data = mem_array(char, ARENA_SIZE);
	codec->unpacked = mem_array(char, FRAME_PLAIN_MAX);
	return codec;
}

void frame_codec_free(struct frame_codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeCCtx(codec->compressor);
	ZSTD_freeDCtx(codec->decompressor);
	free(codec->plain);
	free(codec->packed);
	free(codec->blobs);
	free(codec->slices);
	free(codec->arena.data);
	free(codec->unpacked);
	free(codec);
}

static ProtobufCBinaryData blob(struct slice slice)
{
	return (ProtobufCBinaryData){ slice.len, (uint8_t *)slice.data };
}

static ProtobufCBinaryData *blobs(struct frame_codec *codec, const struct slice *slices, size_t n)
{
	if (n > FRAME_ENVELOPES_MAX)
		abort();
	for (size_t i = 0; i < n; i++)
		codec->blobs[i] = blob(slices[i]);
	return codec->blobs;
}

/* Grows to at least `size`, in steps, so that this ends after some frames. */
static void grow(char **data, size_t *have, size_t size)
{
	if (size <= *have)
		return;
	*have = size + size / 2;
	*data = mem_resize(*data, *have, 1);
}

static size_t pack(struct frame_codec *codec, const wire_frame *wire)
{
	size_t size = hedgerow__wire__frame__get_packed_size(wire);

	if (size > FRAME_PLAIN_MAX)
		abort();
	grow(&codec->plain, &codec->plain_size, 1 + size);
	codec->plain[0] = LAYOUT;
	hedgerow__wire__frame__pack(wire, (uint8_t *)codec->plain + 1);
	return 1 + size;
}

static struct slice compress(struct frame_codec *codec, size_t len)
{
	struct slice plain = { codec->plain, len };

	if (len < COMPRESS_FROM)
		return plain;
	size_t room = ZSTD_compressBound(len - 1);
	grow(&codec->packed, &codec->packed_size, 1 + room);
	size_t size = ZSTD_compressCCtx(codec->compressor, codec->packed + 1, room,
					codec->plain + 1, len - 1, COMPRESS_LEVEL);
	if (ZSTD_isError(size) || size >= len - len / 16)
		return plain;
	codec->packed[0] = LAYOUT | FLAG_ZSTD;
	return (struct slice){ codec->packed, 1 + size };
}

struct slice frame_encode(struct frame_codec *codec, const struct frame *frame)
{
	wire_frame wire = HEDGEROW__WIRE__FRAME__INIT;
	Hedgerow__Wire__Hello hello = HEDGEROW__WIRE__HELLO__INIT;
	Hedgerow__Wire__Resume resume = HEDGEROW__WIRE__RESUME__INIT;
	Hedgerow__Wire__Batch batch = HEDGEROW__WIRE__BATCH__INIT;
	Hedgerow__Wire__Ack ack = HEDGEROW__WIRE__ACK__INIT;
	Hedgerow__Wire__Direct direct = HEDGEROW__WIRE__DIRECT__INIT;
	Hedgerow__Wire__DirectAck direct_ack = HEDGEROW__WIRE__DIRECT_ACK__INIT;
	Hedgerow__Wire__Ping ping = HEDGEROW__WIRE__PING__INIT;
	Hedgerow__Wire__Pong pong = HEDGEROW__WIRE__PONG__INIT;
	Hedgerow__Wire__Bye bye = HEDGEROW__WIRE__BYE__INIT;

	wire.session = frame->session;
	switch (frame->kind) {
	case FRAME_HELLO:
		hello.version = frame->hello.version;
		hello.site = blob(frame->hello.site);
		hello.node = blob(frame->hello.node);
		hello.incarnation = blob(frame->hello.incarnation);
		wire.hello = &hello;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_HELLO;
		break;
	case FRAME_RESUME:
		resume.incarnation = blob(frame->resume.incarnation);
		resume.position = (uint64_t)frame->resume.position;
		resume.window = frame->resume.window;
		wire.resume = &resume;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_RESUME;
		break;
	case FRAME_BATCH:
		batch.first = (uint64_t)frame->batch.first;
		batch.skip = frame->batch.skip;
		batch.n_envelope = frame->batch.n;
		batch.envelope = blobs(codec, frame->batch.envelopes, frame->batch.n);
		wire.batch = &batch;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_BATCH;
		break;
	case FRAME_ACK:
		ack.committed = (uint64_t)frame->ack.committed;
		ack.window = frame->ack.window;
		wire.ack = &ack;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_ACK;
		break;
	case FRAME_DIRECT:
		direct.n_envelope = frame->direct.n;
		direct.envelope = blobs(codec, frame->direct.envelopes, frame->direct.n);
		wire.direct = &direct;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_DIRECT;
		break;
	case FRAME_DIRECT_ACK:
		direct_ack.handled = (uint64_t)frame->handled;
		wire.direct_ack = &direct_ack;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_DIRECT_ACK;
		break;
	case FRAME_PING:
		ping.token = frame->token;
		wire.ping = &ping;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_PING;
		break;
	case FRAME_PONG:
		pong.token = frame->token;
		wire.pong = &pong;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_PONG;
		break;
	case FRAME_BYE:
		bye.reason = blob(frame->reason);
		wire.bye = &bye;
		wire.body_case = HEDGEROW__WIRE__FRAME__BODY_BYE;
		break;
	case FRAME_KINDS:
		abort();
	}
	return compress(codec, pack(codec, &wire));
}

/* The protobuf bytes, of this frame or unpacked into the codec's memory. */
static enum hr_status unpack(struct frame_codec *codec, struct slice bytes, struct slice *out,
			     struct hr_err *err)
{
	if (bytes.len < 1)
		return err_set(err, HR_FAIL, "an empty frame");

	unsigned char header = (unsigned char)bytes.data[0];
	struct slice body = { bytes.data + 1, bytes.len - 1 };
	if ((header & ~FLAG_ZSTD) != LAYOUT)
		return err_set(err, HR_FAIL, "header byte 0x%02x is unknown", header);
	if (!(header & FLAG_ZSTD)) {
		if (body.len > FRAME_PLAIN_MAX)
			return err_set(err, HR_FAIL, "%zu bytes are too many", body.len);
		*out = body;
		return HR_OK;
	}

	unsigned long long size = ZSTD_getFrameContentSize(body.data, body.len);
	if (size == ZSTD_CONTENTSIZE_ERROR)
		return err_set(err, HR_FAIL, "not a zstd frame");
	if (size == ZSTD_CONTENTSIZE_UNKNOWN)
		return err_set(err, HR_FAIL, "the zstd frame does not say its size");
	if (size > FRAME_PLAIN_MAX)
		return err_set(err, HR_FAIL, "%llu bytes unpacked are too many", size);
	if (ZSTD_findFrameCompressedSize(body.data, body.len) != body.len)
		return err_set(err, HR_FAIL,
			       "the zstd frame is cut short, or something follows it");

	size_t got = ZSTD_decompressDCtx(codec->decompressor, codec->unpacked, FRAME_PLAIN_MAX,
					 body.data, body.len);
	if (ZSTD_isError(got))
		return err_set(err, HR_FAIL, "zstd: %s", ZSTD_getErrorName(got));
	if (got != size)
		return err_set(err, HR_FAIL, "the zstd frame does not have the size it says");
	*out = (struct slice){ codec->unpacked, got };
	return HR_OK;
}

static struct slice slice_of(ProtobufCBinaryData bytes)
{
	return (struct slice){ bytes.data ? (const char *)bytes.data : "", bytes.len };
}

/* What follows checks one value each; `what` is for the complaint. */
static enum hr_status read_name(ProtobufCBinaryData bytes, const char *what, struct slice *out,
				struct hr_err *err)
{
	if (bytes.len < 1 || bytes.len > FRAME_NAME_MAX)
		return err_set(err, HR_FAIL, "%s has %zu bytes", what, bytes.len);
	for (size_t i = 0; i < bytes.len; i++)
		if (bytes.data[i] < ' ' || bytes.data[i] == 0x7f)
			return err_set(err, HR_FAIL, "%s has a control character", what);
	*out = slice_of(bytes);
	return HR_OK;
}

/* It goes into the database as a uuid; so much is certain before it does. */
static enum hr_status read_incarnation(ProtobufCBinaryData bytes, struct slice *out,
				       struct hr_err *err)
{
	static const char digits[] = "0123456789abcdef-";

	if (bytes.len != 36)
		return err_set(err, HR_FAIL, "an incarnation is a UUID of 36 characters");
	for (size_t i = 0; i < bytes.len; i++)
		if (!memchr(digits, bytes.data[i], sizeof digits - 1))
			return err_set(err, HR_FAIL, "an incarnation is a UUID in lower case");
	*out = slice_of(bytes);
	return HR_OK;
}

static enum hr_status read_number(uint64_t value, const char *what, int64_t *out,
				  struct hr_err *err)
{
	if (value > INT64_MAX)
		return err_set(err, HR_FAIL, "%s is too large", what);
	*out = (int64_t)value;
	return HR_OK;
}

static enum hr_status read_envelopes(struct frame_codec *codec, const ProtobufCBinaryData *list,
				     size_t n, const struct slice **out, struct hr_err *err)
{
	if (n < 1 || n > FRAME_ENVELOPES_MAX)
		return err_set(err, HR_FAIL, "%zu envelopes in one frame", n);
	for (size_t i = 0; i < n; i++)
		codec->slices[i] = slice_of(list[i]);
	*out = codec->slices;
	return HR_OK;
}

static enum hr_status read_hello(const Hedgerow__Wire__Hello *hello, struct frame *out,
				 struct hr_err *err)
{
	enum hr_status status = read_name(hello->site, "the site", &out->hello.site, err);

	out->hello.version = hello->version;
	if (status == HR_OK)
		status = read_name(hello->node, "the node", &out->hello.node, err);
	if (status == HR_OK)
		status = read_incarnation(hello->incarnation, &out->hello.incarnation, err);
	return status;
}

static enum hr_status read_resume(const Hedgerow__Wire__Resume *resume, struct frame *out,
				  struct hr_err *err)
{
	enum hr_status status =
		read_number(resume->position, "the position", &out->resume.position, err);

	out->resume.window = resume->window;
	if (status == HR_OK)
		status = read_incarnation(resume->incarnation, &out->resume.incarnation, err);
	return status;
}

static enum hr_status read_batch(struct frame_codec *codec, const Hedgerow__Wire__Batch *batch,
				 struct frame *out, struct hr_err *err)
{
	if (batch->first < 1 || batch->first > INT64_MAX - FRAME_ENVELOPES_MAX)
		return err_set(err, HR_FAIL, "a batch can't begin at %llu",
			       (unsigned long long)batch->first);
	out->batch.first = (int64_t)batch->first;
	out->batch.skip = batch->skip;
	out->batch.n = batch->n_envelope;
	return read_envelopes(codec, batch->envelope, batch->n_envelope, &out->batch.envelopes,
			      err);
}

static enum hr_status read_bye(const Hedgerow__Wire__Bye *bye, struct frame *out)
{
	out->reason = slice_of(bye->reason);
	if (out->reason.len > FRAME_REASON_MAX)
		out->reason.len = FRAME_REASON_MAX;
	return HR_OK;
}

static enum hr_status read_frame(struct frame_codec *codec, const wire_frame *wire,
				 struct frame *out, struct hr_err *err)
{
	out->session = wire->session;
	switch (wire->body_case) {
	case HEDGEROW__WIRE__FRAME__BODY_HELLO:
		out->kind = FRAME_HELLO;
		return read_hello(wire->hello, out, err);
	case HEDGEROW__WIRE__FRAME__BODY_RESUME:
		out->kind = FRAME_RESUME;
		return read_resume(wire->resume, out, err);
	case HEDGEROW__WIRE__FRAME__BODY_BATCH:
		out->kind = FRAME_BATCH;
		return read_batch(codec, wire->batch, out, err);
	case HEDGEROW__WIRE__FRAME__BODY_ACK:
		out->kind = FRAME_ACK;
		out->ack.window = wire->ack->window;
		return read_number(wire->ack->committed, "the acknowledged seq",
				   &out->ack.committed, err);
	case HEDGEROW__WIRE__FRAME__BODY_DIRECT:
		out->kind = FRAME_DIRECT;
		out->direct.n = wire->direct->n_envelope;
		return read_envelopes(codec, wire->direct->envelope, wire->direct->n_envelope,
				      &out->direct.envelopes, err);
	case HEDGEROW__WIRE__FRAME__BODY_DIRECT_ACK:
		out->kind = FRAME_DIRECT_ACK;
		return read_number(wire->direct_ack->handled, "the handled count", &out->handled,
				   err);
	case HEDGEROW__WIRE__FRAME__BODY_PING:
		out->kind = FRAME_PING;
		out->token = wire->ping->token;
		return HR_OK;
	case HEDGEROW__WIRE__FRAME__BODY_PONG:
		out->kind = FRAME_PONG;
		out->token = wire->pong->token;
		return HR_OK;
	case HEDGEROW__WIRE__FRAME__BODY_BYE:
		out->kind = FRAME_BYE;
		return read_bye(wire->bye, out);
	case HEDGEROW__WIRE__FRAME__BODY__NOT_SET:
	case _HEDGEROW__WIRE__FRAME__BODY__CASE_IS_INT_SIZE:
		break;
	}
	return err_set(err, HR_FAIL, "a frame of no kind that we know");
}

enum hr_status frame_decode(struct frame_codec *codec, struct slice bytes, struct frame *out,
			    struct hr_err *err)
{
	ProtobufCAllocator allocator = { arena_alloc, arena_keep, &codec->arena };
	struct slice body = { 0 };
	struct frame frame = { 0 };

	if (unpack(codec, bytes, &body, err) != HR_OK)
		return err->status;
	codec->arena.used = 0;
	wire_frame *wire =
		hedgerow__wire__frame__unpack(&allocator, body.len, (const uint8_t *)body.data);
	if (!wire)
		return err_set(err, HR_FAIL, "not protobuf, or cut short");
	if (read_frame(codec, wire, &frame, err) != HR_OK)
		return err->status;
	*out = frame;
	return HR_OK;
}
