/* SPDX-License-Identifier: Apache-2.0 */
/* What would become of a message, for operators (hedgerow mail test): decided and composed by what
 * decides and composes for users, and not sent. The gateway that has the mail of the domain
 * answers; where there is no mail, any. The mail begins a conversation; its reply address is signed
 * as always and names the conversation 0, which there is not. */
#pragma once

#include "gateway/dispatch.h"

struct trials;
/* Everything is borrowed; dispatch->pg is freed before. */
struct trials *trials_new(const struct dispatch *dispatch, const char *secrets);
void trials_free(struct trials *trials); /* NULL is fine */
DEFINE_SCOPED(trials)

/* The channel on which they are asked for. */
#define TRIALS_CHANNEL "hedgerow_mail_trial"
/* Something was asked, or may have been; also now and then: what is old is forgotten. NULL is fine.
 */
void trials_look(struct trials *trials);
void trials_go_on(struct trials *trials); /* people have arrived */
