/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a payload is, what it says is bounded text, found only where it stands; and a command is
 * read or refused. */
#include "base/utf8.h"
#include "gateway/said.h"
#include "gateway/xmpp/command.h"

#include <stdint.h>

static void check(const char *text)
{
	if (text && (!utf8_xml(slice_str(text)) || strlen(text) > 64 * 1024))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice payload = { (const char *)data, size };
	struct command command;
	scoped_said said = { 0 };
	struct hr_err err;

	said_read(payload, &said);
	check(said.body);
	check(said.subject);
	check(said.thread);
	check(said.error);
	check(said.receipt_of);
	if (command_read(payload, &command, &err) == HR_OK && command.what == COMMAND_CHOOSE &&
	    strlen(command.mode) > 6)
		abort();
	return 0;
}
