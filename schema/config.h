/* SPDX-License-Identifier: Apache-2.0 */
/* The small federation tables of the registry as one snapshot: sites with keys, links,
 * installations, e-mail domains, rules. */
#pragma once

#include "base/mem.h"
#include "base/pg.h"

struct config_site {
	char *name;
	char **endpoints;   /* tcp://host:port, tried in order; NULL-terminated */
	char **public_keys; /* CURVE, Z85, those valid now; NULL-terminated */
	int64_t message_expiry_ms;
	bool is_local;
};

struct config_link {
	char *site, *peer; /* the row of `site`: its consent to talk to `peer` */
	char *dialer;	   /* which of the two dials */
	int32_t cost;
};

struct config_installation {
	char *name, *site, *forest, *software; /* software: prosody, ejabberd, openfire */
	char *native_domain;
	char *host; /* of the component listener */
	int32_t port;
	char *secret; /* name of a file in the secrets directory */
	bool tls;
	char *ca; /* name of a file in the secrets directory, or NULL: the system's */
};

struct config_domain {
	char *name; /* a federated e-mail domain; once, however many forests share it */
};

struct config_rule {
	int32_t priority; /* the lowest number is asked first */
	char *from, *to;  /* any, forest:X, site:X, domain:X, address:X */
	char *kind;	  /* any, message, presence, iq */
	bool allow;
	char *reason; /* for the sender; may be NULL */
};

enum config_mail_mode { MAIL_OFF, MAIL_NOTICE, MAIL_FULL };

/* The mail of the people of `domain` at `site`. All that follows `carrier` counts in the row of the
 * carrier only. */
struct config_mail {
	char *domain, *site, *carrier;
	char *chat_domain, *from;
	char *host, *ca, *username, *secret; /* smarthost; the last three may be NULL */
	int32_t port;
	enum { CONFIG_TLS_NONE, CONFIG_TLS_STARTTLS, CONFIG_TLS_ALWAYS } tls;
	char *reply_key, *reply_key_previous; /* names of secrets; previous may be NULL */
	int64_t reply_life_ms;
	char *authserv_id; /* NULL: none is believed */
	char **relays;	   /* NULL-terminated, as languages */
	char **languages;
	enum config_mail_mode mode;
	int64_t away_ms; /* 0: never */
	int32_t digest, hourly;
	bool names_attachments; /* else mails that have some are refused */
	bool outsiders;
	bool keeps_originals; /* of mails that become chat, for operators */
};

struct config {
	char *local_site;
	struct config_site *sites;
	size_t site_count;
	struct config_link *links;
	size_t link_count; /* of all sites */
	struct config_installation *installations;
	size_t installation_count; /* of all sites */
	struct config_domain *domains;
	size_t domain_count;
	struct config_rule *rules;
	size_t rule_count; /* of the local site, in order */
	struct config_mail *mails;
	size_t mail_count; /* of all sites */
	uint64_t digest;   /* of all that is above: snapshots with the same one are the same */
};

void config_free(struct config *config); /* NULL is fine */
DEFINE_SCOPED(config)

/* NULL: none. */
const struct config_site *config_find_site(const struct config *config, const char *name);
/* One of the local site. */
const struct config_installation *config_find_installation(const struct config *config,
							   struct slice name);
/* How the mail of people of `domain` at `site` is carried: the row of the carrier. NULL: it isn't.
 */
const struct config_mail *config_find_mail(const struct config *config, const char *site,
					   struct slice domain);
/* Whether the local site and `peer` have both consented to a link. */
bool config_is_linked(const struct config *config, const char *peer);

/* HR_OK: *config is the callee's. Otherwise NULL and err as of pg_fn. */
typedef void config_fn(void *arg, enum hr_status status, struct config *config,
		       const struct hr_err *err);
void config_load(struct pg *pg, config_fn *fn, void *arg);
