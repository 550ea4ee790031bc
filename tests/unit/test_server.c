/* SPDX-License-Identifier: Apache-2.0 */
#include "base/server.h"

#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A server that sends back what it gets, until a line "bye". */
struct scene {
	struct loop *loop;
	struct server *server;
	char *directory, *path, *where;
	size_t accepted, closed, drained;
	struct conn *last;
};

static void on_received(void *ctx, struct slice bytes)
{
	struct scene *scene = ctx;

	conn_write(scene->last, bytes);
	if (slice_is(bytes, "bye"))
		conn_end(scene->last);
}

static void on_drained(void *ctx)
{
	((struct scene *)ctx)->drained++;
}

static void on_closed(void *ctx)
{
	struct scene *scene = ctx;

	scene->closed++;
	conn_free(give(scene->last));
}

static const struct conn_events conn_events = { on_received, on_drained, on_closed };

static void on_accepted(void *ctx, struct conn *conn)
{
	struct scene *scene = ctx;

	scene->accepted++;
	scene->last = conn;
	conn_start(conn, &conn_events, scene);
}

static const struct server_events server_events = { on_accepted };

static void open_scene(struct scene *scene, size_t max)
{
	struct hr_err err;

	*scene = (struct scene){ .loop = loop_new() };
	scene->directory = str_dup("/tmp/hr-server-XXXXXX");
	assert_non_null(mkdtemp(scene->directory));
	scene->path = str_format("%s/socket", scene->directory);
	scene->where = str_format("unix:%s", scene->path);
	assert_int_equal(server_new(scene->loop, scene->where, max, &server_events, scene,
				    &scene->server, &err),
			 HR_OK);
}

static void close_scene(struct scene *scene)
{
	conn_free(scene->last);
	server_free(scene->server);
	loop_free(scene->loop);
	assert_int_not_equal(access(scene->path, F_OK), 0);
	rmdir(scene->directory);
	free(scene->directory);
	free(scene->path);
	free(scene->where);
}

static int dial(const struct scene *scene)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path, scene->path, strlen(scene->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void turn(struct scene *scene)
{
	uv_run(loop_uv(scene->loop), UV_RUN_ONCE);
}

static void what_is_written_comes_and_the_end_is_told_once(void **state)
{
	struct scene scene;
	char got[8] = "";

	(void)state;
	open_scene(&scene, 2);
	int fd = dial(&scene);

	assert_int_equal(write(fd, "hello", 5), 5);
	while (!scene.drained)
		turn(&scene);
	assert_int_equal(read(fd, got, sizeof got), 5);
	assert_string_equal(got, "hello");
	assert_int_equal(write(fd, "bye", 3), 3);
	while (!scene.closed)
		turn(&scene);
	assert_int_equal(read(fd, got, sizeof got), 3);
	assert_int_equal(read(fd, got, sizeof got), 0);
	close(fd);
	assert_int_equal(scene.closed, 1);
	close_scene(&scene);
}

static void a_peer_that_goes_is_noticed(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, 2);
	close(dial(&scene));
	while (!scene.closed)
		turn(&scene);
	assert_int_equal(scene.accepted, 1);
	close_scene(&scene);
}

static void no_more_connections_than_allowed(void **state)
{
	struct scene scene;
	char byte;

	(void)state;
	open_scene(&scene, 1);
	int first = dial(&scene);
	while (!scene.accepted)
		turn(&scene);
	int second = dial(&scene);
	while (recv(second, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		turn(&scene);
	assert_int_equal(write(first, "y", 1), 1);
	while (!scene.drained)
		turn(&scene);
	assert_int_equal(scene.accepted, 1);
	close(first);
	close(second);
	close_scene(&scene);
}

static void a_socket_that_was_left_over_is_replaced(void **state)
{
	struct scene scene;
	struct server *second = NULL;
	struct hr_err err;

	(void)state;
	open_scene(&scene, 1);
	server_free(scene.server);
	turn(&scene);
	/* as a killed process leaves it */
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, scene.path, strlen(scene.path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	close(fd);
	assert_int_equal(
		server_new(scene.loop, scene.where, 1, &server_events, &scene, &scene.server, &err),
		HR_OK);
	static const char *const wrong[] = { "nothing", "localhost:99999x", "300.1.1.1:25",
					     "unix:/nonexistent/x" };
	for (size_t i = 0; i < countof(wrong); i++)
		assert_int_equal(
			server_new(scene.loop, wrong[i], 1, &server_events, &scene, &second, &err),
			HR_FAIL);
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_comes_and_the_end_is_told_once),
		cmocka_unit_test(a_peer_that_goes_is_noticed),
		cmocka_unit_test(no_more_connections_than_allowed),
		cmocka_unit_test(a_socket_that_was_left_over_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
