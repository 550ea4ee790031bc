/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are an envelope or not. What we read of one is what protobuf-c reads of it, and it can
 * be written, sent on and bounced. */
#include "federation/envelope.h"
#include "federation/wire.pb-c.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_same(struct slice ours, ProtobufCBinaryData theirs)
{
	check(slice_eq(ours, (struct slice){ (const char *)theirs.data, theirs.len }));
}

static void compare(const struct envelope *envelope, struct slice input)
{
	const struct envelope_fields *f = &envelope->f;
	Hedgerow__Wire__Envelope *wire =
		hedgerow__wire__envelope__unpack(NULL, input.len, (const uint8_t *)input.data);

	check(wire != NULL);
	check_same(f->id, wire->id);
	check((unsigned)f->kind == (unsigned)wire->kind);
	check_same(f->type, wire->type);
	check_same(f->stanza_id, wire->stanza_id);
	check_same(f->from, wire->from);
	check_same(f->to, wire->to);
	check_same(f->lang, wire->lang);
	check_same(f->payload, wire->payload);
	check((uint64_t)f->received == wire->received && (uint64_t)f->expires == wire->expires);
	check(f->is_copy == (bool)wire->is_copy);
	check(f->hop_count == wire->n_hops);
	for (size_t i = 0; i < f->hop_count; i++)
		check_same(f->hops[i], wire->hops[i]);
	hedgerow__wire__envelope__free_unpacked(wire, NULL);
}

static void use(const struct envelope *envelope)
{
	scoped(envelope) copy = envelope_new(&envelope->f);
	scoped(envelope) back = NULL;
	scoped(envelope) hop = NULL;
	scoped(envelope) bounce = NULL;
	scoped(envelope) again = NULL;
	struct hr_err err;

	check(envelope_unpack(copy->packed, &back, &err) == HR_OK);
	if (envelope_hop(envelope, "nowhere", &hop, &err) == HR_OK)
		check(hop->f.hop_count == envelope->f.hop_count + 1 &&
		      slice_eq(hop->f.payload, envelope->f.payload));
	if (envelope_bounce(envelope, BOUNCE_NOT_ALLOWED, "<no>", 1, &bounce) == HR_OK)
		check(envelope_is_error(bounce) && slice_eq(bounce->f.to, envelope->f.from) &&
		      envelope_unpack(bounce->packed, &again, &err) == HR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = { (const char *)data, size };
	scoped(envelope) envelope = NULL;
	struct hr_err err = { 0 };
	enum hr_status status = envelope_unpack(input, &envelope, &err);

	if (status != HR_OK) {
		check(status == HR_FAIL && *err.text && !envelope);
		return 0;
	}
	compare(envelope, input);
	use(envelope);
	return 0;
}
