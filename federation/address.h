/* SPDX-License-Identifier: Apache-2.0 */
/* A JID (RFC 7622), prepared: local part by nodeprep, domain by nameprep, resource by
 * resourceprep (RFC 6122, libidn), so that equal addresses are equal bytes. ASCII, which is
 * nearly all of them, does not go through libidn. A domain is one of RFC 7622 3.2: a name (letters,
 * digits and hyphens or Unicode, A-labels become U-labels, a final dot goes) or [IPv6 address]. */
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

#include <stdint.h>

enum { ADDRESS_PART_MAX = 1023, ADDRESS_MAX = 3 * ADDRESS_PART_MAX + 2 };

struct address {
	char *text; /* owned, NUL-terminated: [local@]domain[/resource] */
	uint16_t len;
	uint16_t bare_len;  /* of [local@]domain */
	uint16_t domain_at; /* offset of the domain; 0: no local part */
	uint16_t domain_len;
};

/* HR_FAIL: not a JID; err says which part and why. */
HR_MUST_USE enum hr_status address_parse(struct slice text, struct address *out,
					 struct hr_err *err);
/* Frees what is inside; the struct is ready for use again. */
void address_clear(struct address *address); /* a zeroed struct is fine */
#define scoped_address __attribute__((cleanup(address_clear))) struct address

struct slice address_full(const struct address *address);
struct slice address_bare(const struct address *address);
struct slice address_local(const struct address *address); /* len 0: none */
struct slice address_domain(const struct address *address);
struct slice address_resource(const struct address *address); /* len 0: none */

/* The same cuts on text that is already prepared (an envelope's from and to). */
struct slice address_text_bare(struct slice prepared);
struct slice address_text_domain(struct slice prepared);
struct slice address_text_resource(struct slice prepared);
