/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/daemon.h"

#include "base/log.h"
#include "directory/schedule.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum { STOP_MS = 2 * 1000, NODE_BYTES = 64 };

#define OPTION(key_, kind_, field, ...)                                          \
	{                                                                        \
		.section = "directory", .key = key_, .kind = kind_,              \
		.offset = offsetof(struct directory_options, field), __VA_ARGS__ \
	}

const struct ini_option directory_option_table[] = {
	OPTION("node", OPTION_TEXT, node),
	OPTION("database", OPTION_TEXT, database, .required = true),
	OPTION("secrets", OPTION_PATH, secrets),
	OPTION("log_level", OPTION_TEXT, log_level, .value = "info"),
};
const size_t directory_option_count = countof(directory_option_table);

struct daemon {
	struct loop *loop;
	struct schedule *schedule;
	struct timer *deadline; /* of the end */
	bool stopping;
};

static void notify_manager(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

static char *host_name(void)
{
	char *name = mem_alloc(NODE_BYTES + 1);

	if (gethostname(name, NODE_BYTES) != 0 || !*name)
		strcpy(name, "directory");
	return name;
}

enum hr_status directory_check(struct directory_options *options, struct hr_err *err)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	struct stat found;

	if (!options->node)
		options->node = host_name();
	if (!options->secrets && !credentials)
		return err_set(err, HR_FAIL,
			       "[directory] secrets: say where the secret files are; "
			       "under systemd LoadCredential= does");
	if (!options->secrets)
		options->secrets = str_dup(credentials);
	if (stat(options->secrets, &found) != 0)
		return err_set(err, HR_FAIL, "[directory] secrets = %s: %s", options->secrets,
			       strerror(errno));
	if (!S_ISDIR(found.st_mode) || access(options->secrets, X_OK) != 0)
		return err_set(err, HR_FAIL,
			       "[directory] secrets = %s: not a directory to read from",
			       options->secrets);
	return HR_OK;
}

static void on_stopped(void *arg)
{
	struct daemon *daemon = arg;

	loop_stop(daemon->loop);
}

/* A follower waits for the database, which may take its time: what it began ends as a whole there,
 * or not at all, with or without us. */
static void on_deadline(void *arg)
{
	(void)arg;
	log_warn("directory.aborted");
	_exit(EXIT_SUCCESS);
}

static void on_terminate(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->stopping)
		return;
	daemon->stopping = true;
	notify_manager("STOPPING=1");
	log_info("directory.stopping");
	timer_set(daemon->deadline, loop_now(daemon->loop) + STOP_MS);
	schedule_stop(daemon->schedule, on_stopped, daemon);
}

enum hr_status directory_run(const struct directory_options *options, struct hr_err *err)
{
	static const int signals[] = { SIGTERM, SIGINT };
	scoped(loop) loop = loop_new();
	struct daemon daemon = { .loop = loop };
	struct on_signal *handlers[countof(signals)];
	const struct schedule_options schedule_options = {
		.database = options->database,
		.secrets = options->secrets,
		.node = options->node,
	};

	/* Only what the registry says counts, not the ldap.conf of the host or the user. */
	if (setenv("LDAPNOINIT", "1", 1) != 0)
		return err_set(err, HR_FAIL, "setenv: %s", strerror(errno));
	daemon.deadline = timer_new(loop, on_deadline, &daemon);
	daemon.schedule = schedule_new(loop, &schedule_options);
	for (size_t i = 0; i < countof(signals); i++)
		handlers[i] = on_signal_new(loop, signals[i], on_terminate, &daemon);
	log_info("directory.start", LOG_STR("node", options->node),
		 LOG_STR("version", PACKAGE_VERSION));
	notify_manager("READY=1");
	loop_run(loop);

	for (size_t i = 0; i < countof(signals); i++)
		on_signal_free(handlers[i]);
	schedule_free(daemon.schedule);
	timer_free(daemon.deadline);
	log_info("directory.stopped");
	return HR_OK;
}
