/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures that a mail's own HTML shows, such as the logo of a signature: parts of a
 * multipart/related (RFC 2387) whose Content-ID the HTML names as cid: (RFC 2392). To who writes
 * the mail they are part of the text, and no attachments. */
#pragma once

#include "gateway/mail/mime.h"

struct pictures;
struct pictures *pictures_new(const struct mime *mime); /* which is borrowed */
void pictures_free(struct pictures *pictures);		/* NULL is fine */
DEFINE_SCOPED(pictures)

/* Whether that part of the mail is one. */
bool pictures_have(struct pictures *pictures, const struct mime_part *part);
