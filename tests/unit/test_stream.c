/* SPDX-License-Identifier: Apache-2.0 */
/* Real sockets on the loopback. The peer of each test is a child process. */
#include "base/buf.h"
#include "base/stream.h"
#include "tests/unit/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

static struct identity ca, other_ca, good, other_name, expired;
static char directory[] = "/tmp/hedgerow-stream.XXXXXX";
static char *ca_file, *other_ca_file, *empty_file;

static int make_certificates(void **state)
{
	time_t tomorrow = time(NULL) + 86400;

	(void)state;
	if (!mkdtemp(directory))
		return -1;
	identity_make(&ca, "ca", NULL, tomorrow);
	identity_make(&other_ca, "other-ca", NULL, tomorrow);
	identity_make(&good, "localhost", &ca, tomorrow);
	identity_make(&other_name, "other.example", &ca, tomorrow);
	identity_make(&expired, "localhost", &ca, time(NULL) - 3600);
	ca_file = identity_write(directory, "ca.pem", &ca);
	other_ca_file = identity_write(directory, "other.pem", &other_ca);
	empty_file = identity_write(directory, "empty.pem", NULL);
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
	for (size_t i = 0; i < countof(all); i++)
		identity_clear(all[i]);
	return rmdir(directory);
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
		struct server server = server_start(echo, ways[i].identity);
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
		server_stop(&server);
	}
}

static void the_peer_may_close_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(say_hello, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		expect_closed(&client, HR_NONE, "closed");
		assert_string_equal(buf_text(&client.got), "hello");
		close_client(&client);
		server_stop(&server);
	}
}

static void what_waits_is_written_before_a_shutdown(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(drink, ways[i].identity);
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
		server_stop(&server);
	}
}

static void what_waits_is_written_after_the_peers_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(half_close_and_drink, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		write_numbered(client.stream, BIG);
		expect_closed(&client, HR_NONE, "closed");
		assert_string_equal(buf_text(&client.got), "hello");
		close_client(&client);
		server_stop(&server);
	}
}

static void nothing_comes_while_paused_and_nothing_is_lost(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(pour, ways[i].identity);
		struct stream_options options = by_way(&ways[i], &server);
		open_client(&client, &options);
		client.pausing = true;
		client.got.cap = 100;
		expect_closed(&client, HR_NONE, "closed");
		assert_int_equal(client.bytes, BIG);
		close_client(&client);
		server_stop(&server);
	}
}

static void a_pause_before_the_opening_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(say_hello, ways[i].identity);
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
		server_stop(&server);
	}
}

static void a_peer_that_does_not_read_fails_the_stream_at_its_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		struct client client;
		struct server server = server_start(wait_to_be_killed, ways[i].identity);
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
	struct server server = server_start(drink, NULL);
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
	server_stop(&server);
}

static void a_port_that_nobody_listens_on_is_refused(void **state)
{
	struct client client;
	struct server server;

	(void)state;
	close(server_listen(&server.port));
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
	int listener = server_listen(&server.port);
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
	int listener = server_listen(&server.port);
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
		struct server server = server_start(say_hello, rows[i].identity);
		struct stream_options options = tls_to(&server, rows[i].host);
		options.ca_file = *rows[i].ca_file;
		open_client(&client, &options);
		expect_closed(&client, rows[i].status, rows[i].text);
		assert_int_equal(client.opens, rows[i].status == HR_NONE);
		close_client(&client);
		server_stop(&server);
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
	struct server server = server_start(cut_off, &good);
	struct stream_options options = tls_to(&server, "localhost");

	(void)state;
	open_client(&client, &options);
	expect_closed(&client, HR_RETRY, "without a TLS goodbye");
	assert_string_equal(buf_text(&client.got), "hello");
	close_client(&client);
	server_stop(&server);
}

static void a_stream_may_be_freed_inside_every_callback(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(ways); i++) {
		for (const char *where = "orc"; *where; where++) {
			struct client client;
			struct server server = server_start(say_hello, ways[i].identity);
			struct stream_options options = by_way(&ways[i], &server);
			open_client(&client, &options);
			client.free_in = *where;
			stream_write(client.stream, slice_lit("x"));
			loop_run(client.loop);
			assert_null(client.stream);
			close_client(&client);
			server_stop(&server);
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
