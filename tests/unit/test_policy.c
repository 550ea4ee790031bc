/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* String literals for the fields of the snapshot, which owns its texts. */
#define T(text) ((char *)(uintptr_t)(text))

static const struct person ada = { .address = T("ada@example.com"),
				   .site = T("amsterdam"),
				   .forest = T("contoso"),
				   .enabled = true };
static const struct person bob = { .address = T("bob@example.com"),
				   .site = T("boston"),
				   .forest = T("fabrikam"),
				   .enabled = true };
static const struct person cyd = { .address = T("cyd@fabrikam.example"),
				   .site = T("boston"),
				   .forest = T("fabrikam"),
				   .enabled = true };

#define ALLOW(from_, to_, kind_)                                                \
	{                                                                       \
		.from = T(from_), .to = T(to_), .kind = T(kind_), .allow = true \
	}
#define DENY(from_, to_, kind_, reason_)                                               \
	{                                                                              \
		.from = T(from_), .to = T(to_), .kind = T(kind_), .reason = T(reason_) \
	}
enum { RULES_MAX = 3 };

static void the_first_rule_that_matches_decides(void **state)
{
	(void)state;
	static const struct {
		const struct person *from, *to;
		enum envelope_kind kind;
		struct config_rule rules[RULES_MAX];
		bool allow;
	} rows[] = {
		/* no rule: within the forest yes, else no */
		{ &bob, &cyd, ENVELOPE_MESSAGE, {}, true },
		{ &ada, &bob, ENVELOPE_MESSAGE, {}, false },
		/* each kind of pattern, on either side */
		{ &ada, &bob, ENVELOPE_MESSAGE, { ALLOW("any", "any", "any") }, true },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("forest:contoso", "forest:fabrikam", "any") },
		  true },
		{ &bob,
		  &ada,
		  ENVELOPE_IQ,
		  { ALLOW("forest:contoso", "forest:fabrikam", "any") },
		  false },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("site:amsterdam", "site:boston", "any") },
		  true },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("site:amsterdam", "site:sydney", "any") },
		  false },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("domain:example.com", "any", "any") }, true },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("domain:Example.COM", "any", "any") }, true },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("domain:example.co", "any", "any") }, false },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("domain:example.com.au", "any", "any") },
		  false },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("any", "address:bob@example.com", "any") },
		  true },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("any", "address:Bob@example.com", "any") },
		  true },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("any", "address:bo@example.com", "any") },
		  false },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("any", "anybody", "any") }, false },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("any", "", "any") }, false },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("any", "forest:", "any") }, false },
		/* each kind of envelope */
		{ &ada, &bob, ENVELOPE_MESSAGE, { ALLOW("any", "any", "message") }, true },
		{ &ada, &bob, ENVELOPE_PRESENCE, { ALLOW("any", "any", "message") }, false },
		{ &ada, &bob, ENVELOPE_PRESENCE, { ALLOW("any", "any", "presence") }, true },
		{ &ada, &bob, ENVELOPE_IQ, { ALLOW("any", "any", "iq") }, true },
		/* order */
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { DENY("any", "any", "iq", NULL), ALLOW("any", "any", "any") },
		  false },
		{ &ada,
		  &bob,
		  ENVELOPE_MESSAGE,
		  { DENY("any", "any", "iq", NULL), ALLOW("any", "any", "any") },
		  true },
		{ &ada,
		  &bob,
		  ENVELOPE_IQ,
		  { ALLOW("any", "any", "any"), DENY("any", "any", "iq", NULL) },
		  true },
		/* a rule can also part people of one forest */
		{ &bob,
		  &cyd,
		  ENVELOPE_MESSAGE,
		  { DENY("address:bob@example.com", "any", "any", NULL) },
		  false },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct config config = { .rules = (struct config_rule *)(uintptr_t)rows[i].rules };
		while (config.rule_count < RULES_MAX && rows[i].rules[config.rule_count].from)
			config.rule_count++;
		struct policy_question question = { rows[i].from, rows[i].to, rows[i].kind };
		struct policy_answer answer = policy_ask(&config, &question);
		if (answer.allow != rows[i].allow)
			fail_msg("row %zu: %s", i, answer.reason);
		assert_true(answer.reason && *answer.reason);
	}
}

static void tells_the_sender_the_reason_of_the_rule(void **state)
{
	(void)state;
	struct config_rule rules[] = { DENY("any", "site:boston", "any", "Boston is closed today"),
				       DENY("any", "any", "any", NULL) };
	struct config config = { .rules = rules, .rule_count = countof(rules) };
	struct policy_question to_bob = { &ada, &bob, ENVELOPE_MESSAGE };
	struct policy_question to_ada = { &bob, &ada, ENVELOPE_MESSAGE };

	assert_string_equal(policy_ask(&config, &to_bob).reason, "Boston is closed today");
	assert_string_equal(policy_ask(&config, &to_ada).reason, "a rule refuses it");
	config.rule_count = 0;
	assert_string_equal(policy_ask(&config, &to_bob).reason,
			    "no rule allows it between these forests");
}

/* A rule means outsiders when it says so, and only then. */
static void outsiders_need_a_rule_that_names_them(void **state)
{
	static const struct person eve = { .address = T("eve\\40mail.example@example.com"),
					   .site = T("amsterdam"),
					   .enabled = true,
					   .outsider = true };
	static const struct {
		struct config_rule rule;
		bool in, out;
	} rows[] = {
		{ ALLOW("any", "any", "any"), false, false },
		{ ALLOW("domain:example.com", "any", "any"), false, false },
		{ ALLOW("outsider:any", "any", "any"), true, false },
		{ ALLOW("outsider:mail.example", "any", "message"), true, false },
		{ ALLOW("outsider:eve@mail.example", "address:ada@example.com", "any"), true,
		  false },
		{ ALLOW("outsider:example.com", "any", "any"), false, false },
		{ ALLOW("outsider:mallory@mail.example", "any", "any"), false, false },
		{ ALLOW("any", "outsider:any", "any"), false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config_rule rule = rows[i].rule;
		struct config config = { .rules = &rule, .rule_count = 1 };

		assert_int_equal(policy_ask(&config, &(struct policy_question){ &eve, &ada,
										ENVELOPE_MESSAGE })
					 .allow,
				 rows[i].in);
		assert_int_equal(policy_ask(&config, &(struct policy_question){ &ada, &eve,
										ENVELOPE_MESSAGE })
					 .allow,
				 rows[i].out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rule_that_matches_decides),
		cmocka_unit_test(tells_the_sender_the_reason_of_the_rule),
		cmocka_unit_test(outsiders_need_a_rule_that_names_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
