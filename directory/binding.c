/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/binding.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>

enum { HASH_BYTES = 64 }; /* of the longest, SHA-512 */

/* That of the certificate's signature, but never one of those that are broken. EdDSA has its own.
 */
static gnutls_digest_algorithm_t hash_of(const gnutls_x509_crt_t certificate)
{
	int signature = gnutls_x509_crt_get_signature_algorithm(certificate);

	if (signature < 0 || signature == GNUTLS_SIGN_EDDSA_ED25519 ||
	    signature == GNUTLS_SIGN_EDDSA_ED448)
		return GNUTLS_DIG_UNKNOWN;
	gnutls_digest_algorithm_t hash =
		gnutls_sign_get_hash_algorithm((gnutls_sign_algorithm_t)signature);
	return hash == GNUTLS_DIG_MD5 || hash == GNUTLS_DIG_SHA1 ? GNUTLS_DIG_SHA256 : hash;
}

enum hr_status binding_add(struct slice certificate, struct buf *out, struct hr_err *err)
{
	const gnutls_datum_t der = { (unsigned char *)(uintptr_t)certificate.data,
				     (unsigned int)certificate.len };
	gnutls_digest_algorithm_t hash = GNUTLS_DIG_UNKNOWN;
	unsigned char bytes[HASH_BYTES];
	gnutls_x509_crt_t parsed;

	int code = gnutls_x509_crt_init(&parsed);
	if (code == GNUTLS_E_SUCCESS) {
		code = gnutls_x509_crt_import(parsed, &der, GNUTLS_X509_FMT_DER);
		if (code == GNUTLS_E_SUCCESS)
			hash = hash_of(parsed);
		gnutls_x509_crt_deinit(parsed);
	}
	if (code != GNUTLS_E_SUCCESS)
		return err_set(err, HR_FAIL, "the server's certificate: %s", gnutls_strerror(code));
	unsigned int len = gnutls_hash_get_len(hash);
	if (hash == GNUTLS_DIG_UNKNOWN || len == 0 || len > sizeof bytes ||
	    gnutls_hash_fast(hash, der.data, der.size, bytes) != GNUTLS_E_SUCCESS)
		return err_set(err, HR_NONE, "the server's certificate has no hash");
	buf_add_str(out, "tls-server-end-point:");
	buf_add(out, (const char *)bytes, len);
	return HR_OK;
}
