/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a client says, in whatever pieces: the owner is asked and told in an order that makes
 * sense, and the same bytes get the same answers in any pieces. The first byte of the input chooses
 * the pieces, and the order in which the owner answers. */
#include "gateway/mail/lmtp.h"

enum { KEPT_MAX = 64, SIZE_LIMIT = 300 };

static struct room room = { .max = SIZE_LIMIT };

struct owner {
	struct lmtp *lmtp;
	uint64_t waiting[KEPT_MAX], last;
	size_t waiting_count;
	unsigned how;
	bool is_handed_over;
};

static void check(bool good)
{
	if (!good)
		abort();
}

static void wait_for(struct owner *owner, uint64_t id)
{
	check(id > owner->last);
	owner->last = id;
	if (owner->how & 1 || owner->waiting_count == KEPT_MAX)
		lmtp_answer(owner->lmtp, id, (enum lmtp_answer)(id % 3 ? LMTP_OK : LMTP_REFUSED),
			    NULL);
	else
		owner->waiting[owner->waiting_count++] = id;
}

static void on_recipient(void *ctx, uint64_t id, const char *address)
{
	struct owner *owner = ctx;

	check(*address && !owner->is_handed_over);
	wait_for(owner, id);
}

static void on_message(void *ctx, const struct lmtp_mail *mail)
{
	struct owner *owner = ctx;

	check(mail->recipient_count > 0 && mail->bytes.len <= SIZE_LIMIT);
	check(!owner->is_handed_over);
	owner->is_handed_over = true;
	owner->waiting_count = 0;
	for (size_t i = 0, n = mail->recipient_count; i < n; i++)
		wait_for(owner, mail->recipients[i].id);
}

static void on_reset(void *ctx)
{
	struct owner *owner = ctx;

	owner->is_handed_over = false;
	owner->waiting_count = 0;
}

static void answer_all(struct owner *owner)
{
	while (owner->waiting_count > 0) {
		uint64_t id = owner->waiting[--owner->waiting_count];
		lmtp_answer(owner->lmtp, id, id % 3 ? LMTP_OK : LMTP_REFUSED, NULL);
	}
}

static void run(struct slice said, unsigned how, size_t piece, struct buf *out)
{
	static const struct lmtp_ops ops = { on_recipient, on_message, on_reset };
	struct owner owner = { .how = how };
	struct lmtp *lmtp =
		lmtp_new(&(struct lmtp_options){ "mx", SIZE_LIMIT, &room }, &ops, &owner);

	owner.lmtp = lmtp;
	while (said.len > 0 && !lmtp_is_ended(lmtp)) {
		size_t len = said.len < piece ? said.len : piece;
		lmtp_received(lmtp, (struct slice){ said.data, len });
		said = (struct slice){ said.data + len, said.len - len };
		if (!(how & 2) || !lmtp_wants_input(lmtp))
			answer_all(&owner);
	}
	for (int i = 0; i < 100 && owner.waiting_count > 0; i++)
		answer_all(&owner);
	check(room.held <= room.max && room.refused == 0); /* it is alone */
	buf_add_slice(out, buf_slice(lmtp_output(lmtp)));
	lmtp_free(lmtp);
	check(room.held == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct slice said = { (const char *)data + 1, size - 1 };
	scoped_buf at_once = BUF_INIT(0), in_pieces = BUF_INIT(0);

	run(said, 1, said.len ? said.len : 1, &at_once);
	run(said, data[0] & 3, 1 + (data[0] >> 2), &in_pieces);
	check(slice_eq(buf_slice(&at_once), buf_slice(&in_pieces)));
	return 0;
}
