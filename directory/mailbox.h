/* SPDX-License-Identifier: Apache-2.0 */
/* Between the loop and the thread of one forest: what is wished for goes one way, what has happened
 * the other. Any thread may call; this is all that the two share. */
#pragma once

#include "directory/report.h"
#include "directory/stop.h"

#include "schema/plan.h"

/* Runs that are wanted. */
struct mailbox_wishes {
	bool full, dry_run;
	bool draft; /* of the dry run */
};

struct mailbox;

struct mailbox *mailbox_new(void);
void mailbox_free(struct mailbox *mailbox); /* NULL is fine */
DEFINE_SCOPED(mailbox)
struct stop *mailbox_stop(const struct mailbox *mailbox); /* of the thread; borrowed */

/* From the loop. A wish is there until the thread says that it is done. */
void mailbox_wish(struct mailbox *mailbox, enum publish_kind kind, bool draft);
bool mailbox_is_wished(struct mailbox *mailbox); /* anything? */
/* Adds to *counts what has come since the last call; *state is to be cleared. */
void mailbox_read(struct mailbox *mailbox, struct report_counts *counts,
		  struct report_state *state);

/* From the thread. */
int mailbox_fd(const struct mailbox *mailbox); /* readable: there are wishes */
struct mailbox_wishes mailbox_look(struct mailbox *mailbox);
void mailbox_done(struct mailbox *mailbox, enum publish_kind kind);
void mailbox_forget(struct mailbox *mailbox); /* all wishes: who wished must look anew */
void mailbox_count(struct mailbox *mailbox, const struct report_counts *counts);
void mailbox_show(struct mailbox *mailbox, struct report_state state); /* taken */
