/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of Active Directory that have changed, read again as they are now. */
#pragma once

#include "directory/guids.h"
#include "directory/reader.h"

struct reread {
	struct server *server;
	struct reader *reader;
	const struct server_search *search; /* of who is published */
	const char *root;		    /* of the naming context */
	const char *containers;		    /* filter of objects that others are in */
};

/* Gives the sink those that are below the base and match the filter, and as gone the others.
 * `changed` is settled here. HR_UNSURE: others have changed with one of them. */
HR_MUST_USE enum hr_status reread(const struct reread *how, struct guids *changed,
				  const struct adapter_sink *sink, struct hr_err *err);
