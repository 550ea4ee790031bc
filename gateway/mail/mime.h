/* SPDX-License-Identifier: Apache-2.0 */
/* A mail that came in, cut into its entities (RFC 5322, RFC 2046, RFC 6532). Nothing is copied: an
 * entity is slices of the bytes, which the caller keeps until mime_free. Everything is bounded
 * before it is kept; that is why the cutting is ours. What a field or a body says is left to GMime,
 * which sees one of them at a time.
 * Entities are in the order of the mail: number 0 is the mail itself, a child follows its parent.
 * Line ends may be CRLF or LF. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"

#include <stdint.h>

enum {
	MIME_PARTS_MAX = 256,
	MIME_DEPTH_MAX = 10,
	MIME_FIELDS_MAX = 1000,	       /* of one header */
	MIME_HEADER_MAX = 256 * 1024,  /* bytes of one header */
	MIME_HEADERS_MAX = 1024 * 1024 /* bytes of all headers */
};

struct mime_field {
	struct slice name;
	struct slice value; /* still folded and encoded, without the last line end */
};

struct mime_part {
	const struct mime_field *fields;
	size_t field_count;
	struct slice body; /* still encoded; of a multipart: all of its entities */
	const char *type;  /* lower case: "text/plain", which it is also without a Content-Type */
	unsigned depth;	   /* 0: the mail */
	size_t parent;	   /* its number */
	size_t end;	   /* number of the first entity that is not inside this one */
};

struct mime;

/* HR_FAIL: a bound is passed, or it has no header: err says where and which. */
HR_MUST_USE enum hr_status mime_parse(struct slice bytes, struct mime **out, struct hr_err *err);
void mime_free(struct mime *mime); /* NULL is fine */
DEFINE_SCOPED(mime)

size_t mime_count(const struct mime *mime);				   /* at least 1 */
const struct mime_part *mime_part(const struct mime *mime, size_t number); /* borrowed */

/* The first field of that name, or the one after `after` (NULL: from the top); NULL: no more. */
const struct mime_field *mime_field(const struct mime_part *part, const char *name,
				    const struct mime_field *after);
/* Its text: unfolded, encoded-words (RFC 2047) decoded, UTF-8 that XML can carry, without controls;
 * owned by the caller. NULL: no such field. */
char *mime_text(const struct mime_part *part, const char *name);
/* Parameters of Content-Type and Content-Disposition (RFC 2231); likewise. */
char *mime_type_parameter(const struct mime_part *part, const char *name);
char *mime_file_name(const struct mime_part *part);    /* of either; NULL: none */
bool mime_is_attachment(const struct mime_part *part); /* Content-Disposition says so */

/* The body without its transfer encoding, appended up to out->cap (out->overflowed: there is more).
 */
void mime_decode(const struct mime_part *part, struct buf *out);
size_t mime_decoded_size(const struct mime_part *part);

/* The message ids (without <>) of a field such as References, the last `max` of them into *out, an
 * array of owned texts that ends with NULL; free it with mime_ids_free. */
char **mime_ids(const struct mime_part *part, const char *name, size_t max);
void mime_ids_free(char **ids);
usec mime_date(const struct mime *mime); /* of the Date field; 0: none, or not a date */
