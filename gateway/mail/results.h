/* SPDX-License-Identifier: Apache-2.0 */
/* One Authentication-Results field (RFC 8601): which checks an MTA made, and what came out. Pure.
 */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

enum { RESULTS_MAX = 64, RESULTS_PROPERTIES_MAX = 16, RESULTS_VALUE_MAX = 16 * 1024 };

struct results_property {
	char *name;  /* lower case: "header.from" */
	char *value; /* without quotes */
};

struct results_check {
	char *method;						    /* lower case: "dkim" */
	char *outcome;						    /* lower case: "pass" */
	struct results_property properties[RESULTS_PROPERTIES_MAX]; /* more are not kept */
	size_t property_count;
};

struct results {
	struct results_check *checks; /* owned */
	size_t count;
};

/* Is it the word of that MTA, as far as it can be read? */
bool results_are_of(struct slice value, const char *authserv_id);
/* HR_FAIL: not the value of such a field, or a bound is passed. */
HR_MUST_USE enum hr_status results_parse(struct slice value, struct results **out,
					 struct hr_err *err);
void results_free(struct results *results); /* NULL is fine */
DEFINE_SCOPED(results)
/* NULL: it has no property of that name. */
const char *results_property(const struct results_check *check, const char *name);
