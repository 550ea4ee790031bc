/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection that we dial, with or without TLS (GnuTLS, 1.2 and later), on the loop. Every
 * address of the host is tried in turn. Bytes written in one turn leave in one write at its end.
 * The object reports exactly one stream_events.closed, never inside a call of its owner, after
 * which the owner calls stream_free (allowed inside every callback). When the peer ends its
 * direction in good order, what waits is still written before `closed`. */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/slice.h"

#include <stdint.h>

enum stream_tls {
	STREAM_PLAIN,
	STREAM_TLS, /* handshake at once; the certificate must verify for `host` against ca_file */
};

struct stream_options {
	const char *host; /* name or address; resolved off the loop */
	uint16_t port;
	enum stream_tls tls;
	const char *ca_file;  /* PEM; NULL: the system's trust store */
	msec connect_timeout; /* resolve + connect + handshake; 0: 10 s */
	size_t write_limit; /* bytes waiting to leave; past it the stream closes with HR_FAIL. 0: 64
			       MiB */
};

struct stream_events {
	void (*opened)(void *ctx);
	/* Bytes as they came, borrowed for the call. */
	void (*received)(void *ctx, struct slice bytes);
	/* What was waiting fell below stream_options.write_limit / 4 after having been above half.
	 * May be NULL. */
	void (*drained)(void *ctx);
	/* err->status HR_NONE: closed in good order, by the peer or after stream_shutdown. HR_FAIL:
	 * the certificate is not good, ca_file is unusable, or write_limit is passed. HR_RETRY: all
	 * else. */
	void (*closed)(void *ctx, const struct hr_err *err);
};

struct stream;
/* Copies the options; begins to connect. Failure to connect is reported by `closed`, never here. */
struct stream *stream_connect(struct loop *loop, const struct stream_options *options,
			      const struct stream_events *events, void *ctx);
void stream_free(
	struct stream *stream); /* what is unsent is lost; no event follows; NULL is fine */
DEFINE_SCOPED(stream)

/* Copied. Before `opened` it waits; after stream_shutdown, or the peer's end, it is dropped. */
void stream_write(struct stream *stream, struct slice bytes);
size_t
stream_waiting(const struct stream *stream); /* bytes accepted and not yet given to the kernel */
void stream_pause(struct stream *stream);    /* stops reading: TCP pushes back. At most one more
						`received` may come */
void stream_resume(struct stream *stream);
/* Writes what waits, ends our direction, waits for the peer's end (10 s at most); `closed` follows.
 * Bytes that still come are delivered, or thrown away while paused. */
void stream_shutdown(struct stream *stream);
