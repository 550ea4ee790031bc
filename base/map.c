/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie in the order of their arrival in one array; an open-addressed index of 8-byte slots
 * leads to them, with enough of the hash in each slot to touch almost no wrong entry. Removing
 * leaves a hole in both, so a walk never misses its place; holes go when the array is full. */
#include "base/map.h"

#include <stdint.h>
#include <sys/random.h>

enum { FIRST_SLOTS = 8 };

struct entry {
	char *key; /* owned; NULL: a hole */
	size_t len;
	void *value;
	uint64_t hash;
};

struct slot {
	uint32_t tag; /* upper half of the hash */
	uint32_t at;  /* index of the entry + 1; 0: never used */
};

struct map {
	struct entry *entries;
	struct slot *slots;
	size_t slot_count; /* a power of two */
	size_t used;	   /* entries in use, holes too; never above capacity() */
	size_t count;
};

static uint64_t seed[2];

__attribute__((constructor)) static void draw_seed(void)
{
	if (getrandom(seed, sizeof seed, 0) != sizeof seed)
		abort();
}

static inline uint64_t rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein): one round a word, three at the end. */
static uint64_t hash_key(struct slice key)
{
	uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
			  seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)key.len << 56;
	const char *at = key.data;
	size_t left = key.len;

	for (; left >= 8; at += 8, left -= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)(unsigned char)at[i] << 8 * i;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t capacity(size_t slot_count)
{
	return slot_count / 4 * 3;
}

static void allocate(struct map *map, size_t slot_count)
{
	if (slot_count > UINT32_MAX / 2)
		abort();
	map->slot_count = slot_count;
	map->slots = mem_array(struct slot, slot_count);
	map->entries = mem_array(struct entry, capacity(slot_count));
}

struct map *map_new(void)
{
	struct map *map = mem_new(struct map);

	allocate(map, FIRST_SLOTS);
	return map;
}

void map_free(struct map *map)
{
	if (!map)
		return;
	for (size_t i = 0; i < map->used; i++)
		free(map->entries[i].key);
	free(map->entries);
	free(map->slots);
	free(map);
}

static struct entry *find(const struct map *map, struct slice key, uint64_t hash)
{
	size_t mask = map->slot_count - 1;
	uint32_t tag = (uint32_t)(hash >> 32);

	for (size_t i = hash & mask; map->slots[i].at; i = (i + 1) & mask) {
		if (map->slots[i].tag != tag)
			continue;
		struct entry *entry = &map->entries[map->slots[i].at - 1];
		if (entry->key && entry->len == key.len &&
		    (key.len == 0 || memcmp(entry->key, key.data, key.len) == 0))
			return entry;
	}
	return NULL;
}

/* Puts an entry that is not there yet at the end of the array, which has room. */
static void append(struct map *map, struct entry entry)
{
	size_t mask = map->slot_count - 1;
	size_t i = entry.hash & mask;

	while (map->slots[i].at)
		i = (i + 1) & mask;
	map->entries[map->used++] = entry;
	map->slots[i] = (struct slot){ (uint32_t)(entry.hash >> 32), (uint32_t)map->used };
}

/* Without the holes, and with room for half as many again as there are. */
static void rebuild(struct map *map)
{
	struct map old = *map;
	size_t slot_count = FIRST_SLOTS;

	while (capacity(slot_count) < map->count + map->count / 2 + 1)
		slot_count *= 2;
	allocate(map, slot_count);
	map->used = 0;
	for (size_t i = 0; i < old.used; i++)
		if (old.entries[i].key)
			append(map, old.entries[i]);
	free(old.entries);
	free(old.slots);
}

void *map_get(const struct map *map, struct slice key)
{
	struct entry *entry = find(map, key, hash_key(key));

	return entry ? entry->value : NULL;
}

void *map_put(struct map *map, struct slice key, void *value)
{
	uint64_t hash = hash_key(key);
	struct entry *entry = find(map, key, hash);

	if (entry) {
		void *old = entry->value;
		entry->value = value;
		return old;
	}
	if (map->used == capacity(map->slot_count))
		rebuild(map);
	append(map, (struct entry){ mem_dup(key.data, key.len), key.len, value, hash });
	map->count++;
	return NULL;
}

void *map_remove(struct map *map, struct slice key)
{
	struct entry *entry = find(map, key, hash_key(key));

	if (!entry)
		return NULL;
	void *value = entry->value;
	free(entry->key);
	entry->key = NULL;
	map->count--;
	return value;
}

size_t map_count(const struct map *map)
{
	return map->count;
}

bool map_next(const struct map *map, size_t *at, struct slice *key, void **value)
{
	while (*at < map->used && !map->entries[*at].key)
		++*at;
	if (*at >= map->used)
		return false;
	struct entry *entry = &map->entries[(*at)++];
	if (key)
		*key = (struct slice){ entry->key, entry->len };
	if (value)
		*value = entry->value;
	return true;
}
