/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/dial.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT_MS = 60 * 1000, WAITING = 8 };

/* A socket that listens on loopback; *port is its port. */
static int listen_on(int backlog, int *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static void a_host_is_reached_by_address_and_by_name(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	scoped(stop) stop = stop_new(NULL);
	int port, server = listen_on(5, &port);

	(void)state;
	for (size_t i = 0; i < countof(hosts); i++) {
		struct hr_err err;
		int fd = -1;
		if (dial(&(struct dial){ hosts[i], port, LIMIT_MS, stop }, &fd, &err) != HR_OK)
			fail_msg("%s: %s", hosts[i], err.text);
		int accepted = accept(server, NULL, NULL);
		assert_int_equal(write(fd, "x", 1), 1);
		char c = 0;
		assert_int_equal(read(accepted, &c, 1), 1);
		close(accepted);
		close(fd);
	}
	close(server);
}

static void what_cannot_be_reached_is_named(void **state)
{
	scoped(stop) stop = stop_new(NULL);
	int port, fd = -1;
	struct hr_err err;

	(void)state;
	close(listen_on(1, &port));
	assert_int_equal(dial(&(struct dial){ "127.0.0.1", port, LIMIT_MS, stop }, &fd, &err),
			 HR_RETRY);
	scoped_str expected = str_format("connect to 127.0.0.1, port %d: Connection refused", port);
	assert_string_equal(err.text, expected);
	assert_int_equal(dial(&(struct dial){ "nowhere.invalid", port, LIMIT_MS, stop }, &fd, &err),
			 HR_RETRY);
	assert_int_equal(strncmp(err.text, "look up nowhere.invalid: ", 25), 0);
	assert_int_equal(fd, -1);
}

static void *set(void *stop)
{
	stop_set(stop);
	return NULL;
}

/* Connections to a listener that is full get no answer, as from a host that is off. */
static void the_end_of_the_daemon_ends_the_wait(void **state)
{
	scoped(stop) stop = stop_new(NULL);
	int port, server = listen_on(0, &port), waiting[WAITING], fd = -1;
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	pthread_t thread;
	struct hr_err err;

	(void)state;
	for (size_t i = 0; i < WAITING; i++) {
		waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(waiting[i], (struct sockaddr *)&address, sizeof address);
	}
	assert_int_equal(pthread_create(&thread, NULL, set, stop), 0);
	assert_int_equal(dial(&(struct dial){ "127.0.0.1", port, LIMIT_MS, stop }, &fd, &err),
			 HR_RETRY);
	assert_string_equal(err.text, "the daemon is ending");
	pthread_join(thread, NULL);
	for (size_t i = 0; i < WAITING; i++)
		close(waiting[i]);
	close(server);
}

static void a_wait_has_its_limit(void **state)
{
	scoped(stop) stop = stop_new(NULL);
	int port, server = listen_on(1, &port);
	struct pollfd fds[2] = { { server, POLLIN, 0 } };

	(void)state;
	assert_int_equal(stop_wait(stop, fds, 1, 0), STOP_TIMEOUT);
	assert_false(stop_is_set(stop));
	stop_set(stop);
	stop_set(stop);
	assert_int_equal(stop_wait(stop, fds, 1, LIMIT_MS), STOP_STOPPED);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_is_reached_by_address_and_by_name),
		cmocka_unit_test(what_cannot_be_reached_is_named),
		cmocka_unit_test(the_end_of_the_daemon_ends_the_wait),
		cmocka_unit_test(a_wait_has_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
