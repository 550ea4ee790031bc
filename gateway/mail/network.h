/* SPDX-License-Identifier: Apache-2.0 */
/* An IP address, or a network of them: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32". */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct network {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;	     /* of it that count, 0..128 */
};

/* HR_FAIL: it is none, or has bits set that don't count; err says which. */
HR_MUST_USE enum hr_status network_parse(struct slice text, struct network *out,
					 struct hr_err *err);
bool network_holds(const struct network *network, const uint8_t address[16]);
