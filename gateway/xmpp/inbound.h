/* SPDX-License-Identifier: Apache-2.0 */
/* What a component stream brings: checked, parsed, and given to the switchboard as an item that
 * becomes an envelope when its people are known. */
#pragma once

#include "gateway/xmpp/lane.h"

void inbound_stanza(struct lane *lane, const struct scan_stanza *stanza);

/* Brings a presence probe of our own, in the name of `from` (a bare native address) for `to`. */
void inbound_probe(struct lane *lane, const char *from, const char *to);

/* gateway/edge.h: edge_ops of the same names */
enum hr_status inbound_translate(struct edge *edge, void *item, const struct edge_people *people,
				 struct envelope **out, struct hr_err *err);
void inbound_answer(struct edge *edge, void *item, const struct edge_people *people);
void inbound_refuse(struct edge *edge, void *item, enum bounce bounce, const char *text);
void inbound_done(struct edge *edge, void *item);
