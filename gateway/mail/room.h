/* SPDX-License-Identifier: Apache-2.0 */
/* Room in memory for the mails that LMTP sessions take at the same time. A mail that finds none is
 * answered so that the client comes again (LMTP_TOO_MUCH), and gives back at once what it held: the
 * others get on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct room {
	size_t max, held; /* bytes; max: not less than one mail may have */
	uint64_t refused; /* mails that found none */
};

bool room_has(struct room *room, size_t len); /* if not, that is counted */
/* Bytes that hold room go; NULL is fine. */
void room_free(struct room *room, char *bytes, size_t len);
