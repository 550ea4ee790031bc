/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/identity.h"

#include "base/mem.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void must(int code)
{
	if (code < 0) {
		fprintf(stderr, "gnutls: %s\n", gnutls_strerror(code));
		abort();
	}
}

void identity_make(struct identity *out, const char *name, const struct identity *issuer,
		   time_t until)
{
	unsigned char serial[] = { 1, (unsigned char)name[0] };
	unsigned char loopback[] = { 127, 0, 0, 1 };

	must(gnutls_x509_privkey_init(&out->key));
	must(gnutls_x509_privkey_generate(out->key, GNUTLS_PK_ECDSA,
					  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	must(gnutls_x509_crt_init(&out->crt));
	must(gnutls_x509_crt_set_version(out->crt, 3));
	must(gnutls_x509_crt_set_serial(out->crt, serial, sizeof serial));
	must(gnutls_x509_crt_set_key(out->crt, out->key));
	must(gnutls_x509_crt_set_dn_by_oid(out->crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					   (unsigned int)strlen(name)));
	must(gnutls_x509_crt_set_activation_time(out->crt, time(NULL) - 7200));
	must(gnutls_x509_crt_set_expiration_time(out->crt, until));
	if (!issuer) {
		must(gnutls_x509_crt_set_basic_constraints(out->crt, 1, -1));
		must(gnutls_x509_crt_set_key_usage(out->crt, GNUTLS_KEY_KEY_CERT_SIGN));
		must(gnutls_x509_crt_sign2(out->crt, out->crt, out->key, GNUTLS_DIG_SHA256, 0));
		return;
	}
	must(gnutls_x509_crt_set_subject_alt_name(out->crt, GNUTLS_SAN_DNSNAME, name,
						  (unsigned int)strlen(name), GNUTLS_FSAN_APPEND));
	if (strcmp(name, "localhost") == 0)
		must(gnutls_x509_crt_set_subject_alt_name(out->crt, GNUTLS_SAN_IPADDRESS, loopback,
							  sizeof loopback, GNUTLS_FSAN_APPEND));
	must(gnutls_x509_crt_sign2(out->crt, issuer->crt, issuer->key, GNUTLS_DIG_SHA256, 0));
}

void identity_clear(struct identity *identity)
{
	gnutls_x509_crt_deinit(identity->crt);
	gnutls_x509_privkey_deinit(identity->key);
}

char *identity_write(const char *directory, const char *name, const struct identity *identity)
{
	char *path = str_format("%s/%s", directory, name);
	gnutls_datum_t pem = { 0 };
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	if (identity) {
		must(gnutls_x509_crt_export2(identity->crt, GNUTLS_X509_FMT_PEM, &pem));
		fwrite(pem.data, 1, pem.size, file);
		gnutls_free(pem.data);
	}
	fclose(file);
	return path;
}

ssize_t peer_read(struct peer *peer, char *out, size_t size)
{
	return peer->session ? gnutls_record_recv(peer->session, out, size)
			     : read(peer->fd, out, size);
}

void peer_write(struct peer *peer, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = peer->session ? gnutls_record_send(peer->session, data, len)
					     : write(peer->fd, data, len);
		if (sent <= 0)
			_exit(0);
		data += sent;
		len -= (size_t)sent;
	}
}

void peer_bye(struct peer *peer)
{
	if (peer->session)
		gnutls_bye(peer->session, GNUTLS_SHUT_WR);
	shutdown(peer->fd, SHUT_WR);
}

static void start_tls(struct peer *peer, const struct identity *identity)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_x509_crt_t crt = identity->crt;

	must(gnutls_certificate_allocate_credentials(&credentials));
	must(gnutls_certificate_set_x509_key(credentials, &crt, 1, identity->key));
	must(gnutls_init(&peer->session, GNUTLS_SERVER));
	must(gnutls_set_default_priority(peer->session));
	must(gnutls_credentials_set(peer->session, GNUTLS_CRD_CERTIFICATE, credentials));
	gnutls_transport_set_int(peer->session, peer->fd);
	if (gnutls_handshake(peer->session) < 0)
		_exit(0); /* the client did not like the certificate */
}

int server_listen(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(listen(fd, 4), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

struct server server_start(serve_fn *serve, const struct identity *identity)
{
	struct server server;
	int listener = server_listen(&server.port);

	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0) {
		struct peer peer = { .fd = accept(listener, NULL, NULL) };
		if (identity)
			start_tls(&peer, identity);
		serve(&peer);
		_exit(0);
	}
	close(listener);
	return server;
}

void server_stop(struct server *server)
{
	int status;

	assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}
