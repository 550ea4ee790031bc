/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/mail/submit.h"

#include "base/buf.h"
#include "base/log.h"

#include <curl/curl.h>
#include <strings.h>

enum { CONNECT_MS = 30 * 1000, TOTAL_MS = 300 * 1000 };

struct submission {
	struct submission *next, **at; /* in submit->all */
	struct submit *submit;
	CURL *easy;
	struct curl_slist *to;
	struct buf mail;
	size_t read;	 /* of the mail, by libcurl */
	struct buf text; /* the last answer of the server */
	char error[CURL_ERROR_SIZE];
	submit_fn *fn;
	void *arg;
};

struct submit {
	struct loop *loop;
	CURLM *multi;
	struct timer *timer;
	struct submission *all;
};

struct socket {
	struct submit *submit;
	struct watch *watch;
	curl_socket_t fd;
};

/* --- what became of it ----------------------------------------------------------------------- */

/* Failures that say nothing of the mail, whatever the server answered before. */
static const CURLcode away[] = {
	CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT,    CURLE_USE_SSL_FAILED,
	CURLE_SSL_CONNECT_ERROR,    CURLE_SSL_CACERT_BADFILE, CURLE_PEER_FAILED_VERIFICATION,
	CURLE_SSL_ISSUER_ERROR,	    CURLE_LOGIN_DENIED,	      CURLE_AUTH_ERROR,
};

static bool is_away(CURLcode code, long answer, size_t read)
{
	for (size_t i = 0; i < countof(away); i++)
		if (code == away[i])
			return true;
	if (code == CURLE_WEIRD_SERVER_REPLY && read == 0) /* the greeting */
		return true;
	return answer == 421 || answer == 0;
}

static enum submit_result result_of(CURLcode code, long answer, const struct submission *submission)
{
	if (code == CURLE_OK)
		return SUBMIT_TAKEN;
	if (is_away(code, answer, submission->read))
		return submission->mail.len && submission->read == submission->mail.len
			       ? SUBMIT_UNSURE
			       : SUBMIT_AWAY;
	if (answer / 100 == 4)
		return SUBMIT_DEFERRED;
	if (answer / 100 == 5)
		return SUBMIT_REFUSED;
	return submission->read == submission->mail.len ? SUBMIT_UNSURE : SUBMIT_AWAY;
}

static void submission_free(struct submission *submission)
{
	*submission->at = submission->next;
	if (submission->next)
		submission->next->at = submission->at;
	curl_multi_remove_handle(submission->submit->multi, submission->easy);
	curl_easy_cleanup(submission->easy);
	curl_slist_free_all(submission->to);
	buf_free(&submission->mail);
	buf_free(&submission->text);
	free(submission);
}

void submit_cancel(struct submission *submission)
{
	if (submission)
		submission_free(submission);
}

static void finish(struct submission *submission, CURLcode code)
{
	long answer = 0;

	curl_easy_getinfo(submission->easy, CURLINFO_RESPONSE_CODE, &answer);
	enum submit_result result = result_of(code, answer, submission);
	bool has_answer = answer >= 400 && submission->text.len > 0;
	scoped_str text = str_dup(has_answer	       ? buf_text(&submission->text)
				  : code == CURLE_OK   ? buf_text(&submission->text)
				  : *submission->error ? submission->error
						       : curl_easy_strerror(code));
	submit_fn *fn = submission->fn;
	void *arg = submission->arg;

	submission_free(submission);
	fn(arg, result, text);
}

static void look_done(void *arg)
{
	struct submit *submit = arg;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(submit->multi, &left))) {
		struct submission *submission = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&submission);
		finish(submission, message->data.result);
	}
}

/* --- libcurl on the loop ---------------------------------------------------------------------- */

static void act(struct submit *submit, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(submit->multi, fd, events, &running);
	loop_later(submit->loop, look_done, submit);
}

static void on_socket(void *arg, int events)
{
	const struct socket *socket = arg;

	act(socket->submit, socket->fd,
	    (events & WATCH_READ ? CURL_CSELECT_IN : 0) |
		    (events & WATCH_WRITE ? CURL_CSELECT_OUT : 0));
}

