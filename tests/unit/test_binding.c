/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/binding.h"

#include "base/mem.h"

#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct sample {
	const char *certificate; /* PEM */
	const char *hash;	 /* hexadecimal, by openssl dgst; NULL: none */
};

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

static const struct sample by_sha256 = {
	BEGIN "MIIBcTCCARegAwIBAgIUFkWQYlalyI8q3hOIxXx0r85dex4wCgYIKoZIzj0EAwIw\n"
	      "DTELMAkGA1UEAwwCZGMwIBcNMjYxMTI2MDIxODE1WhgPMjEyNjExMDIwMjE4MTVa\n"
	      "MA0xCzAJBgNVBAMMAmRjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEc/pC++cz\n"
	      "pPXpPSzWeFpHi5F46KHO/aMElfIGgAi3UtMGicF+DqMm2ciCOndRUcYh4MV6JT/g\n"
	      "CzaP0T20z0u5zKNTMFEwHQYDVR0OBBYEFFlKI2PiLCY+zPfCeFtzLjJmuHWVMB8G\n"
	      "A1UdIwQYMBaAFFlKI2PiLCY+zPfCeFtzLjJmuHWVMA8GA1UdEwEB/wQFMAMBAf8w\n"
	      "CgYIKoZIzj0EAwIDSAAwRQIhAL6X1Ane8iXGseGnmxe2Xg/3Uh5/3Hfs+uFPsQca\n"
	      "8USiAiARe81ImHRMjvhPTHiv5w12CgqtzSqDhdtCQLD88oaLxQ==\n" END,
	"917583d8ea6844c77dcb64818d5943baab8f41afbe892a24180830cfada5f86c",
};

static const struct sample by_sha384 = {
	BEGIN "MIIBcDCCARegAwIBAgIUDpRl89le1RYsqIxxfYtalFfm7FQwCgYIKoZIzj0EAwMw\n"
	      "DTELMAkGA1UEAwwCZGMwIBcNMjYxMTI2MDIxODE1WhgPMjEyNjExMDIwMjE4MTVa\n"
	      "MA0xCzAJBgNVBAMMAmRjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETAZLOnQA\n"
	      "02ARxFD4kEsNrYhGKUwJuq5tgNIYfoS5lQIRJvFBlfSBw1U+czRmAVrhB5QW/BNY\n"
	      "BSIuClKvL/OUpqNTMFEwHQYDVR0OBBYEFLXG4hoLBIn6hA7k1H737wHGNBsUMB8G\n"
	      "A1UdIwQYMBaAFLXG4hoLBIn6hA7k1H737wHGNBsUMA8GA1UdEwEB/wQFMAMBAf8w\n"
	      "CgYIKoZIzj0EAwMDRwAwRAIgeihM/2S5JC/CETaV83t+L1q30UntDoTjcN/Kh+D/\n"
	      "1UoCIBhaW7Yt7BPf77peKBtpYICdydu3hVNKZGouNITe5HSE\n" END,
	"3613538a9df12cec53b3f41a19e40e8eb54e26f55d6c1b8ed7d2c55a65e7a250ecde69afebac3eded161a0484b"
	"ef5fd4",
};

static const struct sample by_sha1 = {
	BEGIN "MIIBcDCCARagAwIBAgIUXyBnKL+K2pzTeqr/6uBI+7A6CYwwCQYHKoZIzj0EATAN\n"
	      "MQswCQYDVQQDDAJkYzAgFw0yNjExMjYwMjE4MTVaGA8yMTI2MTEwMjAyMTgxNVow\n"
	      "DTELMAkGA1UEAwwCZGMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS6TVHhxkbR\n"
	      "3Es5sI5QQ17deA2x+JfcloaDbiU+pCJq2pRiYOwwtE4wE891dydT1L7NqfQS4xNQ\n"
	      "J7QE0kStP8jho1MwUTAdBgNVHQ4EFgQUeNKP87tVFN2MIn5wpbKz7Dc2bvUwHwYD\n"
	      "VR0jBBgwFoAUeNKP87tVFN2MIn5wpbKz7Dc2bvUwDwYDVR0TAQH/BAUwAwEB/zAJ\n"
	      "BgcqhkjOPQQBA0kAMEYCIQDX1XxKPmzj4YYo5E1f2PCB8QE9U39pngHbmBZzX6ye\n"
	      "lQIhAOI3wkuYh7t+mJtev3ds783i62DNZR7wIUydGsGxt2di\n" END,
	"1f1aa769758864542976efbfaf9cb856a368c02fa43dc1e0df007a24dc5db3e9",
};

