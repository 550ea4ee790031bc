/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/mime.h"

#include "gateway/mail/boundary.h"
#include "gateway/mail/mime_private.h"

#include <strings.h>

enum { FIELDS_FIRST = 64 };
_Static_assert((int)MIME_DEPTH_MAX < (int)BOUNDARIES_MAX, "each level may be a multipart");

struct entity {
	struct mime_part part;
	char *type;	    /* owned: part.type */
	size_t first_field; /* in mime->fields, which moves while it grows */
};

struct mime {
	struct entity *entities; /* owned, room for MIME_PARTS_MAX */
	size_t count;
	struct mime_field *fields; /* owned: of all entities */
	size_t field_count, field_size;
	size_t header_bytes; /* of all entities */
};

/* A mail being cut, in one pass. */
struct cutter {
	struct mime *mime;
	struct slice bytes;
	size_t at; /* how far it is cut */
	struct boundaries boundaries;
	struct delimiter end; /* of the entity that was cut last */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice from(struct slice text, size_t at)
{
	return (struct slice){ text.data + at, text.len - at };
}

/* The first line of `rest` with its line end, which is taken off `rest`. */
static struct slice take_line(struct slice *rest)
{
	const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
	struct slice line = { rest->data, end ? (size_t)(end - rest->data) + 1 : rest->len };

