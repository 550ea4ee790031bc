/* SPDX-License-Identifier: Apache-2.0 */
/* Who a mail is believed to be from, as somebody who may write into the chat of an e-mail domain.
 */
#pragma once

#include "base/err.h"
#include "schema/config.h"
#include "schema/people.h"

/* `from`: the address that is vouched for; `person`: whose it is, NULL: nobody's. *out: the
 * federation address under which the mail appears, owned by the caller. HR_FAIL: err says why they
 * may not. */
HR_MUST_USE enum hr_status author_admit(const struct config *config, const struct config_mail *mail,
					const struct person *person, struct slice from, char **out,
					struct hr_err *err);
