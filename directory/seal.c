/* SPDX-License-Identifier: Apache-2.0 */
#include "directory/seal.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>

enum { HEAD_BYTES = 4 };

struct seal {
	gss_ctx_id_t context;
	size_t most_plain;
	struct buf plain; /* decrypted, of which read_at bytes have been read */
	size_t read_at;
};

/* All of `len` bytes from the layer below; else what it said. */
static ber_slen_t read_whole(Sockbuf_IO_Desc *layer, char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ber_slen_t got = LBER_SBIOD_READ_NEXT(layer, data + at, len - at);
		if (got <= 0)
			return got;
		at += (size_t)got;
	}
	return (ber_slen_t)len;
}

static bool write_whole(Sockbuf_IO_Desc *layer, const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ber_slen_t put =
			LBER_SBIOD_WRITE_NEXT(layer, (char *)(uintptr_t)data + at, len - at);
		if (put <= 0)
			return false;
		at += (size_t)put;
	}
	return true;
}

/* Takes the next piece, which must be encrypted, into seal->plain. */
static ber_slen_t read_piece(Sockbuf_IO_Desc *layer, struct seal *seal)
{
	unsigned char head[HEAD_BYTES];
	OM_uint32 minor;
	int encrypted = 0;

	ber_slen_t got = read_whole(layer, (char *)head, sizeof head);
	if (got <= 0)
		return got;
	size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	errno = EBADMSG;
	if (len > SEAL_MOST_BYTES)
		return -1;
	scoped_str piece = mem_alloc(len + 1);
	got = read_whole(layer, piece, len);
	if (got < 0 || (got == 0 && len > 0))
		return got;
	gss_buffer_desc in = { len, piece }, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 major = gss_unwrap(&minor, seal->context, &in, &out, &encrypted, NULL);
	if (!GSS_ERROR(major) && encrypted)
		buf_add(&seal->plain, out.value, out.length);
	gss_release_buffer(&minor, &out);
	errno = EBADMSG;
	return GSS_ERROR(major) || !encrypted ? -1 : 1;
}

static ber_slen_t layer_read(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	struct seal *seal = layer->sbiod_pvt;

	while (seal->read_at == seal->plain.len) {
		buf_clear(&seal->plain);
		seal->read_at = 0;
		ber_slen_t got = read_piece(layer, seal);
		if (got <= 0)
			return got;
	}
	size_t left = seal->plain.len - seal->read_at;
	size_t n = len < left ? len : left;
	memcpy(data, seal->plain.data + seal->read_at, n);
	seal->read_at += n;
	return (ber_slen_t)n;
}

static ber_slen_t layer_write(Sockbuf_IO_Desc *layer, void *data, ber_len_t len)
{
	struct seal *seal = layer->sbiod_pvt;
	size_t n = len < seal->most_plain ? len : seal->most_plain;
	gss_buffer_desc in = { n, data }, out = GSS_C_EMPTY_BUFFER;
	scoped_buf piece = BUF_INIT(0);
	OM_uint32 minor;
	int encrypted = 0;

	OM_uint32 major =
		gss_wrap(&minor, seal->context, 1, GSS_C_QOP_DEFAULT, &in, &encrypted, &out);
	if (!GSS_ERROR(major) && encrypted) {
		buf_add_u32(&piece, (uint32_t)out.length);
		buf_add(&piece, out.value, out.length);
	}
	gss_release_buffer(&minor, &out);
	errno = EBADMSG;
	return piece.len > 0 && write_whole(layer, piece.data, piece.len) ? (ber_slen_t)n : -1;
}

static int layer_ctrl(Sockbuf_IO_Desc *layer, int option, void *value)
{
	const struct seal *seal = layer->sbiod_pvt;

	if (option == LBER_SB_OPT_DATA_READY && seal->read_at < seal->plain.len)
		return 1;
	return LBER_SBIOD_CTRL_NEXT(layer, option, value);
}

static int layer_setup(Sockbuf_IO_Desc *layer, void *seal)
{
	layer->sbiod_pvt = seal;
	return 0;
}

static int layer_remove(Sockbuf_IO_Desc *layer)
{
	struct seal *seal = layer->sbiod_pvt;
	OM_uint32 minor;

	gss_delete_sec_context(&minor, &seal->context, GSS_C_NO_BUFFER);
	buf_free(&seal->plain);
	free(seal);
	return 0;
}

static Sockbuf_IO layer_io = {
	.sbi_setup = layer_setup,
	.sbi_remove = layer_remove,
	.sbi_ctrl = layer_ctrl,
	.sbi_read = layer_read,
	.sbi_write = layer_write,
};

enum hr_status seal_apply(LDAP *ld, gss_ctx_id_t context, OM_uint32 most_plain, struct hr_err *err)
{
	struct seal *seal = mem_new(struct seal);
	Sockbuf *socket = NULL;
	OM_uint32 minor;

	*seal = (struct seal){ context, most_plain, BUF_INIT(SEAL_MOST_BYTES), 0 };
	if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &socket) == LDAP_OPT_SUCCESS && socket &&
	    ber_sockbuf_add_io(socket, &layer_io, LBER_SBIOD_LEVEL_APPLICATION, seal) == 0)
		return HR_OK;
	gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
	free(seal);
	return err_set(err, HR_FAIL, "libldap takes no security layer");
}
