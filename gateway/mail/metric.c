/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/metric.h"

struct metric mail_metrics[MAIL_METRICS] = {
	[MAIL_SENT] = { "mail_sent_total", "Mails that smarthosts took", 0, false },
	[MAIL_MESSAGES_OUT] = { "mail_messages_out_total", "Messages in them", 0, false },
	[MAIL_DEFERRED] = { "mail_deferred_total", "Mails deferred by a 4xx or an hourly bound", 0,
			    false },
	[MAIL_REFUSED] = { "mail_refused_total", "Mails that smarthosts refused for good", 0,
			   false },
	[MAIL_SUPPRESSED] = { "mail_suppressed_total",
			      "Messages not mailed: nothing to say, or not wanted", 0, false },
	[MAIL_AWAY] = { "mail_away_total", "Attempts that reached no smarthost", 0, false },
	[MAIL_RECEIVED] = { "mail_received_total", "Mails that became chat, by recipient", 0,
			    false },
	[MAIL_RECEIVED_REFUSED] = { "mail_received_refused_total",
				    "Recipients and mails refused by LMTP", 0, false },
	[MAIL_RECEIVED_DROPPED] = { "mail_received_dropped_total",
				    "Automatic mails taken and not answered", 0, false },
	[MAIL_REPORTS] = { "mail_reports_total", "Delivery reports that became errors", 0, false },
	[MAIL_HELD] = { "mail_bytes_held", "Bytes of mails that LMTP is taking", 0, true },
	[MAIL_CROWDED] = { "mail_crowded_total", "Mails put off by LMTP for want of room", 0,
			   false },
	[MAIL_SESSIONS] = { "mail_sessions", "LMTP connections that are open", 0, true },
};
