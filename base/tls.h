/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of one TLS session (GnuTLS; 1.2 and 1.3), without a socket: what came from the
 * peer is fed in, what is to go there is taken out. The peer's certificate must verify, and be for
 * `host`: a DNS name or an IP address in its subjectAltName (RFC 6125, RFC 5280). */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct tls;

/* ca_file: PEM; NULL: the system's trust store. HR_FAIL: it cannot be used. */
HR_MUST_USE enum hr_status tls_client_new(const char *host, const char *ca_file, struct tls **out,
					  struct hr_err *err);
void tls_free(struct tls *tls); /* NULL is fine */
DEFINE_SCOPED(tls)

void tls_feed(struct tls *tls, struct slice bytes); /* copied */
void tls_feed_end(struct tls *tls);		    /* the peer will send no more */
struct buf *tls_output(struct tls *tls); /* to be sent; the caller empties it after every call */

/* HR_RETRY: feed more. HR_FAIL: the certificate is not good. HR_UNSURE: anything else went wrong.
 */
HR_MUST_USE enum hr_status tls_handshake(struct tls *tls, struct hr_err *err);
/* Decrypts up to `size` bytes to `out`. HR_RETRY: feed more. HR_NONE: the peer has closed the
 * session in good order. HR_UNSURE: it is broken, or was cut off. */
HR_MUST_USE enum hr_status tls_read(struct tls *tls, char *out, size_t size, size_t *len,
				    struct hr_err *err);
HR_MUST_USE enum hr_status tls_write(struct tls *tls, struct slice bytes, struct hr_err *err);
void tls_close(struct tls *tls); /* says goodbye (close_notify) */
