/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a smarthost answers, in whatever pieces: each mail has one result, DATA is said once for
 * it and its text once, while it has none; a session is over once, and no credentials are said
 * before TLS where TLS is required. */
#include "gateway/mail/smtp.h"

#include <stdint.h>
#include <string.h>

struct scene {
	struct smtp *smtp;
	bool starttls, secured, sending, over;
	int left;	 /* mails to send */
	int data, texts; /* said of the last one */
};

static void on_secure(void *ctx)
{
	struct scene *scene = ctx;

	if (!scene->starttls || scene->secured)
		abort();
	scene->secured = true;
}

static void on_ready(void *ctx)
{
	struct scene *scene = ctx;

	if (scene->over || scene->sending || (scene->starttls && !scene->secured))
		abort();
}

static void on_result(void *ctx, enum smtp_result result, const char *text)
{
	struct scene *scene = ctx;

	if (!scene->sending || !text || result > SMTP_CUT)
		abort();
	scene->sending = false;
}

static void on_over(void *ctx, const char *text)
{
	struct scene *scene = ctx;

	if (scene->over || scene->sending || !text)
		abort();
	scene->over = true;
}

static const struct smtp_ops ops = { on_secure, on_ready, on_result, on_over };

static void look(struct scene *scene, bool was_secured)
{
	struct buf *out = smtp_output(scene->smtp);

	if (scene->starttls && !was_secured && out->len && strstr(buf_text(out), "AUTH"))
		abort();
	scene->data += out->len && strstr(buf_text(out), "DATA\r\n");
	if (out->len && strstr(buf_text(out), "..y")) {
		scene->texts++;
		if (scene->texts > 1 || scene->data != 1)
			abort();
	}
	if (scene->data > 1)
		abort();
	buf_wipe(out);
	if (scene->secured && !was_secured && !scene->over)
		smtp_secured(scene->smtp);
	if (smtp_is_ready(scene->smtp) && !scene->sending && !scene->over && scene->left-- > 0) {
		scene->sending = true;
		scene->data = scene->texts = 0;
		smtp_send(scene->smtp, &(struct smtp_mail){ .from = "a@example.com",
							    .to = "b@example.com",
							    .bytes = slice_lit("x\r\n.y\r\n"),
							    .is_utf8 = scene->left == 1 });
	}
}

/* The first byte chooses; the rest are the answers, in pieces that end with a byte of 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scene scene = { .left = 3, .starttls = size > 0 && (data[0] & 1) };
	bool login = size > 0 && (data[0] & 2);

	scene.smtp = smtp_new(&(struct smtp_options){ .host = "x",
						      .starttls = scene.starttls,
						      .username = login ? "u" : NULL,
						      .password = login ? "p" : NULL },
			      &ops, &scene);
	for (size_t at = 1; at < size;) {
		const uint8_t *end = memchr(data + at, 0, size - at);
		size_t len = end ? (size_t)(end - data) - at : size - at;
		bool was_secured = scene.secured;

		smtp_received(scene.smtp, (struct slice){ (const char *)data + at, len });
		look(&scene, was_secured);
		look(&scene, scene.secured); /* what sending said */
		at += len + 1;
	}
	smtp_lost(scene.smtp, "end");
	if (scene.sending || !scene.over)
		abort();
	smtp_free(scene.smtp);
	return 0;
}
