/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that is an LDIF file, url file:///PATH: an export, or a list somebody keeps. Base and
 * filter are applied here. The anchor is entryUUID or objectGUID, or, of an entry with neither, the
 * DN: then a rename makes another person. Whenever the file is another one it is read whole, so it
 * should be replaced by a rename, as with mv(1): half a file would be half a directory. */
#include "directory/adapter.h"

#include "directory/filter.h"
#include "directory/ldif.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024 };

static const char scheme[] = "file://";

struct session {
	struct adapter_session shown;	       /* fd: inotify of the file's directory */
	const struct adapter_request *request; /* borrowed */
	const char *path;		       /* of the URL */
	struct filter *filter;
	struct entry *entry;
	char *broken; /* token of the file that could not be read; NULL: none */
};

static struct session *own(struct adapter_session *shown)
{
	return (struct session *)shown;
}

static void close_session(struct adapter_session *shown)
{
	struct session *session = own(shown);

	if (!session)
		return;
	filter_free(session->filter);
	entry_free(session->entry);
	free(session->broken);
	if (session->shown.fd >= 0)
		close(session->shown.fd);
	free(session);
}

/* Learns when a file of the directory is written, put in place or gets other rights. */
static enum hr_status watch_directory(struct session *session, struct hr_err *err)
{
	scoped_str path = str_dup(session->path);
	const char *directory = dirname(path);

	session->shown.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (session->shown.fd < 0 ||
	    inotify_add_watch(session->shown.fd, directory,
			      IN_CLOSE_WRITE | IN_MOVED_TO | IN_ATTRIB) < 0)
		return err_set(err, HR_RETRY, "watch %s: %s", directory, strerror(errno));
	return HR_OK;
}

static enum hr_status open_session(const struct adapter_request *request,
				   struct adapter_session **out, struct hr_err *err)
{
	struct session *session = mem_new(struct session);
	const char *url = request->context->urls[0];
	const struct publish_source *source = request->source;

	session->request = request;
	session->shown.fd = -1;
	if (!url || strncmp(url, scheme, sizeof scheme - 1) != 0 || url[sizeof scheme - 1] != '/')
		err_set(err, HR_FAIL, "not a URL like file:///path");
	else
		session->path = url + sizeof scheme - 1;
	if (!session->path || filter_new(source->filter, &session->filter, err) != HR_OK ||
	    watch_directory(session, err) != HR_OK) {
		close_session(&session->shown);
		return err->status;
	}
	session->entry =
		entry_new((const char *const *)source->attributes, source->attribute_count);
	session->shown.url = url;
	*out = &session->shown;
	return HR_OK;
}

/* Records to rows --------------------------------------------------------------------------------
 */

/* Whether a DN is the base or below it, as texts. */
static bool is_within(struct slice dn, const char *base)
{
	size_t len = strlen(base);

	if (dn.len < len || strncasecmp(dn.data + dn.len - len, base, len) != 0)
		return false;
	return dn.len == len || len == 0 || dn.data[dn.len - len - 1] == ',';
}

struct target {
	struct session *session;
	const struct adapter_sink *sink;
	int64_t count;
};

static enum hr_status take_record(void *arg, const struct ldif_record *record, struct hr_err *err)
{
	struct target *target = arg;
	struct session *session = target->session;
	struct entry *entry = session->entry;
	bool anchored = false;

	if (!is_within(record->dn, session->request->context->base_dn) ||
	    !filter_matches(session->filter, record->values, record->n))
		return HR_OK;
	entry_reset(entry);
	entry_set_dn(entry, record->dn);
	for (size_t i = 0; i < record->n; i++) {
		const struct attribute *value = &record->values[i];
		if (attribute_is(value->name, "entryUUID"))
			entry_set_uuid(entry, value->value);
		else if (attribute_is(value->name, "objectGUID"))
			entry_set_guid(entry, value->value);
		anchored |= attribute_is(value->name, "entryUUID") ||
			    attribute_is(value->name, "objectGUID");
		entry_add(entry, value->name, value->value);
	}
	if (!anchored)
		entry_set_anchor_dn(entry);
	target->count++;
	if (target->sink->entry(target->sink->arg, entry_row(entry), err) != HR_OK)
		return err->status;
	return stop_is_set(session->request->stop) ? err_set(err, HR_RETRY, "the daemon is ending")
						   : HR_OK;
}

