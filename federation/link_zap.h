/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect: answers ZeroMQ's question about each CURVE handshake (ZAP, RFC 27 of ZeroMQ,
 * inproc://zeromq.zap.01). An accepted connection carries its key as User-Id on each message. */
#pragma once

#include "base/err.h"
#include "base/loop.h"

/* key: Z85, NUL-terminated; address: the peer's IP address. True: it may. */
typedef bool link_zap_fn(void *ctx, const char *key, const char *address);

struct link_zap;
/* One for each ZeroMQ context, before anything is bound in it. */
HR_MUST_USE enum hr_status link_zap_new(struct loop *loop, void *context, link_zap_fn *may,
					void *ctx, struct link_zap **out, struct hr_err *err);
void link_zap_free(struct link_zap *zap); /* from then on nobody may; NULL is fine */
DEFINE_SCOPED(link_zap)
