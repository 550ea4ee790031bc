/* SPDX-License-Identifier: Apache-2.0 */
/* Load generator for chat messages over XEP-0114, see load.h and the usage text below. */
#include "tests/bench/load.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WIRES_MAX = 16, COMMAND_MAX = 4096 };

static const char usage_text[] =
	"usage: xmppload --role server|component --a ADDRESS:PORT --b ADDRESS:PORT\n"
	"                --native-a DOMAIN --native-b DOMAIN [--federated DOMAIN]\n"
	"                [--secret TEXT] [--pairs N] [--watch PID]... [--wire ADDRESS:PORT]...\n"
	"       xmppload --people N\n"
	"\n"
	"Sends chat messages from side A to side B and checks what arrives. As `server` it "
	"listens\n"
	"for components at --a and --b; as `component` it dials the servers there. --watch names\n"
	"the processes whose CPU time (with that of their children) counts, --wire the listeners\n"
	"whose connections' bytes count. Says `ready` when both sides have a stream; then reads\n"
	"commands from standard input and answers each with one line:\n"
	"  probe                                   until messages arrive\n"
	"  full WARMUP_S SECONDS WINDOW            as fast as it goes\n"
	"  paced WARMUP_S SECONDS RATE             latency at a fixed rate\n"
	"--people prints them for the registry: side, address, native name, full name.\n";

struct program {
	struct loop *loop;
	struct load *load;
	struct load_options options;
	pid_t watched[USAGE_ROOTS_MAX];
	struct sockaddr_in wires[WIRES_MAX];
	struct buf commands;
	struct watch *input;
	bool busy;
	int status; /* of exit */
};

static int die(const char *text)
{
	fprintf(stderr, "xmppload: %s\n", text);
	return 2;
}

static void print_people(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct traffic_person person = traffic_person(i);

		printf("%c\t%s\t%s\t%s\n", person.at_b ? 'b' : 'a', person.address, person.native,
		       person.name);
	}
}

static enum hr_status read_address(const char *text, struct sockaddr_in *out, struct hr_err *err)
{
	const char *colon = strrchr(text, ':');
	scoped_str host = colon ? str_format("%.*s", (int)(colon - text), text) : NULL;
	struct sockaddr_in address = { .sin_family = AF_INET };
	char *end;

	if (!host || inet_pton(AF_INET, host, &address.sin_addr) != 1)
		return err_set(err, HR_FAIL, "%s is not ADDRESS:PORT", text);
	long port = strtol(colon + 1, &end, 10);
	if (*end || port < 1 || port > 65535)
		return err_set(err, HR_FAIL, "%s is not ADDRESS:PORT", text);
	address.sin_port = htons((uint16_t)port);
	*out = address;
	return HR_OK;
}

static enum hr_status read_number(const char *text, long max, long *out, struct hr_err *err)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < 1 || value > max)
		return err_set(err, HR_FAIL, "%s is not a number from 1 to %ld", text, max);
	*out = value;
	return HR_OK;
}

/* Commands and answers */

static void answer(struct program *program, const char *line)
{
	(void)program;
	puts(line);
	fflush(stdout);
}

static void next_command(void *arg);

static void on_ready(void *ctx)
{
	answer(ctx, "ready");
}

static void on_done(void *ctx, const struct load_result *r)
{
	struct program *program = ctx;
	scoped_buf line = BUF_INIT(0);

	buf_format(&line,
		   "done messages_per_s=%.0f p50_us=%u p99_us=%u max_us=%u cpu_us_per_message=%.2f"
		   " wire_bytes_per_message=%.1f load_us_per_message=%.2f elsewhere=%.2f",
		   r->messages_per_s, r->p50_us, r->p99_us, r->max_us, r->cpu_us_per_message,
		   r->wire_bytes_per_message, r->load_us_per_message, r->elsewhere);
	for (size_t i = 0; i < program->options.watched_count; i++)
		buf_format(&line, " cpu_us_%zu=%.2f", i + 1, r->cpu_of[i]);
	buf_format(&line,
		   " sent=%llu lost=%llu duplicates=%llu disordered=%llu strays=%llu wrong=%llu"
		   " errors=%llu complaint=%s",
		   (unsigned long long)r->sent, (unsigned long long)r->lost,
		   (unsigned long long)r->duplicates, (unsigned long long)r->disordered,
		   (unsigned long long)r->strays, (unsigned long long)r->wrong,
		   (unsigned long long)r->errors, r->complaint.text);
	answer(program, buf_text(&line));
	program->busy = false;
	loop_later(program->loop, next_command, program);
}

