/* SPDX-License-Identifier: Apache-2.0 */
/* Mail that comes in: the LMTP server of a gateway, for the chat domains of all e-mail domains that
 * the site carries, and the edge that brings what it takes to the switchboard. Found as the
 * destination POSTBOX. What is answered with 250 is committed. */
#pragma once

#include "base/server.h"
#include "gateway/switchboard.h"

#define POSTBOX "lmtp:"

enum { POSTBOX_VISITS_MAX = 64 };

/* Everything is borrowed. */
struct postbox_options {
	const char *listen; /* base/server.h */
	size_t size_max;    /* bytes of a mail */
	size_t memory_max;  /* bytes of all mails that are being taken */
	const char *secrets;
	const struct dispatch *dispatch;
	struct switchboard *switchboard;
	msec patience;
};

/* HR_FAIL: it can't be listened on. */
HR_MUST_USE enum hr_status postbox_new(struct loop *loop, const struct postbox_options *options,
				       struct edge **out, struct hr_err *err);
