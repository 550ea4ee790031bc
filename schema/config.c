/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/config.h"

enum { TEXTS_MAX = 15, NUMBERS_MAX = 8, MORE_MAX = 256 };

static const struct pg_statement load_statement = {
	"config_load", "SELECT kind, texts, numbers, more FROM hedgerow.gateway_config()"
};
enum { KIND, TEXTS, NUMBERS, MORE };

/* One row of the answer, whatever its kind. */
struct row {
	struct slice texts[TEXTS_MAX];
	int64_t numbers[NUMBERS_MAX];
	struct slice more[MORE_MAX];
	size_t more_count;
};

static char *text_dup(struct slice text)
{
	return text.data ? mem_dup(text.data, text.len) : NULL;
}

static char **list_dup(const struct slice *items, size_t n)
{
	char **list = mem_array(char *, n + 1);

	for (size_t i = 0; i < n; i++)
		list[i] = text_dup(items[i]);
	return list;
}

/* `numbers` are message_expiry, is_local and the number of endpoints in `more`; keys follow them.
 */
static void fill_site(void *target, const struct row *row)
{
	struct config_site *site = target;
	size_t endpoints = (size_t)row->numbers[2];

	if (endpoints > row->more_count)
		endpoints = row->more_count;
	site->name = text_dup(row->texts[0]);
	site->message_expiry_ms = row->numbers[0];
	site->is_local = row->numbers[1] != 0;
	site->endpoints = list_dup(row->more, endpoints);
	site->public_keys = list_dup(row->more + endpoints, row->more_count - endpoints);
}

static void fill_link(void *target, const struct row *row)
{
	struct config_link *link = target;

	link->site = text_dup(row->texts[0]);
	link->peer = text_dup(row->texts[1]);
	link->dialer = text_dup(row->texts[2]);
	link->cost = (int32_t)row->numbers[0];
}

static void fill_installation(void *target, const struct row *row)
{
	struct config_installation *installation = target;

	installation->name = text_dup(row->texts[0]);
	installation->site = text_dup(row->texts[1]);
	installation->forest = text_dup(row->texts[2]);
	installation->software = text_dup(row->texts[3]);
	installation->native_domain = text_dup(row->texts[4]);
	installation->host = text_dup(row->texts[5]);
	installation->secret = text_dup(row->texts[6]);
	installation->ca = text_dup(row->texts[7]);
	installation->port = (int32_t)row->numbers[0];
	installation->tls = row->numbers[1] != 0;
}

static void fill_domain(void *target, const struct row *row)
{
	struct config_domain *domain = target;

	domain->name = text_dup(row->texts[0]);
}

static void fill_rule(void *target, const struct row *row)
{
	struct config_rule *rule = target;

	rule->from = text_dup(row->texts[0]);
	rule->to = text_dup(row->texts[1]);
	rule->kind = text_dup(row->texts[2]);
	rule->allow = slice_is(row->texts[3], "allow");
	rule->reason = text_dup(row->texts[4]);
	rule->priority = (int32_t)row->numbers[0];
}

static enum config_mail_mode mode_of(struct slice text)
{
	return slice_is(text, "full")	  ? MAIL_FULL
	       : slice_is(text, "notice") ? MAIL_NOTICE
					  : MAIL_OFF;
}

/* `more` is the languages, of which numbers[6] says how many, then the relays. */
static void fill_mail(void *target, const struct row *row)
{
	struct config_mail *mail = target;
	size_t languages = (size_t)row->numbers[6];
	char **const texts[] = {
		&mail->domain,	    &mail->site,    &mail->carrier,   &mail->chat_domain,
		&mail->host,	    NULL /* tls */, &mail->ca,	      &mail->username,
		&mail->secret,	    &mail->from,    &mail->reply_key, &mail->reply_key_previous,
		&mail->authserv_id,
	};

	for (size_t i = 0; i < countof(texts); i++)
		if (texts[i])
			*texts[i] = text_dup(row->texts[i]);
	mail->tls = slice_is(row->texts[5], "none")  ? CONFIG_TLS_NONE
		    : slice_is(row->texts[5], "tls") ? CONFIG_TLS_ALWAYS
						     : CONFIG_TLS_STARTTLS;
	mail->mode = mode_of(row->texts[13]);
	mail->names_attachments = !slice_is(row->texts[14], "refuse");
	mail->port = (int32_t)row->numbers[0];
	mail->reply_life_ms = row->numbers[1];
	mail->away_ms = row->numbers[2];
	mail->digest = (int32_t)row->numbers[3];
	mail->hourly = (int32_t)row->numbers[4];
	mail->outsiders = row->numbers[5] != 0;
	mail->keeps_originals = row->numbers[7] != 0;
	if (languages > row->more_count)
		languages = row->more_count;
	mail->languages = list_dup(row->more, languages);
	mail->relays = list_dup(row->more + languages, row->more_count - languages);
}

