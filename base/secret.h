/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the secrets directory. SQL and INI files know their names; only their content is secret.
 * What was read is overwritten before it is freed. */
#pragma once

#include "base/err.h"
#include "base/mem.h"

enum { SECRET_BYTES = 4096 };

/* The first line of the file, without its end, in *out, to be freed with secret_free. HR_FAIL: no
 * secrets directory (NULL), no such file, not readable, empty, longer than SECRET_BYTES, or a name
 * with a slash or a dot in front. Does not block. */
HR_MUST_USE enum hr_status secret_read(const char *directory, const char *name, char **out,
				       struct hr_err *err);
void secret_free(char *secret); /* overwrites the text first; NULL is fine */
/* The path of a file in the directory, owned by the caller. HR_FAIL as above, when it cannot be
 * read. */
HR_MUST_USE enum hr_status secret_path(const char *directory, const char *name, char **out,
				       struct hr_err *err);

static inline void secret_scope_end(char **secret)
{
	secret_free(*secret);
}
#define scoped_secret __attribute__((cleanup(secret_scope_end), unused)) char *