static void on_failed(void *ctx, const struct hr_err *err)
{
	struct program *program = ctx;
	scoped_str line = str_format("failed %s", err->text);

	answer(program, line);
	program->status = 1;
	loop_stop(program->loop);
}

static const struct load_events load_events = { on_ready, on_done, on_failed };

static enum hr_status parse_command(const char *line, struct load_run *out, struct hr_err *err)
{
	double warmup, length;
	unsigned long number;
	char kind[8];

	if (strcmp(line, "probe") == 0) {
		*out = (struct load_run){ .kind = LOAD_PROBE, .warmup = 5000 };
		return HR_OK;
	}
	if (sscanf(line, "%7s %lf %lf %lu", kind, &warmup, &length, &number) != 4 || warmup < 0 ||
	    length <= 0 || warmup > 3600 || length > 3600 || number < 1 || number > 10000000)
		return err_set(err, HR_FAIL, "not a command: %s", line);
	*out = (struct load_run){ .warmup = (msec)(warmup * 1000),
				  .length = (msec)(length * 1000),
				  .window = number,
				  .rate = number };
	if (strcmp(kind, "full") == 0)
		out->kind = LOAD_FULL;
	else if (strcmp(kind, "paced") == 0)
		out->kind = LOAD_PACED;
	else
		return err_set(err, HR_FAIL, "not a command: %s", line);
	return HR_OK;
}

static void next_command(void *arg)
{
	struct program *program = arg;
	struct load_run run;
	struct hr_err err;

	if (program->busy || program->commands.len == 0)
		return;
	const char *end = memchr(program->commands.data, '\n', program->commands.len);
	if (!end)
		return;
	size_t len = (size_t)(end - program->commands.data);
	scoped_str line = mem_dup(program->commands.data, len);
	buf_drop(&program->commands, len + 1);
	if (parse_command(line, &run, &err) != HR_OK ||
	    load_start(program->load, &run, &err) != HR_OK)
		on_failed(program, &err);
	else
		program->busy = true;
}

static void on_input(void *arg, int events)
{
	struct program *program = arg;
	char *room = buf_reserve(&program->commands, 256);

	(void)events;
	ssize_t len = room ? read(STDIN_FILENO, room, 256) : 0;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		loop_stop(program->loop);
		return;
	}
	program->commands.len += (size_t)len;
	next_command(program);
}

static void on_term(void *arg)
{
	loop_stop(arg);
}

/* Options */

enum option_id {
	ROLE = 1,
	A,
	B,
	NATIVE_A,
	NATIVE_B,
	FEDERATED,
	SECRET,
	PAIRS,
	WATCH,
	WIRE,
	PEOPLE
};

static const struct option long_options[] = {
	{ "role", required_argument, NULL, ROLE },
	{ "a", required_argument, NULL, A },
	{ "b", required_argument, NULL, B },
	{ "native-a", required_argument, NULL, NATIVE_A },
	{ "native-b", required_argument, NULL, NATIVE_B },
	{ "federated", required_argument, NULL, FEDERATED },
	{ "secret", required_argument, NULL, SECRET },
	{ "pairs", required_argument, NULL, PAIRS },
	{ "watch", required_argument, NULL, WATCH },
	{ "wire", required_argument, NULL, WIRE },
	{ "people", required_argument, NULL, PEOPLE },
	{ NULL, 0, NULL, 0 },
};

static enum hr_status set_role(struct load_options *options, const char *value, struct hr_err *err)
{
	if (strcmp(value, "server") != 0 && strcmp(value, "component") != 0)
		return err_set(err, HR_FAIL, "role is server or component, not %s", value);
	options->role = strcmp(value, "server") == 0 ? SESSION_SERVER : SESSION_COMPONENT;
	return HR_OK;
}

