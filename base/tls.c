/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	char *host;
	struct buf input; /* from the peer; taken up to `taken` */
	size_t taken;
	bool ended;
	struct buf output;
};

static ssize_t pull(gnutls_transport_ptr_t ptr, void *out, size_t size)
{
	struct tls *tls = ptr;
	size_t left = tls->input.len - tls->taken;

	if (left == 0 && tls->ended)
		return 0;
	if (left == 0) {
		gnutls_transport_set_errno(tls->session, EAGAIN);
		return -1;
	}
	size_t len = left < size ? left : size;
	memcpy(out, tls->input.data + tls->taken, len);
	tls->taken += len;
	if (tls->taken == tls->input.len) {
		buf_clear(&tls->input);
		tls->taken = 0;
	}
	return (ssize_t)len;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned int ms)
{
	struct tls *tls = ptr;

	(void)ms;
	return tls->input.len > tls->taken || tls->ended;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	struct tls *tls = ptr;

	buf_add(&tls->output, data, len);
	return (ssize_t)len;
}

static enum hr_status load_trust(struct tls *tls, const char *ca_file, struct hr_err *err)
{
	if (!ca_file) {
		int count = gnutls_certificate_set_x509_system_trust(tls->credentials);
		return count > 0 ? HR_OK
				 : err_set(err, HR_FAIL, "the system has no trusted certificates");
	}
	int count = gnutls_certificate_set_x509_trust_file(tls->credentials, ca_file,
							   GNUTLS_X509_FMT_PEM);
	if (count < 0)
		return err_set(err, HR_FAIL, "%s: %s", ca_file, gnutls_strerror(count));
	return count > 0 ? HR_OK : err_set(err, HR_FAIL, "%s: holds no certificate", ca_file);
}

static bool is_address(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

/* GnuTLS fails in these only for want of memory, or for a priority string that is not ours. */
static void must(int status)
{
	if (status < 0)
		abort();
}

enum hr_status tls_client_new(const char *host, const char *ca_file, struct tls **out,
			      struct hr_err *err)
{
	scoped(tls) tls = mem_new(struct tls);

	tls->host = str_dup(host);
	must(gnutls_certificate_allocate_credentials(&tls->credentials));
	if (load_trust(tls, ca_file, err) != HR_OK)
		return err->status;
	must(gnutls_init(&tls->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL));
	must(gnutls_set_default_priority_append(tls->session, "-VERS-TLS1.0:-VERS-TLS1.1", NULL,
						0));
	must(gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials));
	if (!is_address(host))
		must(gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, host, strlen(host)));
	gnutls_session_set_verify_cert(tls->session, tls->host, 0);
	gnutls_handshake_set_timeout(tls->session, GNUTLS_INDEFINITE_TIMEOUT);
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, pull);
	gnutls_transport_set_pull_timeout_function(tls->session, pull_timeout);
	gnutls_transport_set_push_function(tls->session, push);
	*out = give(tls);
	return HR_OK;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->session)
		gnutls_deinit(tls->session);
	gnutls_certificate_free_credentials(tls->credentials);
	buf_free(&tls->input);
	buf_free(&tls->output);
	free(tls->host);
	free(tls);
}

void tls_feed(struct tls *tls, struct slice bytes)
{
	buf_add_slice(&tls->input, bytes);
}

void tls_feed_end(struct tls *tls)
{
	tls->ended = true;
}

struct buf *tls_output(struct tls *tls)
{
	return &tls->output;
}

/* What to do after a call of GnuTLS that did not succeed. */
static enum hr_status translate(const struct tls *tls, int code, struct hr_err *err)
{
	switch (code) {
	case GNUTLS_E_AGAIN:
	case GNUTLS_E_INTERRUPTED:
		return HR_RETRY;
	case GNUTLS_E_PREMATURE_TERMINATION:
		return err_set(err, HR_UNSURE, "cut off without a TLS goodbye");
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return err_set(err, HR_UNSURE, "the peer's TLS alert: %s",
			       gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	default:
		return err_set(err, HR_UNSURE, "TLS: %s", gnutls_strerror(code));
	}
}

static enum hr_status refuse_certificate(const struct tls *tls, struct hr_err *err)
{
	unsigned int status = gnutls_session_get_verify_cert_status(tls->session);
	gnutls_datum_t text = { 0 };

	if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
		return err_set(err, HR_FAIL, "the certificate of %s is not good", tls->host);
	err_set(err, HR_FAIL, "the certificate of %s: %s", tls->host, (const char *)text.data);
	gnutls_free(text.data);
	return HR_FAIL;
}

/* Alerts that are only warnings are passed over. */
static bool is_warning(int code)
{
	return code == GNUTLS_E_WARNING_ALERT_RECEIVED || code == GNUTLS_E_GOT_APPLICATION_DATA;
}

enum hr_status tls_handshake(struct tls *tls, struct hr_err *err)
{
	int code;

	do
		code = gnutls_handshake(tls->session);
	while (is_warning(code));
	if (code == GNUTLS_E_SUCCESS)
		return HR_OK;
	if (gnutls_error_is_fatal(code))
		gnutls_alert_send_appropriate(tls->session, code);
	if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return refuse_certificate(tls, err);
	return translate(tls, code, err);
}

enum hr_status tls_read(struct tls *tls, char *out, size_t size, size_t *len, struct hr_err *err)
{
	for (;;) {
		ssize_t got = gnutls_record_recv(tls->session, out, size);
		if (got > 0) {
			*len = (size_t)got;
			return HR_OK;
		}
		if (got == 0)
			return err_set(err, HR_NONE, "closed by the peer");
		if (got == GNUTLS_E_REHANDSHAKE) /* TLS 1.2: not with us */
			gnutls_alert_send(tls->session, GNUTLS_AL_WARNING,
					  GNUTLS_A_NO_RENEGOTIATION);
		else if (!is_warning((int)got))
			return translate(tls, (int)got, err);
	}
}

enum hr_status tls_write(struct tls *tls, struct slice bytes, struct hr_err *err)
{
	while (bytes.len > 0) {
		ssize_t sent = gnutls_record_send(tls->session, bytes.data, bytes.len);
		if (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED)
			continue; /* push never waits */
		if (sent < 0)
			return translate(tls, (int)sent, err);
		bytes.data += sent;
		bytes.len -= (size_t)sent;
	}
	return HR_OK;
}

void tls_close(struct tls *tls)
{
	gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
