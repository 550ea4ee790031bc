/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pg_hosts.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdlib.h>

struct query {
	uv_getaddrinfo_t request;
	struct pg_lookup *lookup; /* NULL: nobody waits for it */
};

struct pg_lookup {
	struct loop *loop;
	pg_lookup_fn *fn;
	void *arg;
	char *hosts, *ports; /* comma-separated, as given; hosts NULL: nothing to look up */
	size_t at;	     /* index of the host under way */
	struct query *query; /* NULL: none is under way */
	struct buf host, hostaddr, port; /* the lists found so far */
	size_t addresses;		 /* in each of the lists */
	struct hr_err err;		 /* of the name that failed last */
};

/* A setting of a conninfo, else of the environment; the caller frees. NULL: neither. */
static char *setting(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *option = options; option->keyword; option++) {
		if (strcmp(option->keyword, keyword) != 0)
			continue;
		const char *value = option->val;
		if ((!value || !*value) && option->envvar)
			value = getenv(option->envvar);
		return value && *value ? str_dup(value) : NULL;
	}
	return NULL;
}

/* The element `at` of a comma-separated list; the last one when the list is shorter. */
static char *element(const char *list, size_t at)
{
	for (const char *comma; at > 0 && (comma = strchr(list, ',')); at--)
		list = comma + 1;
	return mem_dup(list, strcspn(list, ","));
}

static size_t count(const char *list)
{
	size_t n = 1;

	for (; (list = strchr(list, ',')); list++)
		n++;
	return n;
}

/* A socket's directory (empty: the default one), an abstract socket, or an address. */
static bool needs_lookup(const char *host)
{
	struct in6_addr any;

	return *host && *host != '/' && *host != '@' && inet_pton(AF_INET, host, &any) != 1 &&
	       inet_pton(AF_INET6, host, &any) != 1;
}

/* An element may be empty, so the first is not known by an empty list. */
static void add_address(struct pg_lookup *lookup, const char *host, const char *address)
{
	const char *comma = lookup->addresses++ > 0 ? "," : "";
	scoped_str port = element(lookup->ports, lookup->at);

	buf_format(&lookup->host, "%s%s", comma, host);
	buf_format(&lookup->hostaddr, "%s%s", comma, address);
	buf_format(&lookup->port, "%s%s", comma, port);
}

static void finish(struct pg_lookup *lookup)
{
	struct pg_hosts hosts = { 0 };

	if (lookup->hosts && lookup->addresses == 0) {
		lookup->fn(lookup->arg, NULL, &lookup->err);
		return;
	}
	if (lookup->hosts)
		hosts = (struct pg_hosts){ buf_text(&lookup->host), buf_text(&lookup->hostaddr),
					   buf_text(&lookup->port) };
	lookup->fn(lookup->arg, &hosts, &lookup->err);
}

static void look_up_next(void *arg);

static void add_found(struct pg_lookup *lookup, const char *host, const struct addrinfo *found)
{
	char text[INET6_ADDRSTRLEN];

	for (; found; found = found->ai_next) {
		int code =
			found->ai_family == AF_INET6
				? uv_ip6_name(
					  (const struct sockaddr_in6 *)(const void *)found->ai_addr,
					  text, sizeof text)
				: uv_ip4_name(
					  (const struct sockaddr_in *)(const void *)found->ai_addr,
					  text, sizeof text);
		if (code == 0)
			add_address(lookup, host, text);
	}
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct query *query = request->data;
	struct pg_lookup *lookup = query->lookup;

	free(query);
	if (lookup) {
		scoped_str host = element(lookup->hosts, lookup->at);
		lookup->query = NULL;
		if (status == 0)
			add_found(lookup, host, found);
		else
			err_set(&lookup->err, HR_RETRY, "%s: %s", host, uv_strerror(status));
		lookup->at++;
		look_up_next(lookup);
	}
	uv_freeaddrinfo(found);
}

/* Starts the look-up of one name. False: it is none, and the error says so. */
static bool look_up(struct pg_lookup *lookup, const char *host)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct query *query = mem_new(struct query);

	query->lookup = lookup;
	query->request.data = query;
	int code = uv_getaddrinfo(loop_uv(lookup->loop), &query->request, on_found, host, NULL,
				  &hints);
	if (code == 0) {
		lookup->query = query;
		return true;
	}
	free(query);
	err_set(&lookup->err, HR_RETRY, "%s: %s", host, uv_strerror(code));
	return false;
}

/* Goes over the hosts until one has to be waited for. */
static void look_up_next(void *arg)
{
	struct pg_lookup *lookup = arg;

	for (; lookup->hosts && lookup->at < count(lookup->hosts); lookup->at++) {
		scoped_str host = element(lookup->hosts, lookup->at);
		if (!needs_lookup(host)) /* libpq takes a socket with an empty hostaddr */
			add_address(lookup, host, "");
		else if (look_up(lookup, host))
			return;
	}
	finish(lookup);
}

static bool names_any(const char *hosts)
{
	for (size_t i = 0; i < count(hosts); i++) {
		scoped_str host = element(hosts, i);
		if (needs_lookup(host))
			return true;
	}
	return false;
}

/* A conninfo that makes no sense is left to libpq, which says why. */
static void read_conninfo(struct pg_lookup *lookup, const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	if (!options)
		return;
	scoped_str service = setting(options, "service");
	scoped_str hostaddr = setting(options, "hostaddr");
	lookup->hosts = setting(options, "host");
	lookup->ports = setting(options, "port");
	PQconninfoFree(options);
	if (!lookup->ports)
		lookup->ports = str_dup("5432");
	if (service || hostaddr || !lookup->hosts || !names_any(lookup->hosts))
		free(give(lookup->hosts));
}

struct pg_lookup *pg_lookup_new(struct loop *loop, const char *conninfo, pg_lookup_fn *fn,
				void *arg)
{
	struct pg_lookup *lookup = mem_new(struct pg_lookup);

	*lookup = (struct pg_lookup){ .loop = loop, .fn = fn, .arg = arg };
	read_conninfo(lookup, conninfo);
	loop_later(loop, look_up_next, lookup);
	return lookup;
}

static void destroy(void *arg)
{
	struct pg_lookup *lookup = arg;

	buf_free(&lookup->host);
	buf_free(&lookup->hostaddr);
	buf_free(&lookup->port);
	free(lookup->hosts);
	free(lookup->ports);
	free(lookup);
}

void pg_lookup_free(struct pg_lookup *lookup)
{
	if (!lookup)
		return;
	loop_cancel(lookup->loop, look_up_next, lookup);
	if (lookup->query) {
		lookup->query->lookup = NULL;
		uv_cancel((uv_req_t *)&lookup->query->request);
	}
	loop_park(lookup->loop, lookup, destroy);
}
