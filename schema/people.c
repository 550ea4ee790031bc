/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/people.h"

static const struct pg_statement find_statement[PEOPLE_KEYS] = {
	[PEOPLE_ADDRESS] = { "people_addresses", "SELECT key, address, native, installation, site, "
						 "forest, name, enabled"
						 " FROM hedgerow.lookup_addresses($1::text[])" },
	[PEOPLE_NATIVE] = { "people_natives",
			    "SELECT key, address, native, installation, site, forest, name, enabled"
			    " FROM hedgerow.lookup_natives($1::text[])" },
};
enum { KEY, ADDRESS, NATIVE, INSTALLATION, SITE, FOREST, NAME, ENABLED };

void person_free(struct person *person)
{
	if (!person)
		return;
	free(person->address);
	free(person->native);
	free(person->installation);
	free(person->site);
	free(person->forest);
	free(person->name);
	free(person);
}

static char *text_dup(const PGresult *result, int row, int column)
{
	struct slice text = pg_text(result, row, column);

	return text.data ? mem_dup(text.data, text.len) : NULL;
}

/* NULL: the key has nobody. */
static struct person *read_person(const PGresult *result, int row)
{
	struct person *person;

	if (PQgetisnull(result, row, ADDRESS))
		return NULL;
	person = mem_new(struct person);
	person->address = text_dup(result, row, ADDRESS);
	person->native = text_dup(result, row, NATIVE);
	person->installation = text_dup(result, row, INSTALLATION);
	person->site = text_dup(result, row, SITE);
	person->forest = text_dup(result, row, FOREST);
	person->name = text_dup(result, row, NAME);
	person->enabled = pg_bool(result, row, ENABLED);
	return person;
}

struct find {
	people_fn *fn;
	void *arg;
};

static void found(void *arg, enum hr_status status, const PGresult *result,
		  const struct hr_err *err)
{
	struct find find = *(struct find *)arg;
	int rows = status == HR_OK ? PQntuples(result) : 0;

	free(arg);
	for (int row = 0; row < rows; row++)
		find.fn(find.arg, pg_text(result, row, KEY), read_person(result, row), HR_OK, err);
	find.fn(find.arg, (struct slice){ 0 }, NULL, status, err);
}

void people_find(struct pg *pg, enum people_key kind, const struct slice *keys, size_t n,
		 people_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct find *find = mem_new(struct find);

	*find = (struct find){ fn, arg };
	pg_begin_array(params, PG_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_item_text(params, keys[i]);
	pg_send_owned(pg, &find_statement[kind], params, found, find);
}
