/* SPDX-License-Identifier: Apache-2.0 */
/* What a recipient of LMTP names: a conversation, by a signed reply address, or a person, as
 * local@chat-domain of an e-mail domain that this site carries. */
#pragma once

#include "base/err.h"
#include "base/time.h"
#include "schema/config.h"

struct recipient {
	const struct config_mail *mail; /* of the config */
	bool is_reply;
	int64_t thread; /* of a reply address */
	char *peer;	/* else, owned: the person's address, prepared */
};

/* `secrets`: the directory with the keys of reply addresses. HR_FAIL: nobody, and err is for the
 * client. HR_RETRY: a key is missing, for which the client can't help. */
HR_MUST_USE enum hr_status recipient_read(struct slice text, const struct config *config,
					  const char *secrets, usec now, struct recipient *out,
					  struct hr_err *err);
