/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link.h"

static struct queue *queue(void *arg)
{
	return journal_queue(arg);
}

static const char *incarnation(void *arg)
{
	return journal_incarnation(arg);
}

static bool ack(void *arg, int64_t seq)
{
	return journal_ack(arg, seq);
}

static void offer(void *arg, bool yes)
{
	journal_offer(arg, yes);
}

void link_attach(struct link *link, struct journal_target *target)
{
	static const struct link_source journal = { queue, incarnation, ack, offer };

	link_attach_source(link, target ? &journal : NULL, target);
}
