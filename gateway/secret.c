/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/secret.h"

#include "base/log.h"
#include "base/mem.h"
#include "federation/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_MAX = 4096, LINK_KEY_LEN = 40 };

/* HR_NONE: there is no such file. */
static enum hr_status read_file(const char *path, char **out, struct hr_err *err)
{
	char *text = mem_alloc(SECRET_MAX + 1);
	scoped_str owned = text;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, errno == ENOENT ? HR_NONE : HR_FAIL, "secret %s: %s", path,
			       strerror(errno));
	ssize_t n = read(fd, text, SECRET_MAX);
	int why = errno;

	close(fd);
	if (n < 0)
		return err_set(err, HR_FAIL, "secret %s: %s", path, strerror(why));
	text[strcspn(text, "\r\n")] = '\0';
	if (!*text)
		return err_set(err, HR_FAIL, "secret %s is empty", path);
	*out = str_dup(text);
	memset(text, 0, SECRET_MAX);
	return HR_OK;
}

enum hr_status secret_read(const char *directory, const char *name, char **out, struct hr_err *err)
{
	if (!directory)
		return err_set(err, HR_FAIL, "secret %s: there is no secrets directory", name);
	if (!*name || *name == '.' || strchr(name, '/'))
		return err_set(err, HR_FAIL, "secret \"%s\" is not the name of a file", name);
	scoped_str path = str_format("%s/%s", directory, name);

	enum hr_status status = read_file(path, out, err);

	return status == HR_NONE ? (err->status = HR_FAIL) : status;
}

enum hr_status secret_link_key(const char *directory, const char *name, char **out,
			       struct hr_err *err)
{
	scoped_str path = str_format("%s/%s", directory, name);
	char made_public[LINK_KEY_LEN + 1], made_secret[LINK_KEY_LEN + 1];
	scoped_str text = NULL;
	enum hr_status status = read_file(path, &text, err);

	if (status == HR_NONE) {
		log_warn("link.no_key", LOG_STR("path", path),
			 LOG_STR("error", "no site will accept this gateway: make a key with "
					  "hedgerow-gateway --generate-key"));
		status = link_key_generate(made_public, made_secret, err);
		if (status == HR_OK)
			text = str_dup(made_secret);
	}
	if (status != HR_OK)
		return status;
	if (strlen(text) != LINK_KEY_LEN)
		return err_set(err, HR_FAIL, "link key %s has %zu characters, not %d", path,
			       strlen(text), LINK_KEY_LEN);
	*out = give(text);
	return HR_OK;
}

enum hr_status secret_generate_link_key(const char *path, char **public_key, struct hr_err *err)
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
	memset(secret_text, 0, sizeof secret_text);
	if (!written) {
		unlink(path);
		return err_set(err, HR_FAIL, "%s: %s", path, strerror(why));
	}
	*public_key = str_dup(public_text);
	return HR_OK;
}