	*rest = from(*rest, line.len);
	return line;
}

struct slice mime_trim(struct slice text)
{
	while (text.len > 0 && is_space(text.data[0]))
		text = from(text, 1);
	while (text.len > 0 && is_space(text.data[text.len - 1]))
		text.len--;
	return text;
}

/* Length of the name of a field; 0: the line begins none. */
static size_t name_length(struct slice line)
{
	const char *colon = memchr(line.data, ':', line.len);
	size_t len = colon ? (size_t)(colon - line.data) : 0;

	while (len > 0 && is_space(line.data[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++)
		if (line.data[i] <= ' ' || line.data[i] > '~')
			return 0;
	return len;
}

static void add_field(struct mime *mime, struct slice line, size_t name)
{
	if (mime->field_count == mime->field_size) {
		mime->field_size *= 2;
		mime->fields = mem_resize(mime->fields, mime->field_size, sizeof *mime->fields);
	}
	const char *colon = memchr(line.data, ':', line.len);
	mime->fields[mime->field_count++] = (struct mime_field){
		.name = { line.data, name },
		.value = from(line, (size_t)(colon - line.data) + 1),
	};
}

/* Whether `line` belongs to the header that has `count` fields so far; then it is kept. */
static bool keep_line(struct mime *mime, struct slice line, size_t count)
{
	bool is_folded = line.data[0] == ' ' || line.data[0] == '\t';
	size_t name = is_folded ? 0 : name_length(line);

	if (name > 0)
		add_field(mime, line, name);
	else if (is_folded && count > 0)
		mime->fields[mime->field_count - 1].value.len += line.len;
	else
		return false;
	return true;
}

/* Reads the header that begins at cutter->at, and passes it, with the empty line after it. A line
 * that is none of a header ends it too, and so does the delimiter of a part. */
static enum hr_status read_header(struct cutter *cutter, struct entity *entity, struct hr_err *err)
{
	struct mime *mime = cutter->mime;
	struct slice rest = from(cutter->bytes, cutter->at);
	struct delimiter end;

	entity->first_field = mime->field_count;
	for (size_t start = cutter->at; rest.len > 0; cutter->at = cutter->bytes.len - rest.len) {
		size_t count = mime->field_count - entity->first_field;
		struct slice line = take_line(&rest);
		if (boundary_is_at(&cutter->boundaries, cutter->bytes, cutter->at, &end))
			break;
		if (slice_is(line, "\n") || slice_is(line, "\r\n")) {
			cutter->at += line.len;
			break;
		}
		if (!keep_line(mime, line, count))
			break;
		mime->header_bytes += line.len;
		if (mime->field_count - entity->first_field > MIME_FIELDS_MAX)
			return err_set(err, HR_FAIL, "more than %d header fields", MIME_FIELDS_MAX);
		if (cutter->at + line.len - start > MIME_HEADER_MAX)
			return err_set(err, HR_FAIL, "a header of more than %d bytes",
				       MIME_HEADER_MAX);
	}
	if (mime->header_bytes > MIME_HEADERS_MAX)
		return err_set(err, HR_FAIL, "headers of more than %d bytes", MIME_HEADERS_MAX);
	entity->part.field_count = mime->field_count - entity->first_field;
	for (size_t i = entity->first_field; i < mime->field_count; i++)
		mime->fields[i].value = mime_trim(mime->fields[i].value);
	return HR_OK;
}

static enum hr_status cut(struct cutter *cutter, size_t parent, const char *type,
			  struct hr_err *err);

/* The entities of a multipart; then cutter->end is the delimiter of another, or the end. */
static enum hr_status cut_children(struct cutter *cutter, size_t number, struct slice boundary,
				   struct hr_err *err)
{
	const char *type =
		strcasecmp(cutter->mime->entities[number].part.type, "multipart/digest") == 0
			? "message/rfc822"
			: "text/plain";
	size_t level = boundary_open(&cutter->boundaries, boundary);

	cutter->end = boundary_find(&cutter->boundaries, cutter->bytes, cutter->at);
	while (cutter->end.level == level && !cutter->end.is_last) {
		cutter->at = cutter->end.end;
		if (cut(cutter, number, type, err) != HR_OK)
			return err->status;
	}
	if (cutter->end.level == level) {
		boundary_close(&cutter->boundaries, level);
		cutter->end = boundary_find(&cutter->boundaries, cutter->bytes, cutter->end.end);
	}
	boundary_leave(&cutter->boundaries, level);
	return HR_OK;
}

/* The entity that begins at cutter->at, of that type if it doesn't say; cutter->end is what ends
 * it. */
static enum hr_status cut(struct cutter *cutter, size_t parent, const char *type,
			  struct hr_err *err)
{
	struct mime *mime = cutter->mime;
	size_t number = mime->count;

	if (number == MIME_PARTS_MAX)
		return err_set(err, HR_FAIL, "the mail has more than %d parts", MIME_PARTS_MAX);
	struct entity *entity = &mime->entities[mime->count++];
	if (number > 0)
		entity->part.depth = mime->entities[parent].part.depth + 1;
	if (entity->part.depth > MIME_DEPTH_MAX)
		return err_set(err, HR_FAIL, "the mail has parts nested deeper than %d",
			       MIME_DEPTH_MAX);
	if (read_header(cutter, entity, err) != HR_OK)
		return err_add(err, "part %zu of the mail", number);
	scoped_str boundary = NULL;
	size_t start = cutter->at;
	entity->part.fields = mime->fields + entity->first_field; /* for now */
	entity->part.parent = parent;
	entity->part.type = entity->type = mime_read_type(&entity->part, type, &boundary);
	if (!boundary || !*boundary)
		cutter->end = boundary_find(&cutter->boundaries, cutter->bytes, start);
	else if (cut_children(cutter, number, slice_str(boundary), err) != HR_OK)
		return err->status;
	entity->part.body = from(cutter->bytes, start);
	entity->part.body.len = cutter->end.start > start ? cutter->end.start - start : 0;
	entity->part.end = mime->count;
	return HR_OK;
}

enum hr_status mime_parse(struct slice bytes, struct mime **out, struct hr_err *err)
{
	scoped(mime) mime = mem_new(struct mime);

	if (bytes.len == 0)
		return err_set(err, HR_FAIL, "the mail is empty");
	mime->entities = mem_array(struct entity, MIME_PARTS_MAX);
	mime->fields = mem_array(struct mime_field, FIELDS_FIRST);
	mime->field_size = FIELDS_FIRST;
	struct cutter cutter = { .mime = mime, .bytes = bytes };
	if (cut(&cutter, 0, "text/plain", err) != HR_OK)
		return err->status;
	if (mime->entities[0].part.field_count == 0)
		return err_set(err, HR_FAIL, "the mail has no header");
	for (size_t i = 0; i < mime->count; i++)
		mime->entities[i].part.fields = mime->fields + mime->entities[i].first_field;
	*out = give(mime);
	return HR_OK;
}

void mime_free(struct mime *mime)
{
	if (!mime)
		return;
	for (size_t i = 0; i < mime->count; i++)
		free(mime->entities[i].type);
	free(mime->entities);
	free(mime->fields);
	free(mime);
}

size_t mime_count(const struct mime *mime)
{
	return mime->count;
}

const struct mime_part *mime_part(const struct mime *mime, size_t number)
{
	return &mime->entities[number].part;
}

const struct mime_field *mime_field(const struct mime_part *part, const char *name,
				    const struct mime_field *after)
{
	const struct mime_field *end = part->fields + part->field_count;
	size_t len = strlen(name);

	for (const struct mime_field *field = after ? after + 1 : part->fields; field < end;
	     field++)
		if (field->name.len == len && strncasecmp(field->name.data, name, len) == 0)
			return field;
	return NULL;
}
