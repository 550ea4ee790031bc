/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/network.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { TEXT_MAX = 64, BITS = 128, MAPPED_BITS = 96 };

static bool parse_address(const char *text, uint8_t address[16], unsigned *first_bit)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	*first_bit = 0;
	if (inet_pton(AF_INET6, text, address) == 1)
		return true;
	*first_bit = MAPPED_BITS;
	memcpy(address, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, address + sizeof mapped) == 1;
}

/* The number after the slash, at most `max`. */
static bool parse_bits(const char *text, unsigned max, unsigned *bits)
{
	size_t len = strspn(text, "0123456789");
	unsigned long value = strtoul(text, NULL, 10);

	if (len == 0 || len > 3 || text[len] || value > max)
		return false;
	*bits = (unsigned)value;
	return true;
}

static uint8_t mask_of(unsigned bits, unsigned byte)
{
	unsigned left = bits > 8 * byte ? bits - 8 * byte : 0;

	return (uint8_t)(left >= 8 ? 0xff : 0xff00u >> left);
}

bool network_holds(const struct network *network, const uint8_t address[16])
{
	for (unsigned i = 0; i < 16; i++)
		if ((network->address[i] ^ address[i]) & mask_of(network->bits, i))
			return false;
	return true;
}

enum hr_status network_parse(struct slice text, struct network *out, struct hr_err *err)
{
	char address[TEXT_MAX] = "";
	struct network network = { .bits = BITS };
	unsigned first_bit, bits;

	if (text.len >= sizeof address || (text.len && memchr(text.data, '\0', text.len)))
		return err_set(err, HR_FAIL, "not an IP address");
	if (text.len > 0)
		memcpy(address, text.data, text.len);
	char *slash = strchr(address, '/');
	if (slash)
		*slash = '\0';
	if (!parse_address(address, network.address, &first_bit))
		return err_set(err, HR_FAIL, "not an IP address");
	if (slash && !parse_bits(slash + 1, BITS - first_bit, &bits))
		return err_set(err, HR_FAIL, "not the length of a network after /");
	if (slash)
		network.bits = first_bit + bits;
	for (unsigned i = 0; i < 16; i++)
		if (network.address[i] & ~mask_of(network.bits, i))
			return err_set(err, HR_FAIL, "bits after the first %u must be 0",
				       network.bits - first_bit);
	*out = network;
	return HR_OK;
}
