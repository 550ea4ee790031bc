/* SPDX-License-Identifier: Apache-2.0 */
/* What one field, or one body, says: GMime reads it. */
#include "base/utf8.h"
#include "gateway/mail/charset.h"
#include "gateway/mail/gmime.h"
#include "gateway/mail/mime.h"
#include "gateway/mail/mime_private.h"

#include <strings.h>

/* Bytes of a field that are read; GMime's effort for parameters grows with their square. */
enum {
	ID_MAX = 900,
	VALUE_MAX = 64 * 1024,
	PARAMETERS_MAX = 8 * 1024,
	TEXT_MAX = 8 * 1024,
	CHUNK = 48 * 1024
};

/* The value of a field as a C text without line ends; NULL: no such field. */
static char *value_of(const struct mime_part *part, const char *name, size_t max)
{
	const struct mime_field *field = mime_field(part, name, NULL);

	if (!field)
		return NULL;
	size_t len = field->value.len < max ? field->value.len : max;
	char *value = mem_dup(field->value.data, len);
	for (size_t i = 0; i < len; i++)
		if (value[i] == '\r' || value[i] == '\n' || value[i] == '\0')
			value[i] = ' ';
	return value;
}

static GMimeContentType *type_of(const struct mime_part *part)
{
	scoped_str value = value_of(part, "Content-Type", PARAMETERS_MAX);

	gmime_begin();
	return value && strchr(value, '/') ? g_mime_content_type_parse(NULL, value) : NULL;
}

char *mime_read_type(const struct mime_part *part, const char *otherwise, char **boundary)
{
	gmime_scoped(GMimeContentType) type = type_of(part);
	const char *media = type ? g_mime_content_type_get_media_type(type) : NULL;
	const char *subtype = type ? g_mime_content_type_get_media_subtype(type) : NULL;

	if (!media || !*media || !subtype || !*subtype)
		return str_dup(otherwise);
	char *name = str_format("%s/%s", media, subtype);
	for (char *c = name; *c; c++)
		*c = g_ascii_tolower(*c);
	if (strcasecmp(media, "multipart") == 0)
		*boundary = str_dup(g_mime_content_type_get_parameter(type, "boundary"));
	return name;
}

static char *line_of(const char *text, size_t max)
{
	return text ? charset_line(slice_str(text), max) : NULL;
}

char *mime_type_parameter(const struct mime_part *part, const char *name)
{
	gmime_scoped(GMimeContentType) type = type_of(part);

	return type ? line_of(g_mime_content_type_get_parameter(type, name), TEXT_MAX) : NULL;
}

static GMimeContentDisposition *disposition_of(const struct mime_part *part)
{
	scoped_str value = value_of(part, "Content-Disposition", PARAMETERS_MAX);

	gmime_begin();
	return value ? g_mime_content_disposition_parse(NULL, value) : NULL;
}

bool mime_is_attachment(const struct mime_part *part)
{
	gmime_scoped(GMimeContentDisposition) disposition = disposition_of(part);

	return disposition && g_mime_content_disposition_is_attachment(disposition);
}

static const char *without_folders(const char *path)
{
	const char *name = path;

	for (const char *at = path; *at; at++)
		if (*at == '/' || *at == '\\')
			name = at + 1;
	return name;
}

char *mime_file_name(const struct mime_part *part)
{
	gmime_scoped(GMimeContentDisposition) disposition = disposition_of(part);
	const char *given =
		disposition ? g_mime_content_disposition_get_parameter(disposition, "filename")
			    : NULL;
	scoped_str name = line_of(given, TEXT_MAX);

	if (!name || !*name) {
		free(name);
		name = mime_type_parameter(part, "name");
	}
	const char *last = name ? without_folders(name) : "";
	return *last ? str_dup(last) : NULL;
}

/* In UTF-8, whatever it came in. */
static char *unicode_of(const struct mime_part *part, const char *name)
{
	scoped_str value = value_of(part, name, VALUE_MAX);
	scoped_buf text = BUF_INIT(0);

	if (!value)
		return NULL;
	charset_to_utf8(slice_str(value), NULL, &text);
	return str_dup(buf_text(&text));
}