/* The kinds of rows that are arrays in struct config. */
#define PLACE(field, count_field, type, fill_fn)                                     \
	{                                                                            \
		.array = offsetof(struct config, field),                             \
		.count = offsetof(struct config, count_field), .size = sizeof(type), \
		.fill = (fill_fn)                                                    \
	}
static const struct place {
	const char *kind;
	struct {
		size_t array, count, size;
		void (*fill)(void *target, const struct row *row);
	} to;
} places[] = {
	{ "site", PLACE(sites, site_count, struct config_site, fill_site) },
	{ "link", PLACE(links, link_count, struct config_link, fill_link) },
	{ "installation",
	  PLACE(installations, installation_count, struct config_installation, fill_installation) },
	{ "domain", PLACE(domains, domain_count, struct config_domain, fill_domain) },
	{ "rule", PLACE(rules, rule_count, struct config_rule, fill_rule) },
	{ "mail", PLACE(mails, mail_count, struct config_mail, fill_mail) },
};

static const struct place *find_place(struct slice kind)
{
	for (size_t i = 0; i < countof(places); i++)
		if (slice_is(kind, places[i].kind))
			return &places[i];
	return NULL;
}

static void read_row(const PGresult *result, int at, struct row *row)
{
	pg_texts(result, at, TEXTS, row->texts, TEXTS_MAX);
	pg_bigints(result, at, NUMBERS, row->numbers, NUMBERS_MAX);
	row->more_count = pg_texts(result, at, MORE, row->more, MORE_MAX);
	if (row->more_count > MORE_MAX)
		row->more_count = MORE_MAX;
}

/* Makes each array as long as its kind has rows, and sets the counts back to 0. */
static void make_room(struct config *config, const PGresult *result)
{
	for (size_t i = 0; i < countof(places); i++) {
		size_t n = 0;

		for (int at = 0; at < PQntuples(result); at++)
			n += slice_is(pg_text(result, at, KIND), places[i].kind);
		*(void **)((char *)config + places[i].to.array) =
			mem_array_alloc(n + 1, places[i].to.size);
	}
}

/* FNV-1a over the cells, each after its length. A new snapshot is compared with the last one only,
 * and by its own site: nobody gains by a collision. */
static uint64_t digest_of(const PGresult *result)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	for (int at = 0; at < PQntuples(result) * PQnfields(result); at++) {
		int row = at / PQnfields(result), column = at % PQnfields(result);
		int len = PQgetlength(result, row, column);
		const char *value = PQgetvalue(result, row, column);

		digest = (digest ^ (uint64_t)len) * UINT64_C(0x100000001b3);
		for (int i = 0; i < len; i++)
			digest = (digest ^ (unsigned char)value[i]) * UINT64_C(0x100000001b3);
	}
	return digest;
}

static struct config *read_config(const PGresult *result)
{
	struct config *config = mem_new(struct config);

	make_room(config, result);
	config->digest = digest_of(result);
	for (int at = 0; at < PQntuples(result); at++) {
		struct slice kind = pg_text(result, at, KIND);
		const struct place *place = find_place(kind);
		struct row row = { 0 };

		read_row(result, at, &row);
		if (place) {
			char *array = *(char **)((char *)config + place->to.array);
			size_t *count = (size_t *)((char *)config + place->to.count);

			place->to.fill(array + *count * place->to.size, &row);
			(*count)++;
		} else if (slice_is(kind, "local")) {
			config->local_site = text_dup(row.texts[0]);
		}
	}
	return config;
}

struct load {
	config_fn *fn;
	void *arg;
};