static const struct sample by_ed = {
	BEGIN "MIIBMDCB46ADAgECAhQH1Qzy8l9/wELJLXzGC+gBx4pRAjAFBgMrZXAwDTELMAkG\n"
	      "A1UEAwwCZGMwIBcNMjYxMTI2MDIxODE1WhgPMjEyNjExMDIwMjE4MTVaMA0xCzAJ\n"
	      "BgNVBAMMAmRjMCowBQYDK2VwAyEA1/aOtd0PzlL+6gSMZpxOBdwyQU3kQttbGT/Z\n"
	      "KqMBrh2jUzBRMB0GA1UdDgQWBBQEcCs/s6fuqXoGc0xftPy4Co4xtDAfBgNVHSME\n"
	      "GDAWgBQEcCs/s6fuqXoGc0xftPy4Co4xtDAPBgNVHRMBAf8EBTADAQH/MAUGAytl\n"
	      "cANBAI0Auhyq/DDfOTJScOiVVemBh4I4jGe3l0MS0jp2Q1EgT7/Lq99qOGTVg7Z0\n"
	      "5d6piGzbz1Iwcv8/dHCK29kJFQ0=\n" END,
	NULL,
};

static enum hr_status bind(const struct sample *sample, char **out, struct hr_err *err)
{
	const gnutls_datum_t pem = { (unsigned char *)(uintptr_t)sample->certificate,
				     (unsigned int)strlen(sample->certificate) };
	scoped_buf found = BUF_INIT(0);
	gnutls_datum_t der;

	assert_int_equal(gnutls_pem_base64_decode2("CERTIFICATE", &pem, &der), 0);
	enum hr_status status =
		binding_add((struct slice){ (const char *)der.data, der.size }, &found, err);
	gnutls_free(der.data);
	*out = mem_dup(found.data ? found.data : "", found.len);
	return status;
}

static void check(const struct sample *sample)
{
	static const char prefix[] = "tls-server-end-point:";
	size_t len = sizeof prefix - 1;
	char *found;
	struct hr_err err;

	assert_int_equal(bind(sample, &found, &err), HR_OK);
	assert_memory_equal(found, prefix, len);
	for (size_t i = 0; sample->hash[2 * i]; i++) {
		char byte[3];
		snprintf(byte, sizeof byte, "%02x", (unsigned char)found[len + i]);
		assert_memory_equal(byte, sample->hash + 2 * i, 2);
	}
	free(found);
}

static void it_is_the_hash_that_the_signature_uses(void **state)
{
	(void)state;
	check(&by_sha256);
	check(&by_sha384);
}

static void a_broken_hash_is_replaced(void **state)
{
	(void)state;
	check(&by_sha1);
}

static void a_signature_without_a_hash_gives_none(void **state)
{
	char *found;
	struct hr_err err;

	(void)state;
	assert_int_equal(bind(&by_ed, &found, &err), HR_NONE);
	assert_string_equal(found, "");
	free(found);
}

static void what_is_no_certificate_is_refused(void **state)
{
	scoped_buf out = BUF_INIT(0);
	struct hr_err err;

	(void)state;
	assert_int_equal(binding_add(slice_str("nonsense"), &out, &err), HR_FAIL);
	assert_int_equal(binding_add((struct slice){ 0 }, &out, &err), HR_FAIL);
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_the_hash_that_the_signature_uses),
		cmocka_unit_test(a_broken_hash_is_replaced),
		cmocka_unit_test(a_signature_without_a_hash_gives_none),
		cmocka_unit_test(what_is_no_certificate_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
