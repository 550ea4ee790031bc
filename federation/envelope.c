/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/envelope.h"

#include "base/utf8.h"
#include "federation/address.h"
#include "federation/wire.pb-c.h"

#include <endian.h>
#include <sys/random.h>

enum { ERROR_TEXT_MAX = 512, DEFAULT_LIFE_S = 7 * 24 * 3600 };
static const usec TIME_MAX = 253402300800 * INT64_C(1000000); /* the year 10000 */

/* The bytes fields of message Envelope in federation/wire.proto. */
static const struct field {
	const char *name;
	size_t at;
	size_t min, max;
	enum { BINARY, PRINTABLE, XML } text;
} fields_by_number[] = {
	[1] = { "id", offsetof(struct envelope_fields, id), 0, ENVELOPE_ID_LEN, BINARY },
	[3] = { "type", offsetof(struct envelope_fields, type), 0, ENVELOPE_WORD_MAX, PRINTABLE },
	[4] = { "stanza_id", offsetof(struct envelope_fields, stanza_id), 0, ENVELOPE_STANZA_ID_MAX,
		XML },
	[5] = { "from", offsetof(struct envelope_fields, from), 1, ENVELOPE_ADDRESS_MAX, XML },
	[6] = { "to", offsetof(struct envelope_fields, to), 1, ENVELOPE_ADDRESS_MAX, XML },
	[7] = { "lang", offsetof(struct envelope_fields, lang), 0, ENVELOPE_WORD_MAX, PRINTABLE },
	[8] = { "payload", offsetof(struct envelope_fields, payload), 0, ENVELOPE_PAYLOAD_MAX,
		XML },
};
enum { FIELD_KIND = 2, FIELD_RECEIVED = 9, FIELD_EXPIRES = 10, FIELD_HOPS = 11, FIELD_COPY = 12 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static const char *const kind_name[] = {
	[ENVELOPE_MESSAGE] = "message",
	[ENVELOPE_PRESENCE] = "presence",
	[ENVELOPE_IQ] = "iq",
};

static const struct {
	const char *condition, *type;
} bounces[BOUNCES] = {
	[BOUNCE_ITEM_NOT_FOUND] = { "item-not-found", "cancel" },
	[BOUNCE_NOT_ALLOWED] = { "not-allowed", "cancel" },
	[BOUNCE_REMOTE_TIMEOUT] = { "remote-server-timeout", "wait" },
	[BOUNCE_RESOURCE_CONSTRAINT] = { "resource-constraint", "wait" },
	[BOUNCE_RECIPIENT_UNAVAILABLE] = { "recipient-unavailable", "wait" },
	[BOUNCE_SERVICE_UNAVAILABLE] = { "service-unavailable", "cancel" },
	[BOUNCE_POLICY_VIOLATION] = { "policy-violation", "modify" },
	[BOUNCE_BAD_REQUEST] = { "bad-request", "modify" },
};

const char *envelope_kind_name(enum envelope_kind kind)
{
	return kind_name[kind];
}

const char *bounce_condition(enum bounce bounce)
{
	return bounces[bounce].condition;
}

const char *bounce_type(enum bounce bounce)
{
	return bounces[bounce].type;
}

/* --- identity --- */

static uint64_t random_bits(void)
{
	static uint64_t drawn[32]; /* 256 bytes: getrandom gives them whole or not at all */
	static size_t left;

	if (left == 0) {
		if (getrandom(drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
			abort();
		left = countof(drawn);
	}
	return drawn[--left];
}

/* UUIDv7 with the fraction of the millisecond in rand_a (RFC 9562 6.2, method 3): the upper 60 bits
 * count 1/4096 ms and never stand still or go back. */
static void draw_id(usec now, uint8_t id[ENVELOPE_ID_LEN])
{
	static uint64_t last;
	uint64_t us = now > 0 ? (uint64_t)now : 0;
	uint64_t ticks = us / 1000 << 12 | (us % 1000 << 12) / 1000;

	if (ticks <= last)
		ticks = last + 1;
	last = ticks;
	uint64_t high = htobe64((ticks & ~UINT64_C(0xfff)) << 4 | 0x7000 | (ticks & 0xfff));
	uint64_t low = htobe64((random_bits() >> 2) | UINT64_C(1) << 63);
	memcpy(id, &high, sizeof high);
	memcpy(id + sizeof high, &low, sizeof low);
}

/* --- checks --- */

static enum hr_status refuse(const char *field, const char *why, struct hr_err *err)
{
	return err_set(err, HR_FAIL, "envelope: %s %s", field, why);
}

static bool is_text(const struct field *field, struct slice value)
{
	switch (field->text) {
	case PRINTABLE:
		return utf8_printable(value);
	case XML:
		return utf8_xml(value);
	case BINARY:
		break;
	}
	return true;
}

enum hr_status envelope_check(const struct envelope_fields *fields, struct hr_err *err)
{
	for (size_t i = 0; i < countof(fields_by_number); i++) {
		const struct field *field = &fields_by_number[i];
		if (!field->name)
			continue;
		const struct slice *value = (const void *)((const char *)fields + field->at);
		if (value->len < field->min)
			return refuse(field->name, "is empty", err);
		if (value->len > field->max)
			return refuse(field->name, "is too long", err);
		if (!is_text(field, *value))
			return refuse(field->name, "has a forbidden character", err);
	}
	if (address_text_bare(fields->from).len > ENVELOPE_BARE_MAX)
		return refuse("from", "is too long without its resource", err);
	if (address_text_bare(fields->to).len > ENVELOPE_BARE_MAX)
		return refuse("to", "is too long without its resource", err);
	if (fields->id.len != 0 && fields->id.len != ENVELOPE_ID_LEN)
		return refuse("id", "is not 16 bytes", err);
	if (fields->kind >= ENVELOPE_KINDS)
		return refuse("kind", "is unknown", err);
	if (fields->received < 0 || fields->received > TIME_MAX)
		return refuse("received", "is out of range", err);
	if (fields->expires < 0 || fields->expires > TIME_MAX)
		return refuse("expires", "is out of range", err);
	if (fields->hop_count > ENVELOPE_HOPS_MAX)
		return refuse("hops", "are too many", err);
	for (size_t i = 0; i < fields->hop_count; i++) {
		struct slice hop = fields->hops[i];
		if (hop.len == 0 || hop.len > ENVELOPE_SITE_MAX || !utf8_printable(hop))
			return refuse("hops", "name no site", err);
	}
	return HR_OK;
}

/* --- wire format: written by protobuf-c, read here, so that no field is copied twice --- */

static bool take_varint(struct slice *rest, size_t max, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < max && i < rest->len; i++) {
		uint8_t byte = (uint8_t)rest->data[i];
		if (i == 9 && byte > 1)
			return false; /* past 64 bits */
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*rest = (struct slice){ rest->data + i + 1, rest->len - i - 1 };
			*out = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct slice *rest, uint64_t len, struct slice *out)
{
	if (len > rest->len)
		return false;
	*out = (struct slice){ rest->data, len };
	*rest = (struct slice){ rest->data + len, rest->len - len };
	return true;
}

/* A field's value: a number for varint and fixed64, bytes for the others. */
static bool take_value(struct slice *rest, unsigned wire, uint64_t *number, struct slice *bytes)
{
	switch (wire) {
	case WIRE_VARINT:
		return take_varint(rest, 10, number);
	case WIRE_64:
		if (!take_bytes(rest, sizeof *number, bytes))
			return false;
		memcpy(number, bytes->data, sizeof *number);
		*number = le64toh(*number);
		return true;
	case WIRE_BYTES:
		return take_varint(rest, 5, number) && take_bytes(rest, *number, bytes);
	case WIRE_32:
		return take_bytes(rest, 4, bytes);
	default:
		return false;
	}
}

static unsigned wire_of(uint64_t number)
{
	return number == FIELD_KIND || number == FIELD_COPY	     ? WIRE_VARINT
	       : number == FIELD_RECEIVED || number == FIELD_EXPIRES ? WIRE_64
								     : WIRE_BYTES;
}

static enum hr_status store(struct envelope_fields *fields, uint64_t number, uint64_t value,
			    struct slice bytes, struct hr_err *err)
{
	switch (number) {
	case FIELD_KIND:
		if (value >= ENVELOPE_KINDS)
			return refuse("kind", "is unknown", err);
		fields->kind = (enum envelope_kind)value;
		return HR_OK;
	case FIELD_RECEIVED:
	case FIELD_EXPIRES:
		if (value > (uint64_t)TIME_MAX)
			return refuse("time", "is out of range", err);
		*(number == FIELD_RECEIVED ? &fields->received : &fields->expires) = (usec)value;
		return HR_OK;
	case FIELD_HOPS:
		if (fields->hop_count == ENVELOPE_HOPS_MAX)
			return refuse("hops", "are too many", err);
		fields->hops[fields->hop_count++] = bytes;
		return HR_OK;
	case FIELD_COPY:
		fields->is_copy = value != 0;
		return HR_OK;
	default:
		*(struct slice *)(void *)((char *)fields + fields_by_number[number].at) = bytes;
		return HR_OK;
	}
}

/* Points `fields` into `packed`. As protobuf has it: fields in any order, the last one counts,
 * unknown ones are skipped. */
static enum hr_status read_fields(struct slice packed, struct envelope_fields *fields,
				  struct hr_err *err)
{
	struct slice rest = packed;

	while (rest.len > 0) {
		uint64_t tag, value = 0;
		struct slice bytes = { 0 };
		if (!take_varint(&rest, 5, &tag) || tag > UINT32_MAX || tag >> 3 == 0 ||
		    !take_value(&rest, tag & 7, &value, &bytes))
			return refuse("bytes", "are not protobuf", err);
		if (tag >> 3 > FIELD_COPY)
			continue;
		if ((tag & 7) != wire_of(tag >> 3))
			return refuse("bytes", "have a field of another type", err);
		if (store(fields, tag >> 3, value, bytes, err) != HR_OK)
			return err->status;
	}
	return HR_OK;
}

/* An envelope with room for its packed form, which follows the struct. */
static struct envelope *make(size_t packed_len)
{
	struct envelope *envelope = mem_alloc(sizeof *envelope + packed_len);

	envelope->packed = (struct slice){ (char *)(envelope + 1), packed_len };
	envelope->refs = 1;
	return envelope;
}

static uint8_t *room(struct envelope *envelope)
{
	return (uint8_t *)(envelope + 1);
}

static ProtobufCBinaryData binary(struct slice slice)
{
	return (ProtobufCBinaryData){ slice.len, (uint8_t *)(uintptr_t)slice.data };
}

struct envelope *envelope_new(const struct envelope_fields *fields)
{
	uint8_t id[ENVELOPE_ID_LEN];
	ProtobufCBinaryData hops[ENVELOPE_HOPS_MAX];
	Hedgerow__Wire__Envelope wire = HEDGEROW__WIRE__ENVELOPE__INIT;
	struct hr_err err;

	if (fields->id.len == 0)
		draw_id(fields->received, id);
	for (size_t i = 0; i < fields->hop_count; i++)
		hops[i] = binary(fields->hops[i]);
	wire.id = fields->id.len ? binary(fields->id) : (ProtobufCBinaryData){ sizeof id, id };
	wire.kind = (Hedgerow__Wire__Kind)fields->kind;
	wire.type = binary(fields->type);
	wire.stanza_id = binary(fields->stanza_id);
	wire.from = binary(fields->from);
	wire.to = binary(fields->to);
	wire.lang = binary(fields->lang);
	wire.payload = binary(fields->payload);
	wire.received = (uint64_t)fields->received;
	wire.expires = (uint64_t)fields->expires;
	wire.n_hops = fields->hop_count;
	wire.hops = hops;
	wire.is_copy = fields->is_copy;

	struct envelope *made = make(hedgerow__wire__envelope__get_packed_size(&wire));
	hedgerow__wire__envelope__pack(&wire, room(made));
	if (read_fields(made->packed, &made->f, &err) != HR_OK)
		abort(); /* the caller has passed a kind, time or hop count that cannot be */
	return made;
}

enum hr_status envelope_unpack(struct slice packed, struct envelope **out, struct hr_err *err)
{
	if (packed.len > ENVELOPE_PACKED_MAX)
		return refuse("bytes", "are too many", err);
	scoped(envelope) made = make(packed.len);
	if (packed.len > 0)
		memcpy(room(made), packed.data, packed.len);
	if (read_fields(made->packed, &made->f, err) != HR_OK ||
	    envelope_check(&made->f, err) != HR_OK)
		return err->status;
	if (made->f.id.len == 0)
		return refuse("id", "is missing", err);
	*out = give(made);
	return HR_OK;
}

struct envelope *envelope_ref(struct envelope *envelope)
{
	envelope->refs++;
	return envelope;
}

void envelope_free(struct envelope *envelope)
{
	if (envelope && --envelope->refs == 0)
		free(envelope);
}

/* One more element of a repeated field may follow at the end: nothing else is rewritten. */
enum hr_status envelope_hop(const struct envelope *envelope, const char *site,
			    struct envelope **out, struct hr_err *err)
{
	size_t len = strlen(site), before = envelope->packed.len;
	uint8_t head[3] = { FIELD_HOPS << 3 | WIRE_BYTES, (uint8_t)(len & 0x7f) };
	size_t head_len = 2;

	for (size_t i = 0; i < envelope->f.hop_count; i++)
		if (slice_is(envelope->f.hops[i], site))
			return err_set(err, HR_FAIL, "a loop: it has passed %s before", site);
	if (envelope->f.hop_count == ENVELOPE_HOPS_MAX)
		return err_set(err, HR_FAIL, "more than %d sites passed", ENVELOPE_HOPS_MAX);
	if (len == 0 || len > ENVELOPE_SITE_MAX)
		return err_set(err, HR_FAIL, "a site name has 1 to %d bytes", ENVELOPE_SITE_MAX);
	if (len > 0x7f) {
		head[1] |= 0x80;
		head[head_len++] = (uint8_t)(len >> 7);
	}
	if (before + head_len + len > ENVELOPE_PACKED_MAX)
		return refuse("bytes", "are too many", err);
	scoped(envelope) made = make(before + head_len + len);
	memcpy(room(made), envelope->packed.data, before);
	memcpy(room(made) + before, head, head_len);
	memcpy(room(made) + before + head_len, site, len);
	if (read_fields(made->packed, &made->f, err) != HR_OK)
		return err->status;
	*out = give(made);
	return HR_OK;
}

/* --- answers --- */

bool envelope_is_error(const struct envelope *envelope)
{
	return slice_is(envelope->f.type, "error");
}

static bool may_answer(const struct envelope_fields *f)
{
	switch (f->kind) {
	case ENVELOPE_MESSAGE:
		return !slice_is(f->type, "error") && !f->is_copy;
	case ENVELOPE_PRESENCE:
		return slice_is(f->type, "subscribe") || slice_is(f->type, "probe");
	case ENVELOPE_IQ:
		return slice_is(f->type, "get") || slice_is(f->type, "set");
	case ENVELOPE_KINDS:
		break;
	}
	return false;
}

static void add_escaped(struct buf *out, struct slice text)
{
	static const char *const entity[256] = {
		['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['\''] = "&apos;", ['"'] = "&quot;"
	};

	for (size_t i = 0; i < text.len; i++) {
		const char *name = entity[(unsigned char)text.data[i]];
		if (name)
			buf_add_str(out, name);
		else
			buf_add_char(out, text.data[i]);
	}
}

#define STANZAS " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"

static void write_error(struct buf *out, enum bounce bounce, const char *text)
{
	struct slice cut = utf8_cut(slice_str(text), ERROR_TEXT_MAX);

	buf_format(out, "<error type='%s'><%s" STANZAS "/>", bounces[bounce].type,
		   bounces[bounce].condition);
	if (cut.len > 0 && utf8_xml(cut)) {
		buf_add_str(out, "<text" STANZAS ">");
		add_escaped(out, cut);
		buf_add_str(out, "</text>");
	}
	buf_add_str(out, "</error>");
}

enum hr_status envelope_bounce(const struct envelope *envelope, enum bounce bounce,
			       const char *text, usec now, struct envelope **out)
{
	const struct envelope_fields *f = &envelope->f;
	scoped_buf payload = BUF_INIT(16 * ERROR_TEXT_MAX);
	usec life = f->expires > f->received ? f->expires - f->received
					     : DEFAULT_LIFE_S * INT64_C(1000000);

	if (!may_answer(f))
		return HR_NONE;
	write_error(&payload, bounce, text);
	*out = envelope_new(&(struct envelope_fields){
		.kind = f->kind,
		.type = slice_lit("error"),
		.stanza_id = f->stanza_id,
		.from = f->to,
		.to = f->from,
		.payload = buf_slice(&payload),
		.received = now,
		.expires = now + life,
	});
	return HR_OK;
}
