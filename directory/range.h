/* SPDX-License-Identifier: Apache-2.0 */
/* The range option of an attribute description: Active Directory gives many values in parts, as
 * "member;range=0-1499", and the last as "member;range=1500-*" (MS-ADTS 3.1.1.3.1.3.3). Pure. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct range {
	struct slice name; /* the description without the option; of the description's bytes */
	uint32_t next;	   /* where the following part begins; 0: there is none */
};

/* HR_FAIL: it has the option, but not as it must be. Other options stay with the name. */
HR_MUST_USE enum hr_status range_parse(struct slice description, struct range *out,
				       struct hr_err *err);
