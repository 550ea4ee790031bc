/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/policy.h"

#include "federation/address.h"
#include "federation/email.h"

#include <strings.h>

/* Names of forests and sites are equal byte by byte; domains and addresses ignore ASCII case, in
 * case a rule was not written in the prepared form. */
static bool is_forest(const struct person *person, const char *name)
{
	return person->forest && strcmp(person->forest, name) == 0;
}

static bool is_site(const struct person *person, const char *name)
{
	return person->site && strcmp(person->site, name) == 0;
}

static bool is_domain(const struct person *person, const char *name)
{
	struct slice domain = address_text_domain(slice_str(person->address));

	return domain.len == strlen(name) && strncasecmp(domain.data, name, domain.len) == 0;
}

static bool is_address(const struct person *person, const char *name)
{
	return strcasecmp(person->address, name) == 0;
}

/* "any", a domain or an address of an outsider's own */
static bool is_outsider(const struct person *person, const char *name)
{
	scoped_buf own = BUF_INIT(0);

	if (strcmp(name, "any") == 0)
		return true;
	email_of_address(slice_str(person->address), &own);

	const char *at = strchr(buf_text(&own), '@');

	return strcasecmp(own.data, name) == 0 || (at && strcasecmp(at + 1, name) == 0);
}

static const struct {
	const char *prefix;
	bool (*matches)(const struct person *person, const char *name);
} patterns[] = {
	{ "forest:", is_forest },   { "site:", is_site },	  { "domain:", is_domain },
	{ "address:", is_address }, { "outsider:", is_outsider },
};

static bool matches(const char *pattern, const struct person *person)
{
	if (person->outsider != (strncmp(pattern, "outsider:", strlen("outsider:")) == 0))
		return false;
	for (size_t i = 0; i < countof(patterns); i++) {
		size_t len = strlen(patterns[i].prefix);
		if (strncmp(pattern, patterns[i].prefix, len) == 0)
			return patterns[i].matches(person, pattern + len);
	}
	return strcmp(pattern, "any") == 0;
}

static bool matches_kind(const char *pattern, enum envelope_kind kind)
{
	return strcmp(pattern, "any") == 0 || strcmp(pattern, envelope_kind_name(kind)) == 0;
}

static bool same_forest(const struct person *a, const struct person *b)
{
	return a->forest && b->forest && strcmp(a->forest, b->forest) == 0;
}

struct policy_answer policy_ask(const struct config *config, const struct policy_question *question)
{
	for (size_t i = 0; i < config->rule_count; i++) {
		const struct config_rule *rule = &config->rules[i];
		if (!matches_kind(rule->kind, question->kind) ||
		    !matches(rule->from, question->from) || !matches(rule->to, question->to))
			continue;
		const char *reason = rule->allow ? "a rule allows it" : "a rule refuses it";
		return (struct policy_answer){ rule->allow, rule->reason ? rule->reason : reason };
	}
	if (same_forest(question->from, question->to))
		return (struct policy_answer){ true, "people of one forest" };
	return (struct policy_answer){ false, "no rule allows it between these forests" };
}
