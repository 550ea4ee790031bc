/* SPDX-License-Identifier: Apache-2.0 */
/* One search that refreshes and persists (RFC 4533): it tells of everything, or with a cookie of
 * what has changed since, and then of changes as they happen. One at a time. */
#pragma once

#include "directory/reader.h"

struct persist;

/* All borrowed for the life of it. */
struct persist *persist_new(struct server *server, struct reader *reader);
void persist_free(struct persist *persist); /* NULL is fine */
DEFINE_SCOPED(persist)

/* Begins the search anew. cookie.data NULL: everything. */
HR_MUST_USE enum hr_status persist_begin(struct persist *persist,
					 const struct server_search *search, struct slice cookie,
					 struct hr_err *err);
enum persist_phase { PERSIST_NONE, PERSIST_REFRESH, PERSIST_FOLLOWS };
enum persist_phase persist_phase(const struct persist *persist);

/* Takes the next message: while it refreshes it waits for it. HR_NONE: it follows, and nothing is
 * here. HR_UNSURE: the directory does not say who is gone, or takes the cookie for one of its
 * future, as persist_doubt tells. Of everything, `gone` is not called: who is not told is gone. */
HR_MUST_USE enum hr_status persist_take(struct persist *persist, const struct adapter_sink *sink,
					struct hr_err *err);
/* To be called now and then while it follows. Once, PERSIST_VERIFY_MS after the refresh, it asks
 * who has gone since before that: slapd tells a search only of deletions that began after it, so
 * that one that was under way is in neither part. HR_NONE: it is not the time, or done. */
enum { PERSIST_VERIFY_MS = 1000 };
HR_MUST_USE enum hr_status persist_verify(struct persist *persist,
					  const struct server_search *search,
					  const struct adapter_sink *sink, struct hr_err *err);

enum adapter_doubt persist_doubt(const struct persist *persist); /* after HR_UNSURE */
int64_t persist_entries(const struct persist *persist);		 /* that it has told of */
struct slice persist_cookie(const struct persist *persist);	 /* len 0: none */
/* Whether all that is before the cookie has been told. */
bool persist_is_certain(const struct persist *persist);