static enum hr_status add_watched(struct program *program, const char *value, struct hr_err *err)
{
	long pid;

	if (program->options.watched_count == USAGE_ROOTS_MAX)
		return err_set(err, HR_FAIL, "more than %d processes", USAGE_ROOTS_MAX);
	if (read_number(value, INT32_MAX, &pid, err) != HR_OK)
		return err->status;
	program->watched[program->options.watched_count++] = (pid_t)pid;
	return HR_OK;
}

static enum hr_status add_wire(struct program *program, const char *value, struct hr_err *err)
{
	if (program->options.wire_count == WIRES_MAX)
		return err_set(err, HR_FAIL, "more than %d wires", WIRES_MAX);
	return read_address(value, &program->wires[program->options.wire_count++], err);
}

static enum hr_status set_option(struct program *program, enum option_id id, const char *value,
				 struct hr_err *err)
{
	struct load_options *options = &program->options;
	long number;

	switch (id) {
	case ROLE:
		return set_role(options, value, err);
	case A:
	case B:
		return read_address(value, &options->address[id - A], err);
	case NATIVE_A:
		options->traffic.native_a = value;
		return HR_OK;
	case NATIVE_B:
		options->traffic.native_b = value;
		return HR_OK;
	case FEDERATED:
		options->traffic.federated = value;
		return HR_OK;
	case SECRET:
		options->secret = value;
		return HR_OK;
	case PAIRS:
		if (read_number(value, 400000, &number, err) == HR_OK)
			options->traffic.pairs = (size_t)number;
		else
			return err->status;
		return HR_OK;
	case WATCH:
		return add_watched(program, value, err);
	case WIRE:
		return add_wire(program, value, err);
	case PEOPLE:
		if (read_number(value, 800000, &number, err) != HR_OK)
			return err->status;
		print_people((size_t)number);
		return HR_NONE;
	}
	abort(); /* getopt_long knows no other */
}

/* HR_NONE: all that was asked for has been done. */
static enum hr_status read_options(struct program *program, int argc, char **argv,
				   struct hr_err *err)
{
	struct load_options *options = &program->options;

	*options = (struct load_options){ .secret = "secret",
					  .traffic.pairs = 1000,
					  .watched = program->watched,
					  .wires = program->wires };
	for (int id = getopt_long(argc, argv, "", long_options, NULL); id != -1;
	     id = getopt_long(argc, argv, "", long_options, NULL)) {
		enum hr_status status =
			id == '?' ? err_set(err, HR_FAIL, "see the usage\n%s", "")
				  : set_option(program, (enum option_id)id, optarg, err);

		if (status != HR_OK)
			return status;
	}
	if (optind != argc || !options->traffic.native_a || !options->traffic.native_b ||
	    options->address[0].sin_port == 0 || options->address[1].sin_port == 0)
		return err_set(err, HR_FAIL, "an option is missing");
	return HR_OK;
}

static int run(struct program *program)
{
	scoped(loop) loop = loop_new();
	struct on_signal *term = on_signal_new(loop, SIGTERM, on_term, loop);
	struct hr_err err;

	program->loop = loop;
	if (load_new(loop, &program->options, &load_events, program, &program->load, &err) ==
	    HR_OK) {
		program->input = watch_new(loop, STDIN_FILENO, on_input, program);
		watch_set(program->input, WATCH_READ);
		loop_run(loop);
		watch_free(program->input);
		loop_cancel(loop, next_command, program);
		load_free(program->load);
	} else {
		program->status = die(err.text);
	}
	on_signal_free(term);
	buf_free(&program->commands);
	return program->status;
}

int main(int argc, char **argv)
{
	struct program program = { .commands = BUF_INIT(COMMAND_MAX) };
	struct hr_err err;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);		/* the one who started us decides */
	prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* the pace is kept to the microsecond */
	switch (read_options(&program, argc, argv, &err)) {
	case HR_OK:
		return run(&program);
	case HR_NONE:
		return 0;
	case HR_RETRY:
	case HR_FAIL:
	case HR_UNSURE:
		break;
	}
	fputs(usage_text, stderr);
	return die(err.text);
}
