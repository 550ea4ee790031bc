/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made for a test, and a peer on the loopback that shows one: a child process with
 * blocking calls, which exits with 0 when it has seen what it should. */
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
};

/* Valid since two hours ago, until `until`. issuer NULL: a CA of its own. The name "localhost" is
 * 127.0.0.1 too. */
void identity_make(struct identity *out, const char *name, const struct identity *issuer,
		   time_t until);
void identity_clear(struct identity *identity);
/* Writes its certificate, PEM, to a new file there; NULL: an empty file. The path is the caller's.
 */
char *identity_write(const char *directory, const char *name, const struct identity *identity);

struct peer {
	int fd;
	gnutls_session_t session; /* NULL: plain */
};
typedef void serve_fn(struct peer *peer);

struct server {
	pid_t pid;
	uint16_t port;
};

/* Listens, and serves the first who connects; with an identity: after a TLS handshake. */
struct server server_start(serve_fn *serve, const struct identity *identity);
void server_stop(struct server *server); /* when it ends by itself, and well */
int server_listen(uint16_t *port);	 /* only a listener on a free port */

/* In the child. */
ssize_t peer_read(struct peer *peer, char *out, size_t size);
void peer_write(struct peer *peer, const char *data,
		size_t len);	  /* exits when the client has gone */
void peer_bye(struct peer *peer); /* ends its direction */
