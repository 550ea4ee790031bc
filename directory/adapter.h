/* SPDX-License-Identifier: Apache-2.0 */
/* What reads a directory. One adapter a kind, each one file with one such table; whoever reads asks
 * adapter_find and knows none of them by name. Called on a thread of the forest's own: adapters may
 * block, but every wait of theirs has a deadline and ends when the daemon does.
 *
 * A session is of one naming context. What is read whole is followed from the position that `read`
 * gave; a position may be kept and given to the `changes` of another session, days later. */
#pragma once

#include "base/err.h"
#include "directory/entry.h"
#include "directory/stop.h"

struct failover;

/* All borrowed for the life of the session. */
struct adapter_request {
	const struct publish_source *source;
	const struct publish_context *context; /* one of the source's */
	const char *secrets;		       /* directory of secret files */
	const struct stop *stop;	       /* set: give up with HR_RETRY */
	struct failover *failover;	       /* which of the context's URLs comes first */
	bool hurry; /* it has not answered of late, and others wait: it gets little time to */
};

/* Takes what is read, borrowed for the call. Anything but HR_OK ends the reading with that status.
 */
struct adapter_sink {
	enum hr_status (*entry)(void *arg, const struct publish_entry *entry, struct hr_err *err);
	/* Only called by `changes`: of a whole reading, who is not read is gone. */
	enum hr_status (*gone)(void *arg, struct slice anchor, struct hr_err *err);
	void *arg;
};

/* Why a directory cannot say what has changed. */
enum adapter_doubt {
	ADAPTER_REFUSED,   /* the position is not taken, or not of this server as it is now */
	ADAPTER_FORGOTTEN, /* the directory no longer knows who has gone since then */
	ADAPTER_TOO_MANY,  /* more has changed than can be read one by one */
	ADAPTER_MOVED,	   /* a unit or a group has, and with it who is in it, unnamed */
	ADAPTER_REPLACED,  /* the file is another one */
};

/* What is to be seen of a session; an adapter's own has it in front. */
struct adapter_session {
	int fd;		 /* readable: changes are to be asked for, else at the poll interval */
	const char *url; /* who answers; borrowed from the source */
	/* What the directory or our account does not allow, so that some changes are seen by a full
	 * run only; NULL: nothing. Known once changes were asked for. Owned. */
	char *limits;
	enum adapter_doubt doubt; /* after HR_UNSURE of `changes` */
};

enum { ADAPTER_FIND = 100 };

struct adapter {
	const char *kind; /* of publish_source */
	bool only_whole;  /* that `changes` cannot say what has changed is its way, not a fault */
	/* Connects and authenticates. HR_RETRY: nobody answers as they should. HR_FAIL: a wrong
	 * password, an unusable certificate file: somebody must act. */
	enum hr_status (*open)(const struct adapter_request *request, struct adapter_session **out,
			       struct hr_err *err);
	/* Gives the sink everything that the source names, and in *position, to be cleared, from
	 * where its changes are to be followed: nothing that changes after the reading has begun is
	 * missed. HR_OK only when the answer was whole. */
	enum hr_status (*read)(struct adapter_session *session, const struct adapter_sink *sink,
			       struct publish_cursor *position, struct hr_err *err);
	/* Gives the sink what has changed since *position and is here already, some thousand at
	 * most, and moves *position past it; never waits for changes. HR_OK: there may be more, ask
	 * again. HR_NONE: that was all; the position may have moved all the same. HR_UNSURE: the
	 * directory cannot say what has changed, as `doubt` and err tell: only reading everything
	 * can; what the sink got is good. Else the session is to be closed. */
	enum hr_status (*changes)(struct adapter_session *session, const struct adapter_sink *sink,
				  struct publish_cursor *position, struct hr_err *err);
	/* Gives the sink's `entry` those of n anchors, ADAPTER_FIND at most, that are there now.
	 * NULL: `changes` never calls `gone`. */
	enum hr_status (*find)(struct adapter_session *session, const struct slice *anchors,
			       size_t n, const struct adapter_sink *sink, struct hr_err *err);
	void (*close)(struct adapter_session *session); /* NULL is fine */
};

const struct adapter *adapter_find(const char *kind); /* NULL: there is none */

extern const struct adapter adapter_activedirectory, adapter_ldif, adapter_openldap;
