# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# hedgerow domain: federated e-mail domains

commands <<'TABLE'
domain add|call|DOMAIN !--forest=|add_domain|grant an e-mail domain to a forest
domain remove|call|DOMAIN --forest= --force|remove_domain|withdraw the grant
domain mail add|call|DOMAIN --carrier= --chat-domain= --smarthost= --port= --tls= --ca= --username= --secret= --from=:from_address --reply-key= --reply-key-previous= --reply-life= --authserv-id= --relay*=:relays --mode= --away= --digest= --hourly= --language*=:languages --attachments= --originals= --outsiders=|add_mail_domain|set up the mail of an e-mail domain, or name the site that carries it
domain mail set|change|DOMAIN FIELD=VALUE...|mail_domain|change fields of it
domain mail remove|call|DOMAIN|remove_mail_domain|end it
domain mail list|show||SELECT site, domain, carrier, chat_domain, smarthost, port, tls, from_address, mode, away, outsiders FROM hedgerow.mail_domains|how the mail of e-mail domains is carried, at all sites
domain list|show||SELECT * FROM hedgerow.domains|federated e-mail domains
TABLE
