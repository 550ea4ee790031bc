/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link.h"

#include <errno.h>
#include <zmq.h>

enum hr_status link_key_generate(char public_key[41], char secret_key[41], struct hr_err *err)
{
	char public_text[41], secret_text[41];

	if (zmq_curve_keypair(public_text, secret_text) != 0)
		return err_set(err, HR_FAIL, "make a CURVE key: %s", zmq_strerror(errno));
	memcpy(public_key, public_text, sizeof public_text);
	memcpy(secret_key, secret_text, sizeof secret_text);
	return HR_OK;
}
