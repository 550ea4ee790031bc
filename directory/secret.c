/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { ROOM_BYTES = SECRET_BYTES + 2 }; /* of every secret, so that all of it can be overwritten */

enum hr_status secret_path(const char *directory, const char *name, char **out, struct hr_err *err)
{
	if (!*name || *name == '.' || strchr(name, '/'))
		return err_set(err, HR_FAIL,
			       "\"%s\" is not the name of a file in the secrets directory", name);
	char *path = str_format("%s/%s", directory, name);
	if (access(path, R_OK) != 0) {
		err_set(err, HR_FAIL, "secret file %s: %s", name, strerror(errno));
		free(path);
		return HR_FAIL;
	}
	*out = path;
	return HR_OK;
}

static ssize_t read_file(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got = -1;

	if (fd < 0)
		return -1;
	while (len < size && (got = read(fd, data + len, size - len)) > 0)
		len += (size_t)got;
	close(fd);
	return got < 0 ? -1 : (ssize_t)len;
}

enum hr_status secret_read(const char *directory, const char *name, char **out, struct hr_err *err)
{
	scoped_str path = NULL;

	if (secret_path(directory, name, &path, err) != HR_OK)
		return HR_FAIL;
	char *data = mem_alloc(ROOM_BYTES);
	ssize_t len = read_file(path, data, SECRET_BYTES + 1);
	if (len < 0) {
		err_set(err, HR_FAIL, "secret file %s: %s", name, strerror(errno));
	} else if (len > SECRET_BYTES) {
		err_set(err, HR_FAIL, "secret file %s is longer than %d bytes", name, SECRET_BYTES);
	} else {
		data[strcspn(data, "\r\n")] = '\0';
		if (*data) {
			*out = data;
			return HR_OK;
		}
		err_set(err, HR_FAIL, "secret file %s is empty", name);
	}
	secret_free(data);
	return HR_FAIL;
}

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, ROOM_BYTES);
	free(secret);
}
