/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the secrets directory. SQL and the INI name them; only their content is secret. */
#pragma once

#include "base/err.h"

/* The first line of a file there, at most 4 KiB, into *out (owned). HR_FAIL: no such file, a name
 * with a slash, not readable, empty. */
HR_MUST_USE enum hr_status secret_read(const char *directory, const char *name, char **out,
				       struct hr_err *err);

/* The CURVE secret key of this site's links (40 characters, Z85). Without the file a key is made
 * that no site knows: enough for a site without links. */
HR_MUST_USE enum hr_status secret_link_key(const char *directory, const char *name, char **out,
					   struct hr_err *err);

/* Makes a key pair: the secret into a new file (mode 0600), the public key to *public_key (owned).
 * HR_FAIL: the file exists, or can't be written. */
HR_MUST_USE enum hr_status secret_generate_link_key(const char *path, char **public_key,
						    struct hr_err *err);