static void loaded(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err)
{
	struct load load = *(struct load *)arg;
	struct hr_err missing;

	free(arg);
	if (status != HR_OK) {
		load.fn(load.arg, status, NULL, err);
		return;
	}
	scoped(config) config = read_config(result);

	if (!config->local_site) {
		status = err_set(&missing, HR_FAIL,
				 "the database has no site yet: hedgerow site init NAME");
		load.fn(load.arg, status, NULL, &missing);
		return;
	}
	load.fn(load.arg, HR_OK, give(config), err);
}

void config_load(struct pg *pg, config_fn *fn, void *arg)
{
	struct load *load = mem_new(struct load);

	*load = (struct load){ fn, arg };
	pg_send_owned(pg, &load_statement, NULL, loaded, load);
}

static void list_free(char **list)
{
	for (char **at = list; at && *at; at++)
		free(*at);
	free(list);
}

static void sites_free(struct config *config)
{
	for (size_t i = 0; i < config->site_count; i++) {
		free(config->sites[i].name);
		list_free(config->sites[i].endpoints);
		list_free(config->sites[i].public_keys);
	}
	free(config->sites);
}

static void links_free(struct config *config)
{
	for (size_t i = 0; i < config->link_count; i++) {
		free(config->links[i].site);
		free(config->links[i].peer);
		free(config->links[i].dialer);
	}
	free(config->links);
}

static void installations_free(struct config *config)
{
	for (size_t i = 0; i < config->installation_count; i++) {
		struct config_installation *installation = &config->installations[i];

		free(installation->name);
		free(installation->site);
		free(installation->forest);
		free(installation->software);
		free(installation->native_domain);
		free(installation->host);
		free(installation->secret);
		free(installation->ca);
	}
	free(config->installations);
}

static void rules_free(struct config *config)
{
	for (size_t i = 0; i < config->rule_count; i++) {
		free(config->rules[i].from);
		free(config->rules[i].to);
		free(config->rules[i].kind);
		free(config->rules[i].reason);
	}
	free(config->rules);
}

static void mails_free(struct config *config)
{
	for (size_t i = 0; i < config->mail_count; i++) {
		struct config_mail *mail = &config->mails[i];

		free(mail->domain);
		free(mail->site);
		free(mail->carrier);
		free(mail->chat_domain);
		free(mail->from);
		free(mail->host);
		free(mail->ca);
		free(mail->username);
		free(mail->secret);
		free(mail->reply_key);
		free(mail->reply_key_previous);
		free(mail->authserv_id);
		list_free(mail->relays);
		list_free(mail->languages);
	}
	free(config->mails);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	sites_free(config);
	links_free(config);
	installations_free(config);
	for (size_t i = 0; i < config->domain_count; i++)
		free(config->domains[i].name);
	free(config->domains);
	rules_free(config);
	mails_free(config);
	free(config->local_site);
	free(config);
}

const struct config_site *config_find_site(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->site_count; i++)
		if (strcmp(config->sites[i].name, name) == 0)
			return &config->sites[i];
	return NULL;
}

const struct config_installation *config_find_installation(const struct config *config,
							   struct slice name)
{
	for (size_t i = 0; i < config->installation_count; i++)
		if (slice_is(name, config->installations[i].name) &&
		    strcmp(config->installations[i].site, config->local_site) == 0)
			return &config->installations[i];
	return NULL;
}

static const struct config_mail *find_mail_row(const struct config *config, const char *site,
					       struct slice domain)
{
	for (size_t i = 0; i < config->mail_count; i++)
		if (slice_is(domain, config->mails[i].domain) &&
		    strcmp(config->mails[i].site, site) == 0)
			return &config->mails[i];
	return NULL;
}

const struct config_mail *config_find_mail(const struct config *config, const char *site,
					   struct slice domain)
{
	const struct config_mail *row = find_mail_row(config, site, domain);

	if (row && strcmp(row->carrier, site) != 0)
		row = find_mail_row(config, row->carrier, domain);
	return row && strcmp(row->carrier, row->site) == 0 ? row : NULL;
}

bool config_is_linked(const struct config *config, const char *peer)
{
	bool ours = false, theirs = false;

	for (size_t i = 0; i < config->link_count; i++) {
		const struct config_link *link = &config->links[i];

		ours = ours || (strcmp(link->site, config->local_site) == 0 &&
				strcmp(link->peer, peer) == 0);
		theirs = theirs || (strcmp(link->site, peer) == 0 &&
				    strcmp(link->peer, config->local_site) == 0);
	}
	return ours && theirs;
}
