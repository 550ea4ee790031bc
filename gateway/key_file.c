/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/key_file.h"

#include "base/log.h"
#include "base/secret.h"
#include "federation/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINK_KEY_LEN = 40 };

/* A good name of a file that is not there. */
static bool is_missing(const char *directory, const char *name)
{
	if (!directory || strchr(name, '/'))
		return false;
	scoped_str path = str_format("%s/%s", directory, name);

	return access(path, F_OK) != 0 && errno == ENOENT;
}

static enum hr_status make_up(char **out, struct hr_err *err)
{
	char public_text[LINK_KEY_LEN + 1], secret_text[LINK_KEY_LEN + 1];

	if (link_key_generate(public_text, secret_text, err) != HR_OK)
		return err->status;
	*out = str_dup(secret_text);
	explicit_bzero(secret_text, sizeof secret_text);
	return HR_OK;
}

enum hr_status key_file_read(const char *directory, const char *name, char **out,
			     struct hr_err *err)
{
	scoped_secret text = NULL;

	if (is_missing(directory, name)) {
		log_warn("link.no_key", LOG_STR("file", name),
			 LOG_STR("error", "no site will accept this gateway: make a key with "
					  "hedgerow-gateway --generate-key"));
		return make_up(out, err);
	}
	if (secret_read(directory, name, &text, err) != HR_OK)
		return err_add(err, "link key");
	if (strlen(text) != LINK_KEY_LEN)
		return err_set(err, HR_FAIL, "link key %s has %zu characters, not %d", name,
			       strlen(text), LINK_KEY_LEN);
	*out = give(text);
	return HR_OK;
}

enum hr_status key_file_make(const char *path, char **public_key, struct hr_err *err)
{
	char public_text[LINK_KEY_LEN + 1], secret_text[LINK_KEY_LEN + 1];

	if (link_key_generate(public_text, secret_text, err) != HR_OK)
		return err->status;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(err, HR_FAIL, "%s: %s", path, strerror(errno));
	bool written = dprintf(fd, "%s\n", secret_text) == LINK_KEY_LEN + 1 && fsync(fd) == 0;
	int why = errno;

	close(fd);
	explicit_bzero(secret_text, sizeof secret_text);
	if (!written) {
		unlink(path);
		return err_set(err, HR_FAIL, "%s: %s", path, strerror(why));
	}
	*public_key = str_dup(public_text);
	return HR_OK;
}