/* The file ---------------------------------------------------------------------------------------
 */

/* What is another for every other content that the file has had. */
static char *stamp_of(const struct stat *file)
{
	return str_format("%ju:%ju:%jd.%09ld", (uintmax_t)file->st_ino, (uintmax_t)file->st_size,
			  (intmax_t)file->st_mtim.tv_sec, file->st_mtim.tv_nsec);
}

/* The same of a file that could not be read, which other rights may mend. */
static char *token_of(const struct stat *file)
{
	scoped_str stamp = stamp_of(file);

	return str_format("%s:%jd.%09ld", stamp, (intmax_t)file->st_ctim.tv_sec,
			  file->st_ctim.tv_nsec);
}

static enum hr_status look(const struct session *session, int fd, struct stat *file,
			   struct hr_err *err)
{
	if ((fd < 0 ? stat(session->path, file) : fstat(fd, file)) != 0)
		return err_set(err, HR_RETRY, "%s: %s", session->path, strerror(errno));
	if (!S_ISREG(file->st_mode))
		return err_set(err, HR_RETRY, "%s: not a file", session->path);
	return HR_OK;
}

static enum hr_status read_bytes(struct session *session, int fd, struct ldif *ldif,
				 struct hr_err *err)
{
	scoped_str chunk = mem_alloc(CHUNK_BYTES);
	ssize_t got;

	while ((got = read(fd, chunk, CHUNK_BYTES)) > 0)
		if (ldif_feed(ldif, (struct slice){ chunk, (size_t)got }, err) != HR_OK)
			return err_add(err, "%s", session->path);
	if (got < 0)
		return err_set(err, HR_FAIL, "%s: %s", session->path, strerror(errno));
	if (ldif_end(ldif, err) != HR_OK)
		return err_add(err, "%s", session->path);
	return HR_OK;
}

static enum hr_status read_open(struct session *session, int fd, const struct adapter_sink *sink,
				struct publish_cursor *position, struct hr_err *err)
{
	struct target target = { session, sink, 0 };
	scoped(ldif) ldif = ldif_new(take_record, &target);
	struct stat before, after;

	if (look(session, fd, &before, err) != HR_OK)
		return err->status;
	if (read_bytes(session, fd, ldif, err) != HR_OK) {
		free(session->broken);
		session->broken = err->status == HR_FAIL ? token_of(&before) : NULL;
		return err->status;
	}
	if (look(session, fd, &after, err) != HR_OK)
		return err->status;
	scoped_str stamp = stamp_of(&before);
	scoped_str later = stamp_of(&after);
	if (strcmp(stamp, later) != 0)
		return err_set(err, HR_RETRY, "%s: changed while it was read", session->path);
	*position = (struct publish_cursor){ .method = str_dup("file"),
					     .incarnation = give(stamp),
					     .entries = target.count };
	return HR_OK;
}

static enum hr_status read_all(struct adapter_session *shown, const struct adapter_sink *sink,
			       struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	struct stat file;

	if (look(session, -1, &file, err) != HR_OK)
		return err->status;
	int fd = open(session->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		free(session->broken);
		session->broken = token_of(&file);
		return err_set(err, HR_FAIL, "%s: %s", session->path, strerror(errno));
	}
	enum hr_status status = read_open(session, fd, sink, position, err);
	close(fd);
	return status;
}

static bool is_stamp(const char *known, const char *stamp)
{
	return known && strcmp(known, stamp) == 0;
}

static enum hr_status take_changes(struct adapter_session *shown, const struct adapter_sink *sink,
				   struct publish_cursor *position, struct hr_err *err)
{
	struct session *session = own(shown);
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct stat file;

	(void)sink;
	while (read(session->shown.fd, events, sizeof events) > 0)
		; /* whichever file it was */
	if (look(session, -1, &file, err) != HR_OK)
		return err->status;
	scoped_str stamp = stamp_of(&file);
	scoped_str token = token_of(&file);
	if (is_stamp(position->incarnation, stamp) || is_stamp(session->broken, token))
		return HR_NONE; /* what is broken stays so until it is another file */
	session->shown.doubt = ADAPTER_REPLACED;
	return err_set(err, HR_UNSURE, "%s is another file now", session->path);
}

const struct adapter adapter_ldif = {
	.kind = "ldif",
	.only_whole = true,
	.open = open_session,
	.read = read_all,
	.changes = take_changes,
	.close = close_session,
};
