/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of a mail is, by what mail clients write around a reply, in the languages that they
 * speak. Private to quote.c. */
#pragma once

#include "base/slice.h"

enum quote_line {
	QUOTE_LINE_TEXT,
	QUOTE_LINE_BLANK,
	QUOTE_LINE_OURS,      /* the mark of a mail that we sent: gateway/mail/compose.h */
	QUOTE_LINE_WRAPPER,   /* HTML_QUOTE_MARK */
	QUOTE_LINE_SIGNATURE, /* "-- ", HTML_SIGNATURE_MARK */
	QUOTE_LINE_ORIGINAL,  /* "-----Original Message-----" */
	QUOTE_LINE_FORWARD,   /* "---------- Forwarded message ---------" */
	QUOTE_LINE_RULE,      /* "________________________________" */
};

/* `line` without quotes before it and spaces after it. */
enum quote_line quote_line_kind(struct slice line);

/* Labels of the little header that Outlook and others put above what they quote. */
enum quote_label {
	QUOTE_LABEL_NONE,
	QUOTE_LABEL_FROM,
	QUOTE_LABEL_DATE,
	QUOTE_LABEL_TO,
	QUOTE_LABEL_SUBJECT,
	QUOTE_LABELS
};
enum quote_label quote_line_label(struct slice line);

/* "On Monday Ada wrote:". Sure: also by how it begins, so that nothing need follow it. */
enum quote_attribution { QUOTE_ATTRIBUTION_NO, QUOTE_ATTRIBUTION_LIKELY, QUOTE_ATTRIBUTION_SURE };
enum quote_attribution quote_line_attribution(struct slice paragraph);

/* "Sent from my iPhone" */
bool quote_line_is_advert(struct slice line);
