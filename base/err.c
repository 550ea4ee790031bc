/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Takes off the first part of a character at the end, which a cut may have left there. */
static size_t whole_characters(const char *text, size_t len)
{
	size_t start = len;

	while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return len;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	return len - start + 1 < need ? start - 1 : len;
}

static void one_line(char *text)
{
	size_t len = whole_characters(text, strlen(text));

	text[len] = '\0';
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	for (size_t at = 0, step; at < len; at += step) {
		uint32_t code = 0;

		step = utf8_next((struct slice){ text + at, len - at }, &code);
		if (step == 0)
			text[at] = '?'; /* what a peer sent may be anything */
		else if (code < ' ' || code == 0x7f)
			text[at] = ' ';
		step = step ? step : 1;
	}
}

enum hr_status err_set(struct hr_err *err, enum hr_status status, const char *fmt, ...)
{
	va_list args;

	err->status = status;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, args);
	va_end(args);
	one_line(err->text);
	return status;
}

enum hr_status err_add(struct hr_err *err, const char *fmt, ...)
{
	struct hr_err inner = *err;
	va_list args;

	va_start(args, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, args);
	va_end(args);

	size_t used = strlen(err->text);
	snprintf(err->text + used, sizeof err->text - used, ": %s", inner.text);
	one_line(err->text);
	return err->status;
}

const char *hr_status_name(enum hr_status status)
{
	switch (status) {
	case HR_OK:
		return "ok";
	case HR_NONE:
		return "none";
	case HR_RETRY:
		return "retry";
	case HR_FAIL:
		return "fail";
	case HR_UNSURE:
		return "unsure";
	}
	return "?";
}
