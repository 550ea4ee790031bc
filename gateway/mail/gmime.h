/* SPDX-License-Identifier: Apache-2.0 */
/* GMime, made ready at its first use, and its objects owned by scope. Private to gateway/mail. */
#pragma once

#include <gmime/gmime.h>
#include <string.h>

void gmime_begin(void); /* before the first call to GMime wherever one may be the first */

static inline void gmime_scope_end(void *p)
{
	gpointer object;

	memcpy(&object, p, sizeof object);
	if (object)
		g_object_unref(object);
}
#define gmime_scoped(type) __attribute__((cleanup(gmime_scope_end), unused)) type *
