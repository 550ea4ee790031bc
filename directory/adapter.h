/* SPDX-License-Identifier: Apache-2.0 */
/* What reads a directory. One adapter a protocol, each one file with one such table; a run asks
 * adapter_find and knows none of them by name. Called on a worker thread: adapters may block, but
 * for no longer than a second without asking *stop, and every wait of theirs has a deadline. */
#pragma once

#include "base/err.h"
#include "directory/entry.h"

#include "directory/stop.h"

struct adapter_request {
	const struct publish_source *source;
	const char *secrets;	 /* directory of secret files */
	const struct stop *stop; /* the daemon ends: give up with HR_RETRY */
};

/* Takes one entry, borrowed for the call. Anything but HR_OK ends the reading with that status. */
typedef enum hr_status adapter_entry_fn(void *arg, const struct publish_entry *entry,
					struct hr_err *err);

struct adapter_session;

struct adapter {
	const char *kind; /* of publish_source */
	/* Connects and authenticates; tries the URLs in order. HR_RETRY: nobody answers as they
	 * should. HR_FAIL: a wrong password, an unusable certificate file: somebody must act. */
	enum hr_status (*open)(const struct adapter_request *request, struct adapter_session **out,
			       struct hr_err *err);
	/* Reads everything that the source names. HR_OK only when the answer was whole. */
	enum hr_status (*read)(struct adapter_session *session, adapter_entry_fn *fn, void *arg,
			       struct hr_err *err);
	void (*close)(struct adapter_session *session);
	const char *(*url)(
		const struct adapter_session *session); /* which one answered; borrowed */
};

const struct adapter *adapter_find(const char *kind); /* NULL: there is none */

extern const struct adapter adapter_openldap, adapter_activedirectory;