static void destroy_socket(void *socket)
{
	free(socket);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *mine)
{
	struct submit *submit = arg;
	struct socket *socket = mine;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (socket) {
			watch_free(socket->watch);
			loop_park(submit->loop, socket,
				  destroy_socket); /* it may be on the stack */
		}
		return 0;
	}
	if (!socket) {
		socket = mem_new(struct socket);
		socket->submit = submit;
		socket->fd = fd;
		socket->watch = watch_new(submit->loop, fd, on_socket, socket);
		curl_multi_assign(submit->multi, fd, socket);
	}
	watch_set(socket->watch, (what & CURL_POLL_IN ? WATCH_READ : 0) |
					 (what & CURL_POLL_OUT ? WATCH_WRITE : 0));
	return 0;
}

static int want_timer(CURLM *multi, long ms, void *arg)
{
	struct submit *submit = arg;

	(void)multi;
	timer_set(submit->timer, ms < 0 ? 0 : loop_now(submit->loop) + ms);
	return 0;
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* --- one mail --------------------------------------------------------------------------------- */

static size_t give_bytes(char *room, size_t size, size_t n, void *arg)
{
	struct submission *submission = arg;
	size_t left = submission->mail.len - submission->read;
	size_t len = size * n < left ? size * n : left;

	memcpy(room, submission->mail.data + submission->read, len);
	submission->read += len;
	return len;
}

/* The answers of the server, line by line; the last one stays. */
static size_t take_line(char *line, size_t size, size_t n, void *arg)
{
	struct submission *submission = arg;
	size_t len = size * n;

	if (len > 0 && line[0] < '4' && submission->text.len > 0 && submission->text.data[0] >= '4')
		return len; /* the goodbye after a refusal */
	buf_clear(&submission->text);
	for (size_t i = 0; i < len && i < SUBMIT_TEXT_MAX && line[i] != '\r' && line[i] != '\n';
	     i++)
		buf_add_char(&submission->text, line[i]);
	return len;
}

static void set_up(struct submission *submission, const struct submit_job *job)
{
	CURL *easy = submission->easy;
	bool is_v6 = strchr(job->host, ':') != NULL;
	scoped_str url =
		str_format("%s://%s%s%s:%u/%s", job->tls == SUBMIT_TLS ? "smtps" : "smtp",
			   is_v6 ? "[" : "", job->host, is_v6 ? "]" : "", job->port, job->helo);
	scoped_str from = str_format("<%s>", job->from);
	scoped_str to = str_format("<%s>", job->to);

	submission->to = curl_slist_append(NULL, to);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, submission);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, submission->error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
	if (job->tls == SUBMIT_STARTTLS)
		curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
	if (job->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, job->ca_file);
	if (job->username) {
		curl_easy_setopt(easy, CURLOPT_USERNAME, job->username);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, job->password);
		/* else libcurl takes GSSAPI or NTLM where a server has them, and fails */
		curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN");
	}
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, submission->to);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_bytes);
	curl_easy_setopt(easy, CURLOPT_READDATA, submission);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_line);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, submission);
}

struct submission *submit_send(struct submit *submit, const struct submit_job *job, submit_fn *fn,
			       void *arg)
{
	struct submission *submission = mem_new(struct submission);

	submission->submit = submit;
	submission->fn = fn;
	submission->arg = arg;
	submission->next = submit->all;
	submission->at = &submit->all;
	if (submission->next)
		submission->next->at = &submission->next;
	submit->all = submission;
	buf_add_slice(&submission->mail, job->mail);
	submission->easy = curl_easy_init();
	if (!submission->easy)
		abort(); /* out of memory, as in mem_alloc */
	set_up(submission, job);
	curl_multi_add_handle(submit->multi, submission->easy);
	return submission;
}

struct submit *submit_new(struct loop *loop)
{
	struct submit *submit = mem_new(struct submit);

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		abort();
	submit->loop = loop;
	submit->timer = timer_new(loop, on_timer, submit);
	submit->multi = curl_multi_init();
	if (!submit->multi)
		abort();
	curl_multi_setopt(submit->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(submit->multi, CURLMOPT_SOCKETDATA, submit);
	curl_multi_setopt(submit->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(submit->multi, CURLMOPT_TIMERDATA, submit);
	curl_multi_setopt(submit->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)SUBMIT_AT_ONCE);
	curl_multi_setopt(submit->multi, CURLMOPT_MAXCONNECTS, 4L * SUBMIT_AT_ONCE);
	return submit;
}

void submit_free(struct submit *submit)
{
	if (!submit)
		return;
	while (submit->all)
		submission_free(submit->all);
	curl_multi_cleanup(submit->multi);
	loop_cancel(submit->loop, look_done, submit);
	timer_free(submit->timer);
	free(submit);
	curl_global_cleanup();
}
