/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/profile.h"

/* What publishing had to escape (XEP-0106), since no JID may have it. */
#define EMAIL "replace(replace(replace(p.address, '\\26', '&'), '\\27', ''''), '\\2f', '/')"
#define DETAIL(name) ", left(p.details ->> '" name "', 256)"
#define COLUMNS                                                                              \
	"p.address, " EMAIL ", left(p.name, 256)" DETAIL("given_name") DETAIL("family_name") \
		DETAIL("organization") DETAIL("department") DETAIL("title") DETAIL("telephone")

static const struct pg_statement search_statement = {
	"profile_search", "SELECT " COLUMNS " FROM hedgerow.search_people($1::text, $2::text, "
			  "$3::int) p"
};
static const struct pg_statement find_statement = { "profile_find",
						    "SELECT " COLUMNS
						    " FROM hedgerow.winner($1::text) p" };
static const struct pg_statement list_statement = { "profile_list",
						    "SELECT hedgerow.list_people($1::int)" };

/* The columns, in order. */
static const size_t fields[] = {
	offsetof(struct profile, address),     offsetof(struct profile, email),
	offsetof(struct profile, name),	       offsetof(struct profile, given_name),
	offsetof(struct profile, family_name), offsetof(struct profile, organization),
	offsetof(struct profile, department),  offsetof(struct profile, title),
	offsetof(struct profile, telephone),
};

struct asked {
	profile_fn *fn;
	void *arg;
};

static struct profile read_profile(const PGresult *result, int row)
{
	struct profile profile = { 0 };

	for (size_t i = 0; i < countof(fields); i++)
		*(struct slice *)(void *)((char *)&profile + fields[i]) =
			pg_text(result, row, (int)i);
	return profile;
}

static void answered(void *arg, enum hr_status status, const PGresult *result,
		     const struct hr_err *err)
{
	struct asked asked = *(struct asked *)arg;
	size_t rows = status == HR_OK ? (size_t)PQntuples(result) : 0, count = 0;
	struct profile *profiles = mem_array(struct profile, rows);
	bool more = false;

	free(arg);
	for (size_t row = 0; row < rows; row++) {
		profiles[count] = read_profile(result, (int)row);
		if (profiles[count].address.data)
			count++;
		else /* the last row of a search that did not show all */
			more = true;
	}
	asked.fn(asked.arg, status, profiles, count, more, err);
	free(profiles);
}

static void ask(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
		struct asked what)
{
	struct asked *asked = mem_new(struct asked);

	*asked = what;
	pg_send_owned(pg, statement, params, answered, asked);
}

void profile_search(struct pg *pg, struct slice asker, struct slice words, size_t most,
		    profile_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_text(params, asker);
	pg_add_text(params, words);
	pg_add_int(params, (int32_t)most);
	ask(pg, &search_statement, params, (struct asked){ fn, arg });
}

void profile_find(struct pg *pg, struct slice address, profile_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();

	pg_add_text(params, address);
	ask(pg, &find_statement, params, (struct asked){ fn, arg });
}

struct listing {
	profile_listed_fn *fn;
	void *arg;
};

static void listed(void *arg, enum hr_status status, const PGresult *result,
		   const struct hr_err *err)
{
	struct listing listing = *(struct listing *)arg;

	free(arg);
	listing.fn(listing.arg, status, status == HR_OK && pg_bool(result, 0, 0), err);
}

void profile_list(struct pg *pg, size_t most, profile_listed_fn *fn, void *arg)
{
	scoped(pg_params) params = pg_params_new();
	struct listing *listing = mem_new(struct listing);

	*listing = (struct listing){ fn, arg };
	pg_add_int(params, (int32_t)most);
	pg_send_owned(pg, &list_statement, params, listed, listing);
}
