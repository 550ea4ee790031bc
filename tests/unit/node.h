/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a gateway without edges, put together as gateway.c does, against a real registry with
 * the site "here" (forest contoso, domain example.com, installation im, people ada and bob) and, as
 * if replicated, the site "there" (domain example.net, installation far, carol). No link. */
#pragma once

#include "gateway/leftovers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct node {
	struct pg *journal_pg, *side_pg;
	struct journal *journal;
	struct registry *registry;
	struct duties *duties;
	struct dispatch dispatch;
	struct switchboard *switchboard;
	struct leftovers *leftovers;
	bool ready, want_im; /* want_im: the duty of the installation */
};

extern struct loop *node_loop;

/* Runs the tests in a registry; started again under tests/with-registry.sh when there is none. */
int node_run(const struct CMUnitTest *tests, size_t n, char **argv);
int node_begin(void **state); /* setup and teardown of each test */
int node_end(void **state);

struct node *node_new(const char *name); /* connected, its configuration loaded */
void node_free(struct node *node);
DEFINE_SCOPED(node)
void node_update_duties(struct node *node); /* want_im has changed */

/* Turns the loop until it is so; fails after a minute. */
#define run_until(node, is_so) node_run_until(node, is_so, #is_so, __LINE__)
void node_run_until(struct node *node, bool (*is_so)(struct node *node), const char *what,
		    int line);
bool node_is_committed(struct node *node); /* nothing waits for a commit */

/* The operator: on a connection of its own that blocks. */
void sql(const char *text);
void expect(const char *query, const char *text); /* the one value of the query */
bool is_true(const char *query);
