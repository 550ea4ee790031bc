/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/author.h"

#include "base/buf.h"
#include "federation/address.h"
#include "federation/email.h"

/* Whether this site may speak for them: they are at home here, or their mail is carried here. */
static bool may_speak(const struct config *config, const struct person *person)
{
	const struct config_mail *mail = config_find_mail(
		config, person->site, address_text_domain(slice_str(person->address)));

	return strcmp(person->site, config->local_site) == 0 ||
	       (mail && strcmp(mail->carrier, config->local_site) == 0);
}

enum hr_status author_admit(const struct config *config, const struct config_mail *mail,
			    const struct person *person, struct slice from, char **out,
			    struct hr_err *err)
{
	scoped_buf address = BUF_INIT(0);

	if (person && !person->enabled)
		return err_set(err, HR_FAIL, "the author's account is disabled");
	if (person && !may_speak(config, person))
		return err_set(err, HR_FAIL, "the author's mail is carried by another site");
	if (!person && !mail->outsiders)
		return err_set(err, HR_FAIL, "only people of the federation may write here");
	if (person)
		buf_add_str(&address, person->address);
	else
		email_outsider(from, mail->domain, &address);
	*out = str_dup(buf_text(&address));
	return HR_OK;
}
