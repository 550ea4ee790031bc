/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/recipient.h"

#include "base/buf.h"
#include "base/secret.h"
#include "federation/address.h"
#include "federation/email.h"
#include "gateway/mail/mailbox.h"
#include "gateway/mail/reply_address.h"

static const struct config_mail *by_chat_domain(const struct config *config, struct slice domain)
{
	for (size_t i = 0; i < config->mail_count; i++) {
		const struct config_mail *mail = &config->mails[i];

		if (strcmp(mail->site, config->local_site) == 0 &&
		    strcmp(mail->carrier, mail->site) == 0 && slice_is(domain, mail->chat_domain))
			return mail;
	}
	return NULL;
}

/* local@domain for local@chat-domain. */
static enum hr_status person_address(struct slice local, const char *domain, char **out,
				     struct hr_err *err)
{
	scoped_address address = { 0 };
	scoped_buf text = BUF_INIT(0);

	email_to_address(local, slice_str(domain), &text);
	if (address_parse(buf_slice(&text), &address, err) != HR_OK)
		return err->status;
	*out = str_dup(address.text);
	return HR_OK;
}

static enum hr_status read_reply_address(const char *directory, struct slice local,
					 const struct config_mail *mail, usec now,
					 struct reply_address *out, struct hr_err *err)
{
	scoped_secret key = NULL;
	scoped_secret previous = NULL;

	if (secret_read(directory, mail->reply_key, &key, err) != HR_OK ||
	    (mail->reply_key_previous &&
	     secret_read(directory, mail->reply_key_previous, &previous, err) != HR_OK)) {
		err_add(err, "the mail of %s", mail->domain);
		return err->status = HR_RETRY;
	}
	return reply_address_read(local, slice_str(mail->chat_domain),
				  &(struct reply_keys){ slice_str(key), slice_str(previous) }, now,
				  out, err);
}

enum hr_status recipient_read(struct slice text, const struct config *config, const char *secrets,
			      usec now, struct recipient *out, struct hr_err *err)
{
	struct recipient made = { 0 };
	struct reply_address reply = { 0 };
	struct mailbox mailbox;
	scoped_address domain = { 0 };

	if (mailbox_parse(text, &mailbox, err) != HR_OK ||
	    address_parse(mailbox.domain, &domain, err) != HR_OK)
		return err->status = HR_FAIL;
	made.mail = by_chat_domain(config, address_full(&domain));
	if (!made.mail)
		return err_set(err, HR_FAIL, "no mail for this domain becomes chat here");
	made.is_reply = reply_address_is(mailbox.local);
	enum hr_status status =
		made.is_reply
			? read_reply_address(secrets, mailbox.local, made.mail, now, &reply, err)
			: person_address(mailbox.local, made.mail->domain, &made.peer, err);
	if (status != HR_OK)
		return status;
	made.thread = reply.thread;
	*out = made;
	return HR_OK;
}