char *mime_text(const struct mime_part *part, const char *name)
{
	scoped_str value = unicode_of(part, name);

	if (!value)
		return NULL;
	gmime_begin();
	g_autofree char *text = g_mime_utils_header_decode_text(NULL, value);
	return line_of(text, TEXT_MAX);
}

static GMimeContentEncoding encoding_of(const struct mime_part *part)
{
	scoped_str value = value_of(part, "Content-Transfer-Encoding", PARAMETERS_MAX);

	GMimeContentEncoding encoding =
		value ? g_mime_content_encoding_from_string(value) : GMIME_CONTENT_ENCODING_DEFAULT;
	return encoding == GMIME_CONTENT_ENCODING_UUENCODE ? GMIME_CONTENT_ENCODING_DEFAULT
							   : encoding;
}

/* Decodes to `fn` in pieces of at most CHUNK bytes, as long as it returns true. */
static void decode(const struct mime_part *part, bool (*fn)(void *, struct slice), void *arg)
{
	struct slice rest = part->body;
	GMimeEncoding state;
	g_autofree char *piece = NULL;

	g_mime_encoding_init_decode(&state, encoding_of(part));
	piece = g_malloc(g_mime_encoding_outlen(&state, CHUNK) +
			 64); /* uncounted: a piece held back */
	while (rest.len > 0) {
		size_t len = rest.len < CHUNK ? rest.len : CHUNK;
		size_t made = len == rest.len ? g_mime_encoding_flush(&state, rest.data, len, piece)
					      : g_mime_encoding_step(&state, rest.data, len, piece);
		rest = (struct slice){ rest.data + len, rest.len - len };
		if (!fn(arg, (struct slice){ piece, made }))
			break;
	}
}

static bool append(void *arg, struct slice bytes)
{
	struct buf *out = arg;
	size_t room = out->cap ? out->cap - out->len : SIZE_MAX;

	if (bytes.len > room)
		out->overflowed = true;
	bytes.len = bytes.len < room ? bytes.len : room;
	if (bytes.len > 0)
		memcpy(buf_reserve(out, bytes.len), bytes.data, bytes.len);
	out->len += bytes.len;
	return !out->overflowed;
}

void mime_decode(const struct mime_part *part, struct buf *out)
{
	decode(part, append, out);
}

static bool count(void *arg, struct slice bytes)
{
	*(size_t *)arg += bytes.len;
	return true;
}

size_t mime_decoded_size(const struct mime_part *part)
{
	size_t size = 0;

	decode(part, count, &size);
	return size;
}

static bool is_id(struct slice id)
{
	for (size_t i = 0; i < id.len; i++)
		if ((unsigned char)id.data[i] <= ' ' || id.data[i] == '<' || id.data[i] == 0x7f)
			return false;
	return id.len > 0 && id.len <= ID_MAX && utf8_xml(id);
}

/* The last `max` of them: verbatim, since who compares them compares bytes. */
char **mime_ids(const struct mime_part *part, const char *name, size_t max)
{
	scoped_str value = value_of(part, name, VALUE_MAX);
	char **ids = mem_array(char *, max + 1);
	const char *end = value ? value + strlen(value) : NULL;
	size_t found = 0;

	while (value && found < max) {
		const char *close = memrchr(value, '>', (size_t)(end - value));
		const char *open = close ? memrchr(value, '<', (size_t)(close - value)) : NULL;
		if (!open)
			break;
		struct slice id = { open + 1, (size_t)(close - open - 1) };
		if (is_id(id))
			ids[found++] = mem_dup(id.data, id.len);
		end = open;
	}
	for (size_t i = 0; i < found / 2; i++) {
		char *swapped = ids[i];
		ids[i] = ids[found - 1 - i];
		ids[found - 1 - i] = swapped;
	}
	return ids;
}

void mime_ids_free(char **ids)
{
	for (char **id = ids; id && *id; id++)
		free(*id);
	free(ids);
}

usec mime_date(const struct mime *mime)
{
	scoped_str value = value_of(mime_part(mime, 0), "Date", PARAMETERS_MAX);

	if (!value)
		return 0;
	gmime_begin();
	g_autoptr(GDateTime) date = g_mime_utils_header_decode_date(value);
	return date ? g_date_time_to_unix(date) * 1000000 : 0;
}
