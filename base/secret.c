/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum hr_status secret_path(const char *directory, const char *name, char **out, struct hr_err *err)
{
	if (!directory)
		return err_set(err, HR_FAIL, "secret file %s: there is no secrets directory", name);
	if (!*name || *name == '.' || strchr(name, '/'))
		return err_set(err, HR_FAIL,
			       "\"%s\" is not the name of a file in the secrets directory", name);
	scoped_str path = str_format("%s/%s", directory, name);

	if (access(path, R_OK) != 0)
		return err_set(err, HR_FAIL, "secret file %s: %s", name, strerror(errno));
	*out = give(path);
	return HR_OK;
}

/* The bytes read, at most `size`, or -1 and errno. */
static ssize_t read_file(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	ssize_t got = -1;

	if (fd < 0)
		return -1;
	while (len < size && (got = read(fd, data + len, size - len)) > 0)
		len += (size_t)got;
	int why = errno;

	close(fd);
	errno = why;
	return got < 0 ? -1 : (ssize_t)len;
}

/* Cuts what was read to its first line. */
static enum hr_status take_line(char *data, size_t len, const char *name, struct hr_err *err)
{
	if (len > SECRET_BYTES)
		return err_set(err, HR_FAIL, "secret file %s is longer than %d bytes", name,
			       SECRET_BYTES);
	size_t line = strcspn(data, "\r\n");

	explicit_bzero(data + line, len - line);
	if (line == 0)
		return err_set(err, HR_FAIL, "secret file %s is empty", name);
	return HR_OK;
}

enum hr_status secret_read(const char *directory, const char *name, char **out, struct hr_err *err)
{
	scoped_str path = NULL;

	if (secret_path(directory, name, &path, err) != HR_OK)
		return err->status;
	char *data = mem_alloc(SECRET_BYTES + 2);
	ssize_t len = read_file(path, data, SECRET_BYTES + 1);

	if (len < 0)
		err_set(err, HR_FAIL, "secret file %s: %s", name, strerror(errno));
	else if (take_line(data, (size_t)len, name, err) == HR_OK) {
		*out = data;
		return HR_OK;
	}
	explicit_bzero(data, SECRET_BYTES + 1);
	free(data);
	return err->status;
}

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
