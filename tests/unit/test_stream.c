/* SPDX-License-Identifier: Apache-2.0 */
/* Real sockets on the loopback. The peer of each test is a child process with blocking calls, which
 * exits with 0 when it has seen what it should. */
#include "base/buf.h"
#include "base/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30 * 1000, BIG = 8 << 20 };

/* ---- certificates, made once ---- */

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
};

static struct identity ca, other_ca, good, other_name, expired;
static char directory[] = "/tmp/hedgerow-stream.XXXXXX";
static char *ca_file, *other_ca_file, *empty_file;

static void must(int code)
{
	if (code < 0) {
		fprintf(stderr, "gnutls: %s\n", gnutls_strerror(code));
		abort();
	}
}

static void make_identity(struct identity *out, const char *name, const struct identity *issuer,
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

static char *write_pem(const char *name, gnutls_x509_crt_t crt)
{
	char *path = str_format("%s/%s", directory, name);
	gnutls_datum_t pem = { 0 };
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	if (crt) {
		must(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem));
		fwrite(pem.data, 1, pem.size, file);
		gnutls_free(pem.data);
	}
	fclose(file);
	return path;
}

static int make_certificates(void **state)
{
	time_t tomorrow = time(NULL) + 86400;

	(void)state;
	if (!mkdtemp(directory))
		return -1;
	make_identity(&ca, "ca", NULL, tomorrow);
	make_identity(&other_ca, "other-ca", NULL, tomorrow);
	make_identity(&good, "localhost", &ca, tomorrow);
	make_identity(&other_name, "other.example", &ca, tomorrow);
	make_identity(&expired, "localhost", &ca, time(NULL) - 3600);
	ca_file = write_pem("ca.pem", ca.crt);
	other_ca_file = write_pem("other.pem", other_ca.crt);
	empty_file = write_pem("empty.pem", NULL);
	return 0;
}

static int remove_certificates(void **state)
{
	char *files[] = { ca_file, other_ca_file, empty_file };
	struct identity *all[] = { &ca, &other_ca, &good, &other_name, &expired };

	(void)state;
	for (size_t i = 0; i < countof(files); i++) {
		unlink(files[i]);
		free(files[i]);
	}
	for (size_t i = 0; i < countof(all); i++) {
		gnutls_x509_crt_deinit(all[i]->crt);
		gnutls_x509_privkey_deinit(all[i]->key);
	}
	return rmdir(directory);
}

/* ---- the peer, a child process ---- */

struct peer {
	int fd;
	gnutls_session_t session; /* NULL: plain */
};

typedef void serve_fn(struct peer *peer);

static ssize_t peer_read(struct peer *peer, char *out, size_t size)
{
	return peer->session ? gnutls_record_recv(peer->session, out, size)
			     : read(peer->fd, out, size);
}

/* Exits when the client has gone: that is what some tests do to it. */
static void peer_write(struct peer *peer, const char *data, size_t len)
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

static void peer_bye(struct peer *peer)
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

struct server {
	pid_t pid;
	uint16_t port;
};

static int listen_on_loopback(uint16_t *port)
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

