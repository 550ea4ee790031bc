/* SPDX-License-Identifier: Apache-2.0 */
/* A session of a directory that is being opened, on a thread of its own: a directory that hangs
 * holds up nobody. */
#pragma once

#include "directory/adapter.h"

struct opening;

/* `request` is borrowed until the session is closed; to give up, set its stop. */
struct opening *opening_new(const struct adapter *adapter, const struct adapter_request *request);
int opening_fd(const struct opening *opening); /* readable: it has ended */
bool opening_has_ended(const struct opening *opening);
msec opening_began(const struct opening *opening);
/* Waits for the end and frees it: what adapter->open has said. */
HR_MUST_USE enum hr_status opening_end(struct opening *opening, struct adapter_session **out,
				       struct hr_err *err);
