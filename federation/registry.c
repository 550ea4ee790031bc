/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/registry.h"

#include "base/log.h"
#include "base/utf8.h"
#include "federation/address.h"
#include "federation/email.h"
#include "federation/people_cache.h"

enum { CACHE_MAX = 200000, BATCH_MAX = 1000, RETRY_MS = 1000, RELOAD_MS = 60 * 1000 };

static const char config_channel[] = "hedgerow_config", person_channel[] = "hedgerow_person";

/* One question under way. */
struct batch {
	struct batch *next, **at; /* in registry->batches */
	struct registry *registry;
	enum people_key kind;
	uint64_t round;
	size_t count;
	struct slice keys[]; /* borrowed from the cache, which keeps them until they are answered */
};

struct registry {
	struct loop *loop;
	struct pg *pg;
	const struct registry_events *events;
	void *ctx;
	struct config *config; /* both NULL before the first load */
	struct routes *routes;
	enum { CONFIG_LOADED, CONFIG_LOADING, CONFIG_LOADING_STALE, CONFIG_MISSING } config_state;
	struct people_cache *cache;
	struct batch *batches;
	struct timer *retry, *reload;
};

static void ask(void *arg);
static void retry(void *arg);
static void reload(void *arg);

static void destroy_person(void *person)
{
	person_free(person);
}

static void destroy_config(void *config)
{
	config_free(config);
}

static void destroy_routes(void *routes)
{
	routes_free(routes);
}

static void park_person(void *arg, struct person *person)
{
	struct registry *registry = arg;

	loop_park(registry->loop, person, destroy_person);
}

struct registry *registry_new(struct loop *loop, struct pg *pg,
			      const struct registry_events *events, void *ctx)
{
	struct registry *registry = mem_new(struct registry);

	registry->loop = loop;
	registry->pg = pg;
	registry->events = events;
	registry->ctx = ctx;
	registry->config_state = CONFIG_MISSING;
	registry->cache = people_cache_new(CACHE_MAX, park_person, registry);
	registry->retry = timer_new(loop, retry, registry);
	registry->reload = timer_new(loop, reload, registry);
	pg_listen(pg, config_channel);
	pg_listen(pg, person_channel);
	return registry;
}

static void batch_free(struct batch *batch)
{
	*batch->at = batch->next;
	if (batch->next)
		batch->next->at = batch->at;
	free(batch);
}

void registry_free(struct registry *registry)
{
	if (!registry)
		return;
	while (registry->batches)
		batch_free(registry->batches);
	loop_cancel(registry->loop, ask, registry);
	timer_free(registry->retry);
	timer_free(registry->reload);
	people_cache_free(registry->cache);
	routes_free(registry->routes);
	config_free(registry->config);
	free(registry);
}

/* A refusal or a lost answer is tried again after a while, and at once when the database is back.
 */
static void failed(struct registry *registry, const char *what, const struct hr_err *err)
{
	log_warn("registry.failed", LOG_STR("what", what), LOG_ERR(err));
	timer_set(registry->retry, loop_now(registry->loop) + msec_jitter(RETRY_MS));
}

/* --- configuration --- */

static void load_config(struct registry *registry);

/* The snapshot before this one may be in use until the end of the turn. */
static void set_config(struct registry *registry, struct config *config)
{
	if (registry->config && registry->config->digest == config->digest) {
		config_free(config);
		return;
	}
	if (registry->config) {
		loop_park(registry->loop, registry->routes, destroy_routes);
		loop_park(registry->loop, registry->config, destroy_config);
	}
	registry->config = config;
	registry->routes = routes_new(config);
	log_info("registry.config", LOG_STR("site", config->local_site),
		 LOG_INT("sites", config->site_count), LOG_INT("links", config->link_count),
		 LOG_INT("installations", config->installation_count),
		 LOG_INT("domains", config->domain_count), LOG_INT("rules", config->rule_count));
	registry->events->changed(registry->ctx, config);
}

static void config_loaded(void *arg, enum hr_status status, struct config *config,
			  const struct hr_err *err)
{
	struct registry *registry = arg;
	bool stale = registry->config_state == CONFIG_LOADING_STALE;

	registry->config_state = status == HR_OK && !stale ? CONFIG_LOADED : CONFIG_MISSING;
	if (status != HR_OK) {
		failed(registry, "config", err);
		return;
	}
	if (stale)
		load_config(registry);
	timer_set(registry->reload, loop_now(registry->loop) + RELOAD_MS);
	set_config(registry, config);
}

