/* SPDX-License-Identifier: Apache-2.0 */
/* One forest, read and followed by a thread of its own. The thread holds one session of the
 * database, and with it the forest's lease, and one of the directory for each naming context. It
 * does one thing at a time: a run that was asked for, changes that have come, or nothing. */
#pragma once

#include "directory/report.h"

#include "schema/plan.h"

struct follower;

struct follower_options {
	const char *database, *secrets, *node; /* borrowed */
	/* On the follower's thread: runs have ended, or wishes were dropped with the lease, or the
	 * thread has ended. Time to ask for the plan. */
	void (*tell)(void *arg);
	void *arg;
};

struct follower *follower_new(const char *forest, const struct follower_options *options);
/* A run is wanted; while one of the kind is wanted already, nothing more. */
void follower_ask(struct follower *follower, enum publish_kind kind, bool draft);
bool follower_is_asked(const struct follower *follower); /* and has not ended that run yet */
/* Adds to *counts what has happened since the last call; *state, how it stands, is to be cleared.
 */
void follower_read(struct follower *follower, struct report_counts *counts,
		   struct report_state *state);
void follower_stop(struct follower *follower);		  /* returns at once */
bool follower_has_ended(const struct follower *follower); /* after follower_stop */
void follower_free(struct follower *follower);		  /* once it has ended; NULL is fine */
