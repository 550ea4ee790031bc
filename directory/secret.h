/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the secrets directory: the registry knows only their names. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

enum { SECRET_BYTES = 4096 };

/* The first line of the file, without its end, in *out, to be freed with secret_free.
 * HR_FAIL: no such file, not readable, empty, longer than SECRET_BYTES, or a name with a slash. */
HR_MUST_USE enum hr_status secret_read(const char *directory, const char *name, char **out,
				       struct hr_err *err);
void secret_free(char *secret); /* of secret_read: overwrites it first; NULL is fine */
/* The path of a file in it. HR_FAIL as above, when it cannot be read. */
HR_MUST_USE enum hr_status secret_path(const char *directory, const char *name, char **out,
				       struct hr_err *err);