static struct server start_server(serve_fn *serve, const struct identity *identity)
{
	struct server server;
	int listener = listen_on_loopback(&server.port);

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

static void stop_server(struct server *server)
{
	int status;

	assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the client ---- */

struct client {
	struct loop *loop;
	struct stream *stream;
	struct timer *patience;
	struct buf got;
	size_t bytes, drains, closes, opens;
	struct hr_err err;
	size_t shutdown_at; /* that many bytes have come: stream_shutdown */
	bool pausing;	    /* pause at every `received`, resume in a later turn */
	bool is_paused;
	char free_in; /* 'o', 'r', 'c': the callback that frees the stream */
};

static void free_inside(struct client *client, char where)
{
	if (client->free_in != where)
		return;
	stream_free(give(client->stream));
	loop_stop(client->loop);
}

static void on_opened(void *ctx)
{
	struct client *client = ctx;

	client->opens++;
	free_inside(client, 'o');
}

static void resume(void *arg)
{
	struct client *client = arg;

	client->is_paused = false;
	if (client->stream)
		stream_resume(client->stream);
}

static void pause_for_a_turn(void *arg)
{
	struct client *client = arg;

	loop_later(client->loop, resume, client);
}

static void on_received(void *ctx, struct slice bytes)
{
	struct client *client = ctx;

	assert_false(client->is_paused);
	client->bytes += bytes.len;
	if (client->got.len < 100)
		buf_add_slice(&client->got, bytes);
	if (client->pausing) {
		client->is_paused = true;
		stream_pause(client->stream);
		loop_later(client->loop, pause_for_a_turn, client);
	}
	if (client->shutdown_at && client->bytes >= client->shutdown_at) {
		client->shutdown_at = 0;
		stream_shutdown(client->stream);
	}
	free_inside(client, 'r');
}

static void on_drained(void *ctx)
{
	struct client *client = ctx;

	client->drains++;
}

static void on_closed(void *ctx, const struct hr_err *err)
{
	struct client *client = ctx;

	client->closes++;
	client->err = *err;
	free_inside(client, 'c');
	loop_stop(client->loop);
}

static const struct stream_events events = {
	.opened = on_opened, .received = on_received, .drained = on_drained, .closed = on_closed
};

static void out_of_patience(void *arg)
{
	(void)arg;
	fail_msg("still waiting");
}

static void open_client(struct client *client, const struct stream_options *options)
{
	*client = (struct client){ .loop = loop_new() };
	client->patience = timer_new(client->loop, out_of_patience, NULL);
	timer_set(client->patience, time_msec() + PATIENCE_MS);
	client->stream = stream_connect(client->loop, options, &events, client);
}

static void close_client(struct client *client)
{
	stream_free(client->stream);
	timer_free(client->patience);
	loop_free(client->loop);
	buf_free(&client->got);
}

static void expect_closed(struct client *client, enum hr_status status, const char *text)
{
	if (client->closes == 0)
		loop_run(client->loop);
	assert_int_equal(client->closes, 1);
	if (client->err.status != status || !strstr(client->err.text, text))
		fail_msg("closed with %s \"%s\"", hr_status_name(client->err.status),
			 client->err.text);
}

static struct stream_options plain_to(const struct server *server)
{
	return (struct stream_options){ .host = "127.0.0.1", .port = server->port };
}

static struct stream_options tls_to(const struct server *server, const char *host)
{
	return (struct stream_options){
		.host = host, .port = server->port, .tls = STREAM_TLS, .ca_file = ca_file
	};
}

/* ---- what peers do ---- */

static void echo(struct peer *peer)
{
	char room[4096];
	ssize_t got;

	while ((got = peer_read(peer, room, sizeof room)) > 0)
		peer_write(peer, room, (size_t)got);
	peer_bye(peer);
}

static void say_hello(struct peer *peer)
{
	peer_write(peer, "hello", 5);
	peer_bye(peer);
	echo(peer);
}

static void pour(struct peer *peer)
{
	static char block[65536];

	for (size_t sent = 0; sent < BIG; sent += sizeof block)
		peer_write(peer, block, sizeof block);
	peer_bye(peer);
	echo(peer);
}

/* Reads BIG numbered bytes, then the end. */
static void drink(struct peer *peer)
{
	static char room[65536];
	size_t total = 0;
	ssize_t got;

	while ((got = peer_read(peer, room, sizeof room)) > 0)
		for (ssize_t i = 0; i < got; i++)
			if ((unsigned char)room[i] != (unsigned char)(total++ % 251))
				_exit(3);
	if (total != BIG)
		_exit(4);
	peer_bye(peer);
}

/* Ends its direction at once, then drinks. */
static void half_close_and_drink(struct peer *peer)
{
	peer_write(peer, "hello", 5);
	peer_bye(peer);
	drink(peer);
}

static void wait_to_be_killed(struct peer *peer)
{
	(void)peer;
	for (;;)
		pause();
}

static void cut_off(struct peer *peer)
{
	peer_write(peer, "hello", 5);
}

static void kill_server(struct server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
}

static void write_numbered(struct stream *stream, size_t total)
{
	char block[1000];

	for (size_t done = 0; done < total;) {
		size_t len = total - done < sizeof block ? total - done : sizeof block;
		for (size_t i = 0; i < len; i++)
			block[i] = (char)((done + i) % 251);
		stream_write(stream, (struct slice){ block, len });
		done += len;
	}
}

/* ---- tests ---- */

struct way {
	const struct identity *identity; /* NULL: plain */
};
static const struct way ways[] = { { NULL }, { &good } };

static struct stream_options by_way(const struct way *way, const struct server *server)
{
	return way->identity ? tls_to(server, "localhost") : plain_to(server);
}

static void bytes_come_back_from_an_echo_in_good_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(echo, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		client.shutdown_at = 10;
		stream_write(client.stream, slice_lit("before"));
		stream_write(client.stream, slice_lit(" it "));
		assert_int_equal(stream_waiting(client.stream), 10);
		expect_closed(&client, HR_NONE, "closed");
		assert_int_equal(client.opens, 1);
		assert_string_equal(buf_text(&client.got), "before it ");
		close_client(&client);
		stop_server(&server);
	}
}

static void the_peer_may_close_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(say_hello, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		expect_closed(&client, HR_NONE, "closed");
		assert_string_equal(buf_text(&client.got), "hello");
		close_client(&client);
		stop_server(&server);
	}
}

