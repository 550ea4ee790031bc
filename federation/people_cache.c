/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/people_cache.h"

#include "base/map.h"

enum { USES_MAX = 3 };

struct entry {
	enum { WANTED, ASKED, KNOWN } state;
	enum people_key kind;
	int uses;	/* how often found since the clock hand came by, up to USES_MAX */
	uint64_t round; /* KNOWN: when the answer was asked for; a flush begins a new round */
	struct person *person; /* owned; the last answer, NULL: nobody */
	size_t len;
	char key[];
};

struct wanted {
	struct entry **entries;
	size_t count, size;
};

struct people_cache {
	struct map *by_key[PEOPLE_KEYS];
	struct wanted wanted[PEOPLE_KEYS];
	struct entry **slots; /* all entries; the clock hand goes round here */
	size_t count, size, hand, max;
	uint64_t round;
	people_cache_drop *drop;
	void *ctx;
};

struct people_cache *people_cache_new(size_t max, people_cache_drop *drop, void *ctx)
{
	struct people_cache *cache = mem_new(struct people_cache);

	for (size_t i = 0; i < PEOPLE_KEYS; i++)
		cache->by_key[i] = map_new();
	cache->max = max;
	cache->drop = drop;
	cache->ctx = ctx;
	return cache;
}

void people_cache_free(struct people_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->count; i++) {
		person_free(cache->slots[i]->person);
		free(cache->slots[i]);
	}
	for (size_t i = 0; i < PEOPLE_KEYS; i++) {
		map_free(cache->by_key[i]);
		free(cache->wanted[i].entries);
	}
	free(cache->slots);
	free(cache);
}

static void set_person(struct people_cache *cache, struct entry *entry, struct person *person)
{
	struct person *before = entry->person;

	entry->person = person;
	if (before)
		cache->drop(cache->ctx, before);
}

static void want(struct people_cache *cache, struct entry *entry)
{
	struct wanted *wanted = &cache->wanted[entry->kind];

	if (wanted->count == wanted->size) {
		wanted->size = wanted->size ? 2 * wanted->size : 64;
		wanted->entries =
			mem_resize(wanted->entries, wanted->size, sizeof *wanted->entries);
	}
	wanted->entries[wanted->count++] = entry;
	entry->state = WANTED;
}

static bool is_fresh(const struct people_cache *cache, const struct entry *entry)
{
	return entry->state == KNOWN && entry->round == cache->round;
}

/* A slot for one more entry: a new one while there is room, else that of the first entry under the
 * hand that is known and unused or stale. When all are being asked, there is one more than `max`.
 */
static struct entry **slot(struct people_cache *cache)
{
	for (size_t steps = 0; cache->count >= cache->max && steps < (USES_MAX + 1) * cache->count;
	     steps++) {
		struct entry **at = &cache->slots[cache->hand];
		struct entry *entry = *at;
		cache->hand = (cache->hand + 1) % cache->count;
		if (entry->state != KNOWN)
			continue;
		if (entry->uses > 0 && is_fresh(cache, entry)) {
			entry->uses--;
			continue;
		}
		map_remove(cache->by_key[entry->kind], (struct slice){ entry->key, entry->len });
		set_person(cache, entry, NULL);
		free(entry);
		return at;
	}
	if (cache->count == cache->size) {
		cache->size = cache->size ? 2 * cache->size : 256;
		cache->slots = mem_resize(cache->slots, cache->size, sizeof(struct entry *));
	}
	return &cache->slots[cache->count++];
}

static struct entry *add(struct people_cache *cache, enum people_key kind, struct slice key)
{
	struct entry *entry = mem_alloc(sizeof *entry + key.len);

	entry->kind = kind;
	entry->len = key.len;
	if (key.len > 0)
		memcpy(entry->key, key.data, key.len);
	*slot(cache) = entry;
	map_put(cache->by_key[kind], key, entry);
	return entry;
}

enum hr_status people_cache_find(struct people_cache *cache, enum people_key kind, struct slice key,
				 const struct person **out)
{
	struct entry *entry = map_get(cache->by_key[kind], key);

	if (entry && is_fresh(cache, entry)) {
		entry->uses += entry->uses < USES_MAX;
		if (!entry->person)
			return HR_NONE;
		*out = entry->person;
		return HR_OK;
	}
	if (!entry)
		want(cache, add(cache, kind, key));
	else if (entry->state == KNOWN)
		want(cache, entry);
	return HR_RETRY;
}

void people_cache_flush(struct people_cache *cache)
{
	cache->round++;
}

size_t people_cache_wanted(const struct people_cache *cache, enum people_key kind)
{
	return cache->wanted[kind].count;
}

size_t people_cache_ask(struct people_cache *cache, enum people_key kind, struct slice *keys,
			size_t max, uint64_t *round)
{
	struct wanted *wanted = &cache->wanted[kind];
	size_t n = wanted->count < max ? wanted->count : max;

	for (size_t i = 0; i < n; i++) {
		struct entry *entry = wanted->entries[i];
		entry->state = ASKED;
		keys[i] = (struct slice){ entry->key, entry->len };
	}
	wanted->count -= n;
	if (wanted->count > 0)
		memmove(wanted->entries, wanted->entries + n,
			wanted->count * sizeof *wanted->entries);
	*round = cache->round;
	return n;
}

void people_cache_answer(struct people_cache *cache, enum people_key kind, struct slice key,
			 struct person *person, uint64_t round)
{
	struct entry *entry = map_get(cache->by_key[kind], key);

	if (!entry || entry->state != ASKED) {
		person_free(person);
		return;
	}
	if (round != cache->round) {
		person_free(person);
		want(cache, entry);
		return;
	}
	set_person(cache, entry, person);
	entry->round = round;
	entry->uses = 0;
	entry->state = KNOWN;
}

void people_cache_retry(struct people_cache *cache, enum people_key kind, const struct slice *keys,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct entry *entry = map_get(cache->by_key[kind], keys[i]);
		if (entry && entry->state == ASKED)
			want(cache, entry);
	}
}

size_t people_cache_count(const struct people_cache *cache)
{
	return cache->count;
}
