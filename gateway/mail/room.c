/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/room.h"

#include <stdlib.h>

bool room_has(struct room *room, size_t len)
{
	bool has = len <= room->max - room->held;

	room->refused += !has;
	return has;
}

void room_free(struct room *room, char *bytes, size_t len)
{
	room->held -= len;
	free(bytes);
}