static void what_waits_is_written_before_a_shutdown(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(drink, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		write_numbered(client.stream, BIG);
		while (client.opens == 0)
			uv_run(loop_uv(client.loop), UV_RUN_ONCE);
		stream_shutdown(client.stream);
		stream_write(client.stream, slice_lit("too late"));
		expect_closed(&client, HR_NONE, "closed");
		assert_int_equal(stream_waiting(client.stream), 0);
		close_client(&client);
		stop_server(&server);
	}
}

static void what_waits_is_written_after_the_peers_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(half_close_and_drink, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		write_numbered(client.stream, BIG);
		expect_closed(&client, HR_NONE, "closed");
		assert_string_equal(buf_text(&client.got), "hello");
		close_client(&client);
		stop_server(&server);
	}
}

static void nothing_comes_while_paused_and_nothing_is_lost(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(pour, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		client.pausing = true;
		client.got.cap = 100;
		expect_closed(&client, HR_NONE, "closed");
		assert_int_equal(client.bytes, BIG);
		close_client(&client);
		stop_server(&server);
	}
}

static void a_pause_before_the_opening_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(say_hello, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		stream_pause(client.stream);
		client.is_paused = true;
		while (client.opens == 0)
			uv_run(loop_uv(client.loop), UV_RUN_ONCE);
		uv_run(loop_uv(client.loop), UV_RUN_NOWAIT);
		assert_int_equal(client.bytes, 0);
		resume(&client);
		expect_closed(&client, HR_NONE, "closed");
		assert_int_equal(client.bytes, 5);
		close_client(&client);
		stop_server(&server);
	}
}

static void a_peer_that_does_not_read_fails_the_stream_at_its_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = start_server(wait_to_be_killed, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		options.write_limit = BIG;
		open_client(&client, &options);
		while (client.closes == 0) {
			write_numbered(client.stream, 100000);
			uv_run(loop_uv(client.loop), UV_RUN_NOWAIT);
		}
		expect_closed(&client, HR_FAIL, "does not read");
		close_client(&client);
		kill_server(&server);
	}
}

static void drained_follows_once_when_half_the_limit_has_waited(void **state)
{
	struct client client;
	struct server server = start_server(drink, NULL);
	struct stream_options options = plain_to(&server);

	(void)state;
	options.write_limit = BIG;
	open_client(&client, &options);
	write_numbered(client.stream, BIG);
	assert_int_equal(stream_waiting(client.stream), BIG);
	while (client.drains == 0)
		uv_run(loop_uv(client.loop), UV_RUN_ONCE);
	assert_true(stream_waiting(client.stream) < BIG / 4);
	stream_shutdown(client.stream);
	expect_closed(&client, HR_NONE, "closed");
	assert_int_equal(client.drains, 1);
	close_client(&client);
	stop_server(&server);
}

static void a_port_that_nobody_listens_on_is_refused(void **state)
{
	struct client client;
	struct server server;

	(void)state;
	close(listen_on_loopback(&server.port));
	struct stream_options options = plain_to(&server);
	open_client(&client, &options);
	expect_closed(&client, HR_RETRY, "connection refused");
	assert_int_equal(client.opens, 0);
	close_client(&client);
}

static void a_name_that_is_none_is_reported(void **state)
{
	struct client client;
	struct stream_options options = { .host = "no..name", .port = 1 };

	(void)state;
	open_client(&client, &options);
	assert_int_equal(client.closes, 0);
	expect_closed(&client, HR_RETRY, "no..name port 1: ");
	close_client(&client);
}

static void a_peer_that_says_nothing_runs_into_the_timeout(void **state)
{
	struct client client;
	struct server server;

	(void)state;
	int listener = listen_on_loopback(&server.port);
	struct stream_options options = tls_to(&server, "127.0.0.1");
	options.connect_timeout = 20;
	open_client(&client, &options);
	expect_closed(&client, HR_RETRY, "no TLS handshake in time");
	close_client(&client);
	close(listener);
}

