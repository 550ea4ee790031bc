/* SPDX-License-Identifier: Apache-2.0 */
/* Any file is read into a struct or refused with a complaint that names it, and nothing leaks. */
#include "base/mem.h"
#include "base/options.h"
#include "base/time.h"

struct target {
	char *text, *path;
	bool flag;
	int64_t number;
	msec duration;
};

#define ROW(section_, key_, kind_, ...)                              \
	{                                                            \
		.section = section_, .key = #key_, .kind = kind_,    \
		.offset = offsetof(struct target, key_), __VA_ARGS__ \
	}
static const struct ini_option table[] = {
	ROW("main", text, OPTION_TEXT, .required = true),
	ROW("main", path, OPTION_PATH, .value = "/nowhere"),
	ROW("main", flag, OPTION_BOOL, .value = "yes"),
	ROW("other", number, OPTION_NUMBER, .low = -5, .high = 1000),
	ROW("other", duration, OPTION_DURATION, .value = "10s"),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target target = { 0 };
	struct hr_err err = { 0 };
	struct slice text = { (const char *)data, size };

	switch (options_parse("input", text, table, countof(table), &target, &err)) {
	case HR_OK:
		if (!target.text || target.path[0] != '/' || target.number < -5 ||
		    target.number > 1000 || target.duration < 0)
			abort();
		break;
	case HR_FAIL:
		if (strncmp(err.text, "input:", 6) != 0)
			abort();
		break;
	case HR_NONE:
	case HR_RETRY:
	case HR_UNSURE:
		abort();
	}
	options_free(table, countof(table), &target);
	return 0;
}
