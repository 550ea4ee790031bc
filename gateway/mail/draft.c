/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/draft.h"

#include "base/secret.h"
#include "federation/email.h"

enum hr_status draft_write(const struct letter *letter, const char *secrets, struct draft *out,
			   struct hr_err *err)
{
	const struct config_mail *mail = letter->mail;
	struct letter signing = *letter;
	scoped_secret key = NULL;

	if (secret_read(secrets, mail->reply_key, &key, err) != HR_OK ||
	    (mail->secret && secret_read(secrets, mail->secret, &out->password, err) != HR_OK))
		return err->status = HR_RETRY;
	signing.keys = &(struct reply_keys){ .current = slice_str(key) };
	if (letter_reply_to(&signing, &out->from, err) != HR_OK) {
		err->status = HR_RETRY; /* the key is too short */
		return err_add(err, "secret %s", mail->reply_key);
	}
	email_of_address(slice_str(letter->to->address), &out->to);
	return letter_write(&signing, &out->bytes, &out->is_utf8, err);
}

void draft_clear(struct draft *draft)
{
	buf_free(&draft->from);
	buf_free(&draft->to);
	buf_free(&draft->bytes);
	secret_free(draft->password);
	*draft = (struct draft){ 0 };
}
