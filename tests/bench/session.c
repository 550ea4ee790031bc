/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/session.h"

#include "base/buf.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_SIZE = 256 * 1024,
	STANZA_MAX = 1024 * 1024, /* what an unfinished stanza may take */
	HEX_LEN = 40		  /* of a SHA-1 */
};

/* Before OPEN, what is awaited: the peer's stream tag, then the handshake. */
enum state { OPENING, PROVING, OPEN, CLOSED };

struct session {
	struct loop *loop;
	int fd;
	enum session_role role;
	enum state state;
	char *domain, *secret; /* owned */
	char id[17];	       /* of a stream that we serve */
	const struct session_events *events;
	void *ctx;
	struct watch *watch;
	struct buf in, out;
	size_t sent;  /* bytes of `out` that the kernel has taken */
	bool blocked; /* it takes no more for now */
};

static void flush(void *arg);

static void finish(struct session *session, enum hr_status status, const char *text)
{
	struct hr_err err;

	if (session->state == CLOSED)
		return;
	session->state = CLOSED;
	watch_set(session->watch, 0);
	err_set(&err, status, "%s", text);
	session->events->closed(session->ctx, session, &err);
}

static void write_text(struct session *session, const char *text)
{
	session_write(session, slice_str(text));
}

/* XEP-0114: the hexadecimal SHA-1 of stream id and secret. */
static void prove(struct slice id, const char *secret, char hex[HEX_LEN + 1])
{
	unsigned char sum[HEX_LEN / 2];
	scoped_str text = str_format(SLICE_FMT "%s", SLICE_ARG(id), secret);

	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, strlen(text), sum) < 0)
		abort(); /* SHA-1 is always there */
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

static void opened(struct session *session)
{
	session->state = OPEN;
	session->events->opened(session->ctx, session);
}

static void on_stream(struct session *session, struct slice tag)
{
	session->state = PROVING;
	if (session->role == SESSION_COMPONENT) {
		char hex[HEX_LEN + 1];

		prove(stanza_attribute(tag, "id"), session->secret, hex);
		write_text(session, "<handshake>");
		write_text(session, hex);
		write_text(session, "</handshake>");
		return;
	}
	struct slice to = stanza_attribute(tag, "to");
	scoped_str header = str_format(
		"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
		" xmlns:stream='http://etherx.jabber.org/streams' from='" SLICE_FMT "' id='%s'>",
		SLICE_ARG(to), session->id);

	free(session->domain);
	session->domain = str_format(SLICE_FMT, SLICE_ARG(to));
	write_text(session, header);
}

static void on_proof(struct session *session, const struct stanza *stanza)
{
	char hex[HEX_LEN + 1];

	if (!slice_is(stanza_name(stanza->tag), "handshake")) {
		finish(session, HR_FAIL, "refused before the handshake");
		return;
	}
	if (session->role == SESSION_COMPONENT) {
		opened(session);
		return;
	}
	prove(slice_str(session->id), session->secret, hex);
	if (!slice_is(stanza->inner, hex)) {
		finish(session, HR_FAIL, "the handshake is wrong");
		return;
	}
	write_text(session, "<handshake/>");
	opened(session);
}

/* The next thing in `bytes`, whatever the state calls for. */
static enum hr_status take(struct session *session, struct slice bytes, size_t *used,
			   struct hr_err *err)
{
	struct stanza stanza;
	struct slice tag;
	enum hr_status status;

	if (session->state == OPENING) {
		status = stanza_stream(bytes, &tag, used, err);
		if (status == HR_OK)
			on_stream(session, tag);
		return status;
	}
	status = stanza_next(bytes, &stanza, used, err);
	if (status != HR_OK)
		return status;
	if (session->state == PROVING)
		on_proof(session, &stanza);
	else
		session->events->stanza(session->ctx, session, &stanza);
	return HR_OK;
}

