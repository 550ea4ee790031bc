/* SPDX-License-Identifier: Apache-2.0 */
/* What the system under test has used up: CPU time of process trees from /proc, and bytes of TCP
 * payload between its two halves from the kernel's own counters (sock_diag), so that nothing needs
 * to stand in the way of the traffic. Reads only; works without root. */
#pragma once

#include "base/err.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { USAGE_ROOTS_MAX = 16 };

/* User and system time of these processes, each with all that descend from it, those that have
 * ended and been waited for included: us[i] for roots[i], in microseconds. HR_FAIL: one is gone. */
HR_MUST_USE enum hr_status usage_cpu(const pid_t *roots, size_t count, int64_t us[USAGE_ROOTS_MAX],
				     struct hr_err *err);

/* Time that the processors of the machine were busy, whoever kept them so, in microseconds. */
HR_MUST_USE enum hr_status usage_machine(int64_t *us, struct hr_err *err);

struct usage_wire {
	uint64_t bytes; /* TCP payload sent by both ends, with what was sent twice */
	size_t sockets; /* ends counted; another number later means that bytes went uncounted */
};

/* Sums over all established sockets, one end of which is one of these listeners. HR_FAIL: none is,
 * or the kernel does not tell. */
HR_MUST_USE enum hr_status usage_wire(const struct sockaddr_in *listeners, size_t count,
				      struct usage_wire *out, struct hr_err *err);
