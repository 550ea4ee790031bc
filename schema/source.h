/* SPDX-License-Identifier: Apache-2.0 */
/* Where a forest is read from, as its rows in the registry say, and how far its changes have been
 * taken. Plain data. */
#pragma once

#include "base/slice.h"
#include "base/time.h"

#include <libpq-fe.h>

/* How far the changes of a naming context have been taken. Texts may be NULL but for base_dn and
 * method. */
struct publish_cursor {
	char *base_dn;
	char *method;		    /* dirsync, usn, syncrepl, file; none: no changes can be had */
	char *server, *incarnation; /* who gave it, and of which life: another's is void */
	int64_t usn;
	struct slice cookie; /* bytes; data NULL: none */
	int64_t entries;     /* that a full run found in this context; ignored of a changes run */
};

/* A domain of an AD forest, a suffix of an OpenLDAP, a file. */
struct publish_context {
	char *base_dn;
	char **urls;		       /* tried in order; NULL-terminated */
	struct publish_cursor *cursor; /* of the last run that was applied; NULL: none yet */
};

/* Where the forest is read from, as its rows in the registry were when last asked. */
struct publish_source {
	char *fingerprint; /* of all that is here but the cursors */
	char *kind;	   /* openldap, activedirectory, ldif */
	char *tls;	   /* ldaps, starttls, plain */
	char *ca;	   /* name of a file in the secrets directory, or NULL: the system's */
	char *bind;	   /* simple, gssapi */
	char *bind_dn;	   /* or the principal; NULL with ldif */
	char *bind_secret; /* name of a file in the secrets directory: password or keytab; NULL with
			      ldif */
	char *filter;
	int32_t page_size;
	msec poll_interval; /* changes are asked for at least so often */
	char **attributes;  /* those that the mapping names; NULL-terminated */
	size_t attribute_count;
	struct publish_context *contexts;
	size_t context_count; /* 1 or more; the forest's own row is first */
};

/* The columns that source_read takes from a row `s`; one row a context. */
extern const char source_columns[];
/* Makes one of the rows of a result, of which `first` is the first column. */
struct publish_source *source_read(const PGresult *result, int first);
void source_free(struct publish_source *source); /* NULL is fine */
/* Between two of the same fingerprint: exchanges the cursors, which are all that may differ. */
void source_swap_cursors(struct publish_source *source, struct publish_source *newer);

void cursor_clear(struct publish_cursor *cursor); /* frees all that is in it, not itself */
/* *out is to be cleared. */
void cursor_copy(const struct publish_cursor *cursor, struct publish_cursor *out);
