/* SPDX-License-Identifier: Apache-2.0 */
/* What people choose about mail for themselves: read from and written to the registry, for whoever
 * still wants to know when the answer comes. */
#pragma once

#include "base/pg.h"

struct choices;
struct choices *choices_new(struct pg *pg); /* borrowed, and freed before */
void choices_free(struct choices *choices); /* NULL is fine */
DEFINE_SCOPED(choices)

/* `mode`: "off", "notice", "full", or "": as the domain has it. HR_RETRY: the database can't answer
 * now. */
typedef void choice_fn(void *arg, enum hr_status status, struct slice mode);
/* Asks what `address` has chosen, or chooses `mode` (data NULL: asks). fn is called once, in a
 * later turn, unless the owner is forgotten; `arg` is one allocation, freed after it. */
void choices_ask(struct choices *choices, struct slice address, struct slice mode, choice_fn *fn,
		 void *arg, const void *owner);
void choices_forget(struct choices *choices, const void *owner);
