/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/choice.h"

#include "base/log.h"
#include "schema/mail.h"

struct asking {
	struct asking *next;
	uint64_t serial;
	choice_fn *fn; /* NULL: forgotten */
	void *arg;
	const void *owner;
};

struct choices {
	struct pg *pg;
	struct asking *first;
	uint64_t last_serial;
};

/* What the answer brings back. */
struct ticket {
	struct choices *choices;
	uint64_t serial;
};

static void asking_free(struct asking *asking)
{
	free(asking->arg);
	free(asking);
}

static void answered(void *arg, enum hr_status status, struct slice mode, const struct hr_err *err)
{
	const struct ticket *ticket = arg;
	struct asking **at = &ticket->choices->first;

	while (*at && (*at)->serial != ticket->serial)
		at = &(*at)->next;
	if (status == HR_FAIL) /* else the connection is gone, which is logged */
		log_error("mail.choice_failed", LOG_ERR(err));
	if (!*at)
		return;

	struct asking *asking = *at;

	*at = asking->next;
	if (asking->fn)
		asking->fn(asking->arg, status == HR_OK ? HR_OK : HR_RETRY, mode);
	asking_free(asking);
}

void choices_ask(struct choices *choices, struct slice address, struct slice mode, choice_fn *fn,
		 void *arg, const void *owner)
{
	struct asking *asking = mem_new(struct asking);
	struct ticket ticket = { choices, ++choices->last_serial };

	*asking = (struct asking){ choices->first, ticket.serial, fn, arg, owner };
	choices->first = asking;
	if (mode.data)
		mail_choose(choices->pg, address, mode, answered, &ticket, sizeof ticket);
	else
		mail_chosen(choices->pg, address, answered, &ticket, sizeof ticket);
}

void choices_forget(struct choices *choices, const void *owner)
{
	for (struct asking *asking = choices->first; asking; asking = asking->next)
		if (asking->owner == owner)
			asking->fn = NULL;
}

struct choices *choices_new(struct pg *pg)
{
	struct choices *choices = mem_new(struct choices);

	choices->pg = pg;
	return choices;
}

void choices_free(struct choices *choices)
{
	while (choices && choices->first) {
		struct asking *asking = choices->first;

		choices->first = asking->next;
		asking_free(asking);
	}
	free(choices);
}
