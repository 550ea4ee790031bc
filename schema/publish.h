/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing a forest into the registry: what is due (asked on the loop), and one run (on a worker
 * thread, over a blocking connection of its own). See schema/sql/0002-publish.sql for what a run
 * does to the registry and which invariants it keeps. */
#pragma once

#include "base/mem.h"
#include "base/pg.h"

/* What is to be done for a forest of the local site. */
struct publish_due {
	struct slice forest;
	msec due_in; /* 0: now */
	bool dry_run;
};

/* status HR_OK: `due` holds one row a forest, borrowed for the call. Otherwise as pg_fn. */
typedef void publish_plan_fn(void *arg, enum hr_status status, const struct publish_due *due,
			     size_t n, const struct hr_err *err);
void publish_plan(struct pg *pg, publish_plan_fn *fn, void *arg);

/* The channels whose notifications mean: ask for the plan again. NULL-terminated. */
extern const char *const publish_channels[];

/* Everything below belongs to one thread at a time and may block. */

struct publish_request {
	const char *database; /* conninfo */
	const char *forest;
	const char *node;
	bool dry_run;
};

/* Where the forest is read from: its row in the registry when the run began. */
struct publish_source {
	char *kind;  /* openldap, activedirectory */
	char **urls; /* tried in order; NULL-terminated */
	char *tls;   /* ldaps, starttls */
	char *ca;    /* name of a file in the secrets directory, or NULL: the system's */
	char *bind_dn;
	char *bind_secret; /* name of a file in the secrets directory */
	char *base_dn, *filter;
	int32_t page_size;
	char **attributes; /* those that the mapping names; NULL-terminated */
	size_t attribute_count;
};

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
	char state[16]; /* applied, unchanged, previewed, held, failed */
	int64_t read, skipped, added, changed, removed, disabled, kept, refused;
	char why[256]; /* it was held or has failed; else empty */
};

struct publish;

/* Connects and begins a run. HR_NONE: another daemon is reading this forest.
 * HR_RETRY: the database cannot be reached now. HR_FAIL: it refused. */
HR_MUST_USE enum hr_status publish_begin(const struct publish_request *request,
					 struct publish **out, struct hr_err *err);
void publish_free(struct publish *publish); /* a run not ended counts as failed; NULL is fine */
DEFINE_SCOPED(publish)
const struct publish_source *publish_source(const struct publish *publish);

/* Stages an entry; the row is sent when enough have come. After a failure the run can only be
 * failed or freed. */
HR_MUST_USE enum hr_status publish_add(struct publish *publish, const struct publish_entry *entry,
				       struct hr_err *err);
/* The answer is whole: maps, compares, guards and applies it in one transaction. */
HR_MUST_USE enum hr_status publish_finish(struct publish *publish, struct publish_result *out,
					  struct hr_err *err);
/* Ends the run without touching anybody and writes down why. */
HR_MUST_USE enum hr_status publish_fail(struct publish *publish, const struct hr_err *why,
					struct publish_result *out, struct hr_err *err);

/* Calls fn with up to `most` refusals that are new with this run, once it has ended. */
typedef void publish_refusal_fn(void *arg, struct slice anchor, struct slice reason);
HR_MUST_USE enum hr_status publish_refusals(struct publish *publish, int most,
					    publish_refusal_fn *fn, void *arg, struct hr_err *err);
