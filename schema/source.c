/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/source.h"

#include "base/pg.h"

enum { LIST_MAX = 1024 };

const char source_columns[] =
	"(s).fingerprint, (s).kind, (s).tls, (s).ca, (s).bind, (s).bind_dn, (s).bind_secret,"
	" (s).filter, (s).page_size, (s).poll_ms, (s).attributes,"
	" (s).base_dn, (s).urls, (s).method, (s).server, (s).incarnation, (s).usn, (s).cookie";

enum column {
	FINGERPRINT,
	KIND,
	TLS,
	CA,
	BIND,
	BIND_DN,
	BIND_SECRET,
	FILTER,
	PAGE_SIZE,
	POLL_MS,
	ATTRIBUTES,
	BASE_DN,
	URLS,
	METHOD,
	SERVER,
	INCARNATION,
	USN,
	COOKIE
};

/* The rows of a result from a column on. */
struct rows {
	const PGresult *result;
	int first;
};

static char *text_at(struct rows rows, int row, enum column column)
{
	struct slice text = pg_text(rows.result, row, rows.first + (int)column);

	return text.data ? mem_dup(text.data, text.len) : NULL;
}

static char **texts_at(struct rows rows, int row, enum column column, size_t *count)
{
	struct slice *found = mem_array(struct slice, LIST_MAX);
	size_t n = pg_texts(rows.result, row, rows.first + (int)column, found, LIST_MAX);
	char **texts = mem_array(char *, n + 1);

	for (size_t i = 0; i < n; i++)
		texts[i] = mem_dup(found[i].data, found[i].len);
	free(found);
	if (count)
		*count = n;
	return texts;
}

static struct publish_cursor *cursor_at(struct rows rows, int row)
{
	struct slice cookie = pg_text(rows.result, row, rows.first + COOKIE);

	if (PQgetisnull(rows.result, row, rows.first + METHOD))
		return NULL;
	struct publish_cursor *cursor = mem_new(struct publish_cursor);
	*cursor = (struct publish_cursor){
		.base_dn = text_at(rows, row, BASE_DN),
		.method = text_at(rows, row, METHOD),
		.server = text_at(rows, row, SERVER),
		.incarnation = text_at(rows, row, INCARNATION),
		.usn = pg_bigint(rows.result, row, rows.first + USN),
		.cookie = { cookie.data ? mem_dup(cookie.data, cookie.len) : NULL, cookie.len },
	};
	return cursor;
}

struct publish_source *source_read(const PGresult *result, int first)
{
	struct rows rows = { result, first };
	int n = PQntuples(result);
	struct publish_source *source = mem_new(struct publish_source);

	*source = (struct publish_source){
		.fingerprint = text_at(rows, 0, FINGERPRINT),
		.kind = text_at(rows, 0, KIND),
		.tls = text_at(rows, 0, TLS),
		.ca = text_at(rows, 0, CA),
		.bind = text_at(rows, 0, BIND),
		.bind_dn = text_at(rows, 0, BIND_DN),
		.bind_secret = text_at(rows, 0, BIND_SECRET),
		.filter = text_at(rows, 0, FILTER),
		.page_size = pg_int(result, 0, first + PAGE_SIZE),
		.poll_interval = pg_bigint(result, 0, first + POLL_MS),
		.contexts = mem_array(struct publish_context, (size_t)n),
		.context_count = (size_t)n,
	};
	source->attributes = texts_at(rows, 0, ATTRIBUTES, &source->attribute_count);
	for (int row = 0; row < n; row++)
		source->contexts[row] = (struct publish_context){
			.base_dn = text_at(rows, row, BASE_DN),
			.urls = texts_at(rows, row, URLS, NULL),
			.cursor = cursor_at(rows, row),
		};
	return source;
}

static void texts_free(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

void cursor_clear(struct publish_cursor *cursor)
{
	free(cursor->base_dn);
	free(cursor->method);
	free(cursor->server);
	free(cursor->incarnation);
	free((char *)(uintptr_t)cursor->cookie.data);
	*cursor = (struct publish_cursor){ 0 };
}

void cursor_copy(const struct publish_cursor *cursor, struct publish_cursor *out)
{
	*out = (struct publish_cursor){
		.base_dn = str_dup(cursor->base_dn),
		.method = str_dup(cursor->method),
		.server = str_dup(cursor->server),
		.incarnation = str_dup(cursor->incarnation),
		.usn = cursor->usn,
		.cookie = { cursor->cookie.data ? mem_dup(cursor->cookie.data, cursor->cookie.len)
						: NULL,
			    cursor->cookie.len },
		.entries = cursor->entries,
	};
}

static void cursor_free(struct publish_cursor *cursor)
{
	if (cursor)
		cursor_clear(cursor);
	free(cursor);
}

void source_free(struct publish_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->context_count; i++) {
		free(source->contexts[i].base_dn);
		texts_free(source->contexts[i].urls);
		cursor_free(source->contexts[i].cursor);
	}
	free(source->contexts);
	texts_free(source->attributes);
	free(source->fingerprint);
	free(source->kind);
	free(source->tls);
	free(source->ca);
	free(source->bind);
	free(source->bind_dn);
	free(source->bind_secret);
	free(source->filter);
	free(source);
}

void source_swap_cursors(struct publish_source *source, struct publish_source *newer)
{
	for (size_t i = 0; i < source->context_count; i++) {
		struct publish_cursor *old = source->contexts[i].cursor;
		source->contexts[i].cursor = newer->contexts[i].cursor;
		newer->contexts[i].cursor = old;
	}
}
