/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/picture.h"

#include "base/map.h"
#include "gateway/mail/gmime.h"

enum { HTML_MAX = 1024 * 1024, NAMES_MAX = 4 * MIME_PARTS_MAX, NAME_MAX_LEN = 900 };

struct pictures {
	const struct mime *mime;
	struct map *named; /* what its HTML names as cid: -> anything; NULL: not looked for yet */
};

static bool is_related(const struct mime *mime, const struct mime_part *part)
{
	while (part->depth > 0) {
		part = mime_part(mime, part->parent);
		if (strcmp(part->type, "multipart/related") == 0)
			return true;
	}
	return false;
}

/* The name that `text` begins with, as it is in a Content-ID. Returns its length. */
static size_t add_name(struct pictures *pictures, struct slice text)
{
	size_t len = 0;

	while (len < text.len && !strchr("\"'<>) \t\r\n", text.data[len]))
		len++;
	if (len == 0 || len > NAME_MAX_LEN)
		return len;
	g_autofree char *name = g_uri_unescape_segment(text.data, text.data + len, NULL);
	map_put(pictures->named, name ? slice_str(name) : (struct slice){ text.data, len },
		pictures);
	return len;
}

/* Goes over `html` once: what follows cid: up to its end is not looked at for another. */
static void add_names(struct pictures *pictures, struct slice html)
{
	static const struct slice mark = { "cid:", 4 };
	const char *hit;

	while (html.len > 0 && map_count(pictures->named) < NAMES_MAX &&
	       (hit = memmem(html.data, html.len, mark.data, mark.len))) {
		size_t at = (size_t)(hit - html.data) + mark.len;

		at += add_name(pictures, (struct slice){ html.data + at, html.len - at });
		html = (struct slice){ html.data + at, html.len - at };
	}
}

static void find_names(struct pictures *pictures)
{
	const struct mime *mime = pictures->mime;
	size_t left = HTML_MAX;

	pictures->named = map_new();
	for (size_t i = 0; i < mime_count(mime) && left > 0; i++) {
		const struct mime_part *part = mime_part(mime, i);
		scoped_buf html = BUF_INIT(left);

		if (strcmp(part->type, "text/html") != 0 || !is_related(mime, part))
			continue;
		mime_decode(part, &html);
		left -= html.len;
		add_names(pictures, buf_slice(&html));
	}
}

bool pictures_have(struct pictures *pictures, const struct mime_part *part)
{
	if (strncmp(part->type, "image/", 6) != 0 || mime_is_attachment(part) ||
	    !is_related(pictures->mime, part))
		return false;
	if (!pictures->named)
		find_names(pictures);
	char **ids = mime_ids(part, "Content-ID", 1);
	bool is_named = ids[0] && map_get(pictures->named, slice_str(ids[0]));
	mime_ids_free(ids);
	return is_named;
}

struct pictures *pictures_new(const struct mime *mime)
{
	struct pictures *pictures = mem_new(struct pictures);

	pictures->mime = mime;
	return pictures;
}

void pictures_free(struct pictures *pictures)
{
	if (pictures)
		map_free(pictures->named);
	free(pictures);
}
