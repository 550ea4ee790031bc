/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/gmime.h"

/* GMime remembers every name of a charset that it has ever met, and a peer may think up many. */
enum { USES_MAX = 1000 };

void gmime_begin(void)
{
	static unsigned uses;

	if (uses == 0) {
		g_mime_init();
	} else if (uses % USES_MAX == 0) {
		g_mime_charset_map_shutdown();
		g_mime_charset_map_init();
	}
	uses = uses % USES_MAX + 1;
}
