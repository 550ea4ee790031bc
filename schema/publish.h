/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing a forest into the registry: its runs, one after the other, over one blocking
 * connection that belongs to one thread at a time. What a run does to the registry is said in
 * schema/sql/0002-sync-tables.sql. */
#pragma once

#include "schema/plan.h"
#include "schema/source.h"

struct publish_values {
	const struct slice *at;
	size_t n;
};

/* One entry. Texts are valid UTF-8 without NUL: entry.h sees to it. */
struct publish_entry {
	struct slice anchor, dn;       /* dn.data NULL: unknown */
	struct publish_values refused; /* "attribute: reason" of each value that is not here */
	const struct publish_values
		*attributes; /* attribute_count of them, in the source's order */
};

struct publish_result {
	int64_t run;
	enum publish_kind kind;
	char state[16]; /* applied, unchanged, previewed, held, failed */
	int64_t read, skipped, added, changed, readdressed, removed, disabled, kept, refused;
	bool wants_full; /* of a changes run: it left removals and the like to a full run */
	char why[256];	 /* it was held or has failed; else empty */
};

struct publish;

/* Connects, takes the forest's lease for as long as `*out` lives and reads its source. `database`
 * is a conninfo; all texts are borrowed for the life of *out. HR_NONE: another daemon has the
 * lease. HR_RETRY: the database cannot be reached now. HR_FAIL: it refused. */
HR_MUST_USE enum hr_status publish_open(const char *database, const char *forest, const char *node,
					struct publish **out, struct hr_err *err);
void publish_free(struct publish *publish); /* a run not ended counts as failed; NULL is fine */
DEFINE_SCOPED(publish)
/* As last read by publish_open or publish_begin; its cursors are borrowed until the next. When a
 * publish_begin finds another fingerprint this is another source, and the one before stays as it
 * was, for who still uses it, until that happens once more. */
const struct publish_source *publish_source(const struct publish *publish);
/* While nothing is asked: when this is readable, publish_check says whether the connection, and
 * with it the lease, is still there. HR_RETRY: it is not; free and open again. */
int publish_fd(const struct publish *publish);
HR_MUST_USE enum hr_status publish_check(struct publish *publish, struct hr_err *err);

/* Begins a run, and reads the source anew; `draft` (of a dry run only): by the draft of the
 * mapping. HR_NONE, of PUBLISH_CHANGES only: the source is another than before, nothing has begun;
 * what was gathered by the old one must be gathered again. Else as publish_open; after HR_RETRY the
 * connection, and with it the lease, may be gone: free and open again. */
HR_MUST_USE enum hr_status publish_begin(struct publish *publish, enum publish_kind kind,
					 bool draft, struct hr_err *err);
/* Stages an entry, or an anchor that is gone (of a changes run only; one that is not known is
 * fine): not `proven`, it is left to a full run. The row is sent when enough have come. Of an
 * anchor staged twice the last counts. After a failure the run can only be failed or freed. */
HR_MUST_USE enum hr_status publish_add(struct publish *publish, const struct publish_entry *entry,
				       struct hr_err *err);
HR_MUST_USE enum hr_status publish_gone(struct publish *publish, struct slice anchor, bool proven,
					struct hr_err *err);
/* The answer is whole: maps, compares, guards and applies it, and stores `cursors` (one a context
 * that was read), in one transaction. A run that is only previewed, or failed, stores
 * none; one that is held does: what it holds is for the full run that the decision asks for. */
HR_MUST_USE enum hr_status publish_finish(struct publish *publish,
					  const struct publish_cursor *cursors, size_t n,
					  struct publish_result *out, struct hr_err *err);
/* Ends the run without touching anybody and writes down why. */
HR_MUST_USE enum hr_status publish_fail(struct publish *publish, const struct hr_err *why,
					struct publish_result *out, struct hr_err *err);

/* Calls fn with up to `most` refusals that are new with this run, once it has ended. */
typedef void publish_refusal_fn(void *arg, struct slice anchor, struct slice reason);
HR_MUST_USE enum hr_status publish_refusals(struct publish *publish, int most,
					    publish_refusal_fn *fn, void *arg, struct hr_err *err);