static void a_shutdown_before_the_opening_closes(void **state)
{
	struct client client;
	struct server server;

	(void)state;
	int listener = listen_on_loopback(&server.port);
	struct stream_options options = tls_to(&server, "127.0.0.1");
	open_client(&client, &options);
	stream_shutdown(client.stream);
	assert_int_equal(client.closes, 0);
	expect_closed(&client, HR_NONE, "before it was open");
	close_client(&client);
	close(listener);
}

static void certificates_are_held_against_ca_and_host(void **state)
{
	static const struct {
		const struct identity *identity;
		const char *host;
		char **ca_file;
		enum hr_status status;
		const char *text;
	} rows[] = {
		{ &good, "localhost", &ca_file, HR_NONE, "closed" },
		{ &good, "127.0.0.1", &ca_file, HR_NONE, "closed" },
		{ &other_name, "localhost", &ca_file, HR_FAIL, "name" },
		{ &other_name, "127.0.0.1", &ca_file, HR_FAIL, "name" },
		{ &expired, "localhost", &ca_file, HR_FAIL, "expired" },
		{ &good, "localhost", &other_ca_file, HR_FAIL, "NOT trusted" },
	};

	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct client client;
		struct server server = start_server(say_hello, rows[i].identity);
		struct stream_options options = tls_to(&server, rows[i].host);
		options.ca_file = *rows[i].ca_file;
		open_client(&client, &options);
		expect_closed(&client, rows[i].status, rows[i].text);
		assert_int_equal(client.opens, rows[i].status == HR_NONE);
		close_client(&client);
		stop_server(&server);
	}
}

static void a_ca_file_that_cannot_be_used_is_reported(void **state)
{
	const char *const files[] = { "/nonexistent/ca.pem", empty_file };

	(void)state;
	for (size_t i = 0; i < countof(files); i++) {
		struct client client;
		struct stream_options options = {
			.host = "localhost", .port = 1, .tls = STREAM_TLS, .ca_file = files[i]
		};
		open_client(&client, &options);
		expect_closed(&client, HR_FAIL, files[i]);
		close_client(&client);
	}
}

static void a_tls_peer_that_goes_without_goodbye_has_cut_us_off(void **state)
{
	struct client client;
	struct server server = start_server(cut_off, &good);
	struct stream_options options = tls_to(&server, "localhost");

	(void)state;
	open_client(&client, &options);
	expect_closed(&client, HR_RETRY, "without a TLS goodbye");
	assert_string_equal(buf_text(&client.got), "hello");
	close_client(&client);
	stop_server(&server);
}

static void a_stream_may_be_freed_inside_every_callback(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		for (const char *where = "orc"; *where; where++) {
			struct client client;
			struct server server = start_server(say_hello, ways[i].identity);
			struct stream_options options = by_way(&ways[i], &server);
			open_client(&client, &options);
			client.free_in = *where;
			stream_write(client.stream, slice_lit("x"));
			loop_run(client.loop);
			assert_null(client.stream);
			close_client(&client);
			stop_server(&server);
		}
	}
}

static void a_stream_may_be_freed_while_it_looks_up_its_host(void **state)
{
	struct client client;
	struct stream_options options = { .host = "localhost", .port = 1 };

	(void)state;
	open_client(&client, &options);
	uv_run(loop_uv(client.loop), UV_RUN_NOWAIT);
	close_client(&client);
	open_client(&client, &options);
	close_client(&client);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_back_from_an_echo_in_good_order),
		cmocka_unit_test(the_peer_may_close_first),
		cmocka_unit_test(what_waits_is_written_before_a_shutdown),
		cmocka_unit_test(what_waits_is_written_after_the_peers_end),
		cmocka_unit_test(nothing_comes_while_paused_and_nothing_is_lost),
		cmocka_unit_test(a_pause_before_the_opening_holds),
		cmocka_unit_test(a_peer_that_does_not_read_fails_the_stream_at_its_limit),
		cmocka_unit_test(drained_follows_once_when_half_the_limit_has_waited),
		cmocka_unit_test(a_port_that_nobody_listens_on_is_refused),
		cmocka_unit_test(a_name_that_is_none_is_reported),
		cmocka_unit_test(a_peer_that_says_nothing_runs_into_the_timeout),
		cmocka_unit_test(a_shutdown_before_the_opening_closes),
		cmocka_unit_test(certificates_are_held_against_ca_and_host),
		cmocka_unit_test(a_ca_file_that_cannot_be_used_is_reported),
		cmocka_unit_test(a_tls_peer_that_goes_without_goodbye_has_cut_us_off),
		cmocka_unit_test(a_stream_may_be_freed_inside_every_callback),
		cmocka_unit_test(a_stream_may_be_freed_while_it_looks_up_its_host),
	};

	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
