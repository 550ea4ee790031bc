/* SPDX-License-Identifier: Apache-2.0 */
/* Our cutting of a mail against GMime's own parser: for every mail of tests/mail the same parts, in
 * the same order, of the same types, with the same content. */
#include "gateway/mail/gmime.h"
#include "gateway/mail/mime.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

#include <cmocka.h>

static void read_file(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		fail_msg("%s cannot be opened", path);
	for (char *room; (room = buf_reserve(out, 65536)) && !feof(file) && !ferror(file);)
		out->len += fread(room, 1, 65536, file);
	fclose(file);
}

struct walk {
	const char *name; /* of the file */
	const struct mime *mime;
	size_t next;
};

static void content_of(GMimePart *part, struct buf *out)
{
	gmime_scoped(GMimeStream) stream = g_mime_stream_mem_new();
	GMimeDataWrapper *content = g_mime_part_get_content(part);

	if (content)
		g_mime_data_wrapper_write_to_stream(content, stream);
	GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	buf_add(out, bytes->data, bytes->len);
}

static void compare_part(struct walk *walk, GMimeObject *theirs)
{
	GMimeContentType *type = g_mime_object_get_content_type(theirs);
	g_autofree char *name = g_mime_content_type_get_mime_type(type);

	if (walk->next == mime_count(walk->mime))
		fail_msg("%s: we have no part %zu", walk->name, walk->next);
	const struct mime_part *ours = mime_part(walk->mime, walk->next++);
	if (strcasecmp(name, ours->type) != 0)
		fail_msg("%s: part %zu is %s, not %s", walk->name, walk->next - 1, ours->type,
			 name);
	if (GMIME_IS_MULTIPART(theirs)) {
		GMimeMultipart *parts = GMIME_MULTIPART(theirs);
		for (int i = 0; i < g_mime_multipart_get_count(parts); i++)
			compare_part(walk, g_mime_multipart_get_part(parts, i));
	} else if (GMIME_IS_PART(theirs)) {
		scoped_buf expected = BUF_INIT(0), seen = BUF_INIT(0);
		content_of(GMIME_PART(theirs), &expected);
		mime_decode(ours, &seen);
		if (!slice_eq(buf_slice(&seen), buf_slice(&expected)))
			fail_msg("%s: part %zu has %s, not %s", walk->name, walk->next - 1,
				 buf_text(&seen), buf_text(&expected));
	}
}

static void compare_mail(const char *path, const char *name)
{
	scoped_buf bytes = BUF_INIT(0);
	scoped(mime) mime = NULL;
	struct hr_err err;

	read_file(path, &bytes);
	if (mime_parse(buf_slice(&bytes), &mime, &err) != HR_OK)
		fail_msg("%s: %s", name, err.text);
	gmime_scoped(GMimeStream) stream = g_mime_stream_mem_new_with_buffer(bytes.data, bytes.len);
	gmime_scoped(GMimeParser) parser = g_mime_parser_new_with_stream(stream);
	gmime_scoped(GMimeMessage) message = g_mime_parser_construct_message(parser, NULL);
	struct walk walk = { .name = name, .mime = mime };
	compare_part(&walk, g_mime_message_get_mime_part(message));
	assert_int_equal(walk.next, mime_count(mime));
}

static void finds_the_parts_that_gmime_finds(void **state)
{
	const char *top = getenv("top_srcdir");
	scoped_str folder = str_format("%s/tests/mail", top ? top : ".");
	DIR *dir = opendir(folder);
	size_t mails = 0;

	(void)state;
	assert_non_null(dir);
	gmime_begin();
	for (struct dirent *entry; (entry = readdir(dir));) {
		scoped_str path = str_format("%s/%s", folder, entry->d_name);
		if (!strstr(entry->d_name, ".eml"))
			continue;
		compare_mail(path, entry->d_name);
		mails++;
	}
	closedir(dir);
	assert_true(mails > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_parts_that_gmime_finds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
