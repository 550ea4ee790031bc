/* SPDX-License-Identifier: Apache-2.0 */
/* The secret half of the CURVE key of a gateway's links (Z85, 40 characters), in a file of the
 * secrets directory. */
#pragma once

#include "base/err.h"

/* The key, to be freed with secret_free. Without the file a key is made that no site knows: enough
 * for a site without links. HR_FAIL: as secret_read, or it has not the length of a key. */
HR_MUST_USE enum hr_status key_file_read(const char *directory, const char *name, char **out,
					 struct hr_err *err);

/* Makes a key pair: the secret into a new file (mode 0600), the public key to *public_key (owned).
 * HR_FAIL: the file exists, or can't be written. */
HR_MUST_USE enum hr_status key_file_make(const char *path, char **public_key, struct hr_err *err);