static void load_config(struct registry *registry)
{
	if (registry->config_state == CONFIG_LOADING ||
	    registry->config_state == CONFIG_LOADING_STALE) {
		registry->config_state = CONFIG_LOADING_STALE;
		return;
	}
	registry->config_state = CONFIG_LOADING;
	config_load(registry->pg, config_loaded, registry);
}

/* --- people --- */

static void ask_later(struct registry *registry)
{
	loop_later(registry->loop, ask, registry);
}

static void answered(void *arg, struct slice key, struct person *person, enum hr_status status,
		     const struct hr_err *err)
{
	struct batch *batch = arg;
	struct registry *registry = batch->registry;

	if (key.data) {
		people_cache_answer(registry->cache, batch->kind, key, person, batch->round);
		return;
	}
	/* After an answer to each there is nothing left to retry. */
	people_cache_retry(registry->cache, batch->kind, batch->keys, batch->count);
	batch_free(batch);
	if (status != HR_OK) {
		failed(registry, "people", err);
		return;
	}
	ask_later(registry);
	registry->events->arrived(registry->ctx);
}

static void ask_kind(struct registry *registry, enum people_key kind)
{
	size_t wanted;

	while ((wanted = people_cache_wanted(registry->cache, kind)) > 0) {
		size_t max = wanted < BATCH_MAX ? wanted : BATCH_MAX;
		struct batch *batch = mem_alloc(sizeof *batch + max * sizeof batch->keys[0]);
		batch->registry = registry;
		batch->kind = kind;
		batch->count =
			people_cache_ask(registry->cache, kind, batch->keys, max, &batch->round);
		batch->next = registry->batches;
		batch->at = &registry->batches;
		if (batch->next)
			batch->next->at = &batch->next;
		registry->batches = batch;
		people_find(registry->pg, kind, batch->keys, batch->count, answered, batch);
	}
}

static void ask(void *arg)
{
	struct registry *registry = arg;

	if (!pg_is_up(registry->pg))
		return;
	for (enum people_key kind = 0; kind < PEOPLE_KEYS; kind++)
		ask_kind(registry, kind);
}

enum hr_status registry_find(struct registry *registry, enum people_key kind, struct slice key,
			     const struct person **out)
{
	/* The server would refuse it, and with it all that is asked in the same turn. */
	if (!utf8_xml(key))
		return HR_NONE;

	enum hr_status status = people_cache_find(registry->cache, kind, key, out);
	if (status == HR_RETRY)
		ask_later(registry);
	return status;
}

const struct person *registry_outsider(struct registry *registry, struct slice address,
				       const char *site)
{
	const struct config_mail *mail =
		email_is_outsider(address)
			? config_find_mail(registry->config, site, address_text_domain(address))
			: NULL;

	if (!mail || !mail->outsiders)
		return NULL;
	struct person *person = mem_new(struct person);

	person->address = mem_dup(address.data, address.len);
	person->site = str_dup(mail->carrier);
	person->enabled = person->outsider = true;
	loop_park(registry->loop, person, destroy_person);
	return person;
}

/* --- what happens in the database --- */

static void retry(void *arg)
{
	struct registry *registry = arg;

	if (!pg_is_up(registry->pg))
		return;
	if (registry->config_state == CONFIG_MISSING)
		load_config(registry);
	ask_later(registry);
}

/* A key begins and ends to be valid by the clock, which notifies nobody. */
static void reload(void *arg)
{
	struct registry *registry = arg;

	if (pg_is_up(registry->pg))
		load_config(registry);
}

void registry_up(struct registry *registry)
{
	people_cache_flush(registry->cache);
	load_config(registry);
	ask_later(registry);
}

/* Who is routable depends on the configuration as well. */
void registry_notified(struct registry *registry, const char *channel)
{
	if (strcmp(channel, config_channel) == 0)
		load_config(registry);
	else if (strcmp(channel, person_channel) != 0)
		return;
	people_cache_flush(registry->cache);
}

const struct config *registry_config(const struct registry *registry)
{
	return registry->config;
}

const struct routes *registry_routes(const struct registry *registry)
{
	return registry->routes;
}
