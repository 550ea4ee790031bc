/* SPDX-License-Identifier: Apache-2.0 */
/* The ad-hoc command (XEP-0050, with data forms of XEP-0004) by which people choose about mail for
 * themselves: first a form with what is chosen now, then what it comes back with. No state is kept
 * between the two. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define COMMAND_NS "http://jabber.org/protocol/commands"
#define COMMAND_NODE "mail"

struct command {
	enum { COMMAND_SHOW, COMMAND_CHOOSE, COMMAND_CANCEL } what;
	const char *mode; /* static; of COMMAND_CHOOSE: "off", "notice", "full", or "": as the
			     domain has it */
};

/* `payload` is well-formed. HR_FAIL: not what the form asks for; err is for whoever sent it. */
HR_MUST_USE enum hr_status command_read(struct slice payload, struct command *out,
					struct hr_err *err);
void command_write_form(struct buf *out, struct slice mode); /* what is chosen now */
void command_write_done(struct buf *out, struct slice mode); /* what is chosen from now on */
void command_write_canceled(struct buf *out);

/* What service discovery (XEP-0030) says of a node of `domain`: that of all commands, or this one.
 * False: there is no such node. */
bool command_write_items(struct buf *out, struct slice node, struct slice domain);
bool command_write_info(struct buf *out, struct slice node);