/* Handles all that is whole; false when the session has closed. */
static bool take_all(struct session *session)
{
	struct slice rest = buf_slice(&session->in);
	enum hr_status status = HR_OK;
	struct hr_err err;
	size_t used = 0;

	while (rest.len > 0) {
		status = take(session, rest, &used, &err);
		if (session->state == CLOSED)
			return false;
		if (status != HR_OK)
			break;
		rest = (struct slice){ rest.data + used, rest.len - used };
	}
	buf_drop(&session->in, session->in.len - rest.len);
	if (status == HR_FAIL) {
		finish(session, HR_FAIL, err.text);
		return false;
	}
	return true;
}

static void receive(struct session *session)
{
	char *room = buf_reserve(&session->in, READ_SIZE);

	if (!room) {
		finish(session, HR_FAIL, "a stanza without end");
		return;
	}
	ssize_t len = recv(session->fd, room, READ_SIZE, 0);
	if (len < 0 && errno != EAGAIN && errno != EINTR) {
		finish(session, HR_RETRY, strerror(errno));
	} else if (len == 0) {
		finish(session, HR_NONE, "the peer has closed the connection");
	} else if (len > 0) {
		session->in.len += (size_t)len;
		take_all(session);
	}
}

static void ready(void *arg, int events)
{
	struct session *session = arg;

	if (events & WATCH_WRITE) {
		session->blocked = false;
		watch_set(session->watch, WATCH_READ);
		flush(session);
	}
	if (session->state != CLOSED && events & WATCH_READ)
		receive(session);
}

static void flush(void *arg)
{
	struct session *session = arg;

	while (session->state != CLOSED && !session->blocked && session->sent < session->out.len) {
		ssize_t len = send(session->fd, session->out.data + session->sent,
				   session->out.len - session->sent, MSG_NOSIGNAL);

		if (len > 0) {
			session->sent += (size_t)len;
		} else if (errno == EAGAIN || errno == ENOTCONN) {
			session->blocked = true;
			watch_set(session->watch, WATCH_READ | WATCH_WRITE);
		} else if (errno != EINTR) {
			finish(session, HR_RETRY, strerror(errno));
			return;
		}
	}
	buf_drop(&session->out, session->sent);
	session->sent = 0;
}

struct session *session_new(struct loop *loop, int fd, enum session_role role, const char *domain,
			    const char *secret, const struct session_events *events, void *ctx)
{
	struct session *session = mem_new(struct session);

	*session = (struct session){ .loop = loop,
				     .fd = fd,
				     .role = role,
				     .domain = str_dup(domain ? domain : ""),
				     .secret = str_dup(secret),
				     .events = events,
				     .ctx = ctx,
				     .in = BUF_INIT(STANZA_MAX + READ_SIZE),
				     .out = BUF_INIT(0) };
	snprintf(session->id, sizeof(session->id), "%016llx",
		 (unsigned long long)time_usec() ^ (unsigned long long)fd << 48);
	session->watch = watch_new(loop, fd, ready, session);
	watch_set(session->watch, WATCH_READ);
	if (role == SESSION_COMPONENT) {
		scoped_str header = str_format(
			"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
			" xmlns:stream='http://etherx.jabber.org/streams' to='%s'>",
			domain);

		write_text(session, header);
	}
	return session;
}

static void destroy(void *arg)
{
	struct session *session = arg;

	buf_free(&session->in);
	buf_free(&session->out);
	free(session->domain);
	free(session->secret);
	free(session);
}

void session_free(struct session *session)
{
	if (!session)
		return;
	session->state = CLOSED;
	loop_cancel(session->loop, flush, session);
	watch_free(session->watch);
	close(session->fd);
	loop_park(session->loop, session, destroy);
}

const char *session_domain(const struct session *session)
{
	return session->domain;
}

char *session_reserve(struct session *session, size_t len)
{
	return buf_reserve(&session->out, len);
}

void session_wrote(struct session *session, size_t len)
{
	if (session->out.len == 0)
		loop_later(session->loop, flush, session);
	session->out.len += len;
}

void session_write(struct session *session, struct slice bytes)
{
	memcpy(session_reserve(session, bytes.len), bytes.data, bytes.len);
	session_wrote(session, bytes.len);
}

size_t session_waiting(const struct session *session)
{
	return session->out.len - session->sent;
}
