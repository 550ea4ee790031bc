/* SPDX-License-Identifier: Apache-2.0 */
/* What pg.c sees of struct pg_params: the arrays that libpq wants. For base/pg*.c only. */
#pragma once

#include "base/pg.h"

struct pg_view {
	int n;
	const char *const *values;
	const int *lengths, *formats;
};

/* Valid until `params` changes; NULL gives a view of no parameters. */
struct pg_view pg_params_view(const struct pg_params *params);
