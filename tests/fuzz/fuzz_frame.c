/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a peer: no input may break the decoder, and what it takes, it takes again after
 * encoding. */
#include "federation/frame.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame_codec *codec, *again;
	struct frame frame, back;
	struct hr_err err;

	if (!codec) {
		codec = frame_codec_new();
		again = frame_codec_new();
	}
	if (frame_decode(codec, (struct slice){ (const char *)data, size }, &frame, &err) != HR_OK)
		return 0;
	if (frame_decode(again, frame_encode(codec, &frame), &back, &err) != HR_OK ||
	    back.kind != frame.kind || back.session != frame.session)
		abort();
	return 0;
}
