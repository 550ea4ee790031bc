/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/tally.h"

#include "base/mem.h"

#include <string.h>

void tally_begin(struct tally *tally, uint64_t first, size_t pairs)
{
	tally_free(tally);
	*tally = (struct tally){ .first = first, .pairs = pairs };
	tally->last = mem_array(uint64_t, pairs);
}

void tally_free(struct tally *tally)
{
	free(tally->last);
	free(tally->bits);
	free(tally->late_us);
	*tally = (struct tally){ 0 };
}

static void grow_bits(struct tally *tally, size_t need)
{
	size_t size = tally->bits_size ? tally->bits_size : 4096;

	if (need <= tally->bits_size)
		return;
	while (size < need)
		size *= 2;
	tally->bits = mem_resize(tally->bits, size, 1);
	memset(tally->bits + tally->bits_size, 0, size - tally->bits_size);
	tally->bits_size = size;
}

bool tally_seen(struct tally *tally, uint64_t number, size_t pair)
{
	uint64_t index = number - tally->first;
	unsigned char bit = (unsigned char)(1 << index % 8);

	if (number < tally->first || index >= tally->sent) {
		tally->strays++;
		return false;
	}
	grow_bits(tally, index / 8 + 1);
	if (tally->bits[index / 8] & bit) {
		tally->duplicates++;
		return false;
	}
	tally->bits[index / 8] |= bit;
	tally->received++;
	if (number < tally->last[pair])
		tally->disordered++;
	else
		tally->last[pair] = number + 1;
	return true;
}

void tally_late(struct tally *tally, int64_t late_us)
{
	if (tally->late_count == tally->late_size) {
		tally->late_size = tally->late_size ? 2 * tally->late_size : 4096;
		tally->late_us = mem_resize(tally->late_us, tally->late_size, sizeof(uint32_t));
	}
	tally->late_us[tally->late_count++] = late_us < 0	     ? 0
					      : late_us > UINT32_MAX ? UINT32_MAX
								     : (uint32_t)late_us;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t tally_quantile(struct tally *tally, double share)
{
	if (tally->late_count == 0)
		return 0;
	qsort(tally->late_us, tally->late_count, sizeof(uint32_t), by_value);
	size_t rank = (size_t)(share * (double)tally->late_count);
	return tally->late_us[rank < tally->late_count ? rank : tally->late_count - 1];
}
