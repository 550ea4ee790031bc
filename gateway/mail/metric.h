/* SPDX-License-Identifier: Apache-2.0 */
/* What the mail edge counts. */
#pragma once

#include "base/metric.h"

enum mail_metric {
	MAIL_SENT,
	MAIL_MESSAGES_OUT,
	MAIL_DEFERRED,
	MAIL_REFUSED,
	MAIL_SUPPRESSED,
	MAIL_AWAY,
	MAIL_RECEIVED,
	MAIL_RECEIVED_REFUSED,
	MAIL_RECEIVED_DROPPED,
	MAIL_REPORTS,
	MAIL_SESSIONS,
	MAIL_HELD,
	MAIL_CROWDED,
	MAIL_METRICS
};
extern struct metric mail_metrics[MAIL_METRICS];
