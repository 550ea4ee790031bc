/* SPDX-License-Identifier: Apache-2.0 */
/* Hash map from bytes to pointers. Keys are copied; values are the caller's. The hash is keyed
 * with a random seed, since keys come from peers. Removing while walking is allowed for the
 * entry last returned by map_next only. */
#pragma once

#include "base/mem.h"
#include "base/slice.h"

struct map;

struct map *map_new(void);
void map_free(struct map *map); /* values are not freed; NULL is fine */
DEFINE_SCOPED(map)

void *map_get(const struct map *map, struct slice key);	       /* NULL: not there */
void *map_put(struct map *map, struct slice key, void *value); /* returns the value replaced */
void *map_remove(struct map *map, struct slice key);	       /* returns the value removed */
size_t map_count(const struct map *map);

/* for (size_t at = 0; map_next(map, &at, &key, &value);) */
bool map_next(const struct map *map, size_t *at, struct slice *key, void **value);
