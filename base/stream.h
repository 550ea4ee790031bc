/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection that we dial, with or without TLS (GnuTLS), on the loop. Bytes written in one
 * turn leave in one write at its end. The object reports exactly one stream_events.closed, after
 * which the owner calls stream_free (allowed inside every callback). */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/slice.h"

enum stream_tls {
	STREAM_PLAIN,
	STREAM_TLS, /* handshake at once; the certificate must verify for `host` against ca_file */
};

struct stream_options {
	const char *host; /* name or address; resolved off the loop */
	uint16_t port;
	enum stream_tls tls;
	const char *ca_file;    /* PEM; NULL: the system's trust store */
	msec connect_timeout;   /* resolve + connect + handshake; 0: 10 s */
	size_t write_limit;     /* bytes waiting to leave; past it the stream closes with HR_FAIL. 0: 64 MiB */
};

struct stream_events {
	void (*opened)(void *ctx);
	/* Bytes as they came, borrowed for the call. */
	void (*received)(void *ctx, struct slice bytes);
	/* What was waiting fell below stream_options.write_limit / 4 after having been above half. May be NULL. */
	void (*drained)(void *ctx);
	/* err->status HR_NONE: the peer closed in good order. */
	void (*closed)(void *ctx, const struct hr_err *err);
};

struct stream;
/* Copies the options; begins to connect. Failure to connect is reported by `closed`, never here. */
struct stream *stream_connect(struct loop *loop, const struct stream_options *options,
			      const struct stream_events *events, void *ctx);
void stream_free(struct stream *stream); /* what is unsent is lost; no event follows; NULL is fine */
DEFINE_SCOPED(stream)

void stream_write(struct stream *stream, struct slice bytes); /* copied */
size_t stream_waiting(const struct stream *stream); /* bytes accepted and not yet given to the kernel */
void stream_pause(struct stream *stream);  /* stops reading: TCP pushes back. At most one more `received` may come */
void stream_resume(struct stream *stream);
void stream_shutdown(struct stream *stream); /* writes what waits, then closes; `closed` follows */
