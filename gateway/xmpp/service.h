/* SPDX-License-Identifier: Apache-2.0 */
/* A federated domain itself, as its users' clients and server see it: it answers what a service
 * must (XEP-0030 service discovery, XEP-0199 ping) and nothing else. */
#pragma once

#include "gateway/xmpp/lane.h"

void service_stanza(struct lane *lane, const struct scan_stanza *stanza);
