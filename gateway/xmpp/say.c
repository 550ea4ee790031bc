/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/xmpp/say.h"

#include "gateway/xmpp/stanza.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

enum { SHA1_LEN = 20 };

void say_header(struct buf *out, const char *domain)
{
	buf_add_str(out, "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
			 "xmlns:stream='http://etherx.jabber.org/streams' to='");
	stanza_escape(out, slice_str(domain));
	buf_add_str(out, "'>");
}

void say_handshake(struct buf *out, struct slice id, const char *secret)
{
	scoped_buf text = BUF_INIT(0);
	unsigned char digest[SHA1_LEN];

	buf_add_slice(&text, id);
	buf_add_str(&text, secret ? secret : "");
	gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data, text.len, digest);
	gnutls_memset(text.data, 0, text.size);
	buf_add_str(out, "<handshake>");
	for (size_t i = 0; i < SHA1_LEN; i++)
		buf_format(out, "%02x", digest[i]);
	buf_add_str(out, "</handshake>");
}

void say_ping(struct buf *out, const char *domain, const char *native_domain, const char *id)
{
	stanza_write(out, &(struct stanza){
				  .kind = ENVELOPE_IQ,
				  .from = slice_str(domain),
				  .to = slice_str(native_domain),
				  .type = slice_lit("get"),
				  .id = slice_str(id),
				  .payload = slice_lit("<ping xmlns='urn:xmpp:ping'/>"),
			  });
}

void say_fault(struct buf *out, enum scan_fault fault)
{
	buf_format(out,
		   "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
		   scan_condition(fault));
}

void say_end(struct buf *out)
{
	buf_add_str(out, "</stream:stream>");
}
