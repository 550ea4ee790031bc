/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of people, and what is to be asked: answers, also "nobody", by key, until the next
 * flush. Pure: federation/registry.h does the asking.
 *
 *   find: not known ─► wanted ─ask─► asked ─answer─► known ─flush, find─► wanted
 *                        ▲─────── retry, or an answer from before a flush ───┘
 *
 * What is wanted or asked stays; of what is known the least used goes when there is no room. */
#pragma once

#include "base/err.h"
#include "base/slice.h"
#include "schema/people.h"

struct people_cache;

/* Takes a person that is no longer known, but may have been handed out in this turn. */
typedef void people_cache_drop(void *ctx, struct person *person);

struct people_cache *people_cache_new(size_t max, people_cache_drop *drop, void *ctx);
void people_cache_free(struct people_cache *cache); /* people go at once; NULL is fine */
DEFINE_SCOPED(people_cache)

/* HR_OK: *out is the cache's. HR_NONE: nobody. HR_RETRY: not known; it is wanted now. */
enum hr_status people_cache_find(struct people_cache *cache, enum people_key kind, struct slice key,
				 const struct person **out);
/* Forgets what is known; what has been asked will be asked again. */
void people_cache_flush(struct people_cache *cache);

size_t people_cache_wanted(const struct people_cache *cache, enum people_key kind);
/* Puts up to `max` wanted keys, the oldest first, into `keys` and calls them asked. They stay in
 * place until answered. *round is to come back with the answers. */
size_t people_cache_ask(struct people_cache *cache, enum people_key kind, struct slice *keys,
			size_t max, uint64_t *round);
/* `person` (taken; NULL: nobody) has that key. A key that was not asked is ignored. */
void people_cache_answer(struct people_cache *cache, enum people_key kind, struct slice key,
			 struct person *person, uint64_t round);
/* No answer came: those of these keys that are still asked are wanted again. */
void people_cache_retry(struct people_cache *cache, enum people_key kind, const struct slice *keys,
			size_t n);
size_t people_cache_count(const struct people_cache *cache); /* keys held, in whatever state */
