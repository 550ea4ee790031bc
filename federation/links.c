/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link_private.h"

#include "base/log.h"

#include <errno.h>
#include <zmq.h>

enum {
	HEARTBEAT_MS = 5 * 1000,
	RETRY_MAX_MS = 30 * 1000,
	REFUSED_LOG_MS = 1000, /* refused connections are logged at most so often, and counted */
	TOLD_MAX = 1024,       /* connections that are remembered as told Bye; past it, anew */
	KEY_SHOWN = 8
};

/* --- the listener --- */

/* Whoever is refused may come again at once; *more says how often that was not logged. */
static bool may_log(struct links *links, struct link_refusals *refusals, int64_t *more)
{
	msec now = loop_now(links->loop);

	if (refusals->logged && now - refusals->logged < REFUSED_LOG_MS) {
		refusals->more++;
		return false;
	}
	*more = refusals->more;
	refusals->logged = now;
	refusals->more = 0;
	return true;
}

static bool may_connect(void *ctx, const char *key, const char *address)
{
	struct links *links = ctx;
	struct slice shown = { key, KEY_SHOWN };
	int64_t more;

	if (map_get(links->keys, slice_str(key)))
		return true;
	metric_add(&link_metrics[LINK_REFUSED_KEYS], 1);
	if (may_log(links, &links->refused_keys, &more))
		log_warn("link.refused", LOG_SLICE("key", shown), LOG_STR("address", address),
			 LOG_INT("more", more));
	return false;
}

/* Once on a connection: what waits to leave has no bound in ZeroMQ, and who goes on after a Bye
 * may not be reading. */
static void answer_bye(struct links *links, struct slice route, const char *reason)
{
	struct frame bye = { .kind = FRAME_BYE, .reason = slice_str(reason) };
	struct slice bytes;

	if (map_get(links->told, route))
		return;
	if (map_count(links->told) >= TOLD_MAX) {
		map_free(links->told);
		links->told = map_new();
	}
	map_put(links->told, route, links);
	bytes = frame_encode(links->codec, &bye);
	metric_add(&link_metrics[LINK_FRAMES_OUT], 1);
	metric_add(&link_metrics[LINK_BYTES_OUT], (int64_t)bytes.len);
	(void)link_socket_send(links->listener, route, bytes); /* who is gone needs no Bye */
}

static void refuse_frame(struct links *links, const struct link_message *message, const char *site,
			 const struct hr_err *why)
{
	int64_t more;

	metric_add(&link_metrics[LINK_REFUSED_FRAMES], 1);
	if (may_log(links, &links->refused_frames, &more))
		log_warn("link.frame_refused", LOG_STR("site", site), LOG_ERR(why),
			 LOG_INT("more", more));
	answer_bye(links, message->route, why->text);
}

/* Something on a connection that is no session of `link`, or not yet. */
static void on_stranger(struct links *links, struct link *link, const struct link_message *message)
{
	struct frame frame;
	struct hr_err err;

	metric_add(&link_metrics[LINK_FRAMES_IN], 1);
	metric_add(&link_metrics[LINK_BYTES_IN], (int64_t)message->bytes.len);
	if (frame_decode(links->codec, message->bytes, &frame, &err) != HR_OK)
		return refuse_frame(links, message, link->site, &err);
	if (frame.kind == FRAME_BYE)
		return;
	if (frame.kind != FRAME_HELLO)
		return answer_bye(links, message->route, "there is no session");
	if (link_host(link, message, &err) == HR_OK)
		link_take(link, &frame);
	else
		answer_bye(links, message->route, err.text);
}

static void on_message(void *ctx, const struct link_message *message)
{
	struct links *links = ctx;
	struct link *link = message->key ? map_get(links->keys, slice_str(message->key)) : NULL;
	struct hr_err why;

	if (!link) {
		err_set(&why, HR_FAIL, "the key of the connection is withdrawn");
		refuse_frame(links, message, NULL, &why);
	} else if (link_is_current(link, message->route)) {
		link_receive(link, message->bytes);
	} else {
		on_stranger(links, link, message);
	}
}

static void on_changed(void *ctx, enum link_socket_change change, const char *why)
{
	struct links *links = ctx;
	int64_t more;

	(void)change; /* the listener hears of refusals only */
	metric_add(&link_metrics[LINK_REFUSED_KEYS], 1);
	if (may_log(links, &links->refused_keys, &more))
		log_warn("link.refused", LOG_STR("error", why), LOG_INT("more", more));
}

static enum hr_status listen_on(struct links *links, const char *endpoint, struct hr_err *err)
{
	static const struct link_socket_events events = { on_message, on_changed };
	struct link_socket_options options = {
		.context = links->context,
		.endpoint = endpoint,
		.secret_key = links->secret_key,
		.patience = LINK_HANDSHAKE_MS,
	};

	if (link_zap_new(links->loop, links->context, may_connect, links, &links->zap, err) !=
	    HR_OK)
		return err->status;
	if (link_socket_new(links->loop, &options, &events, links, &links->listener, err) != HR_OK)
		return err->status;
	log_info("link.listening", LOG_STR("endpoint", link_socket_endpoint(links->listener)));
	return HR_OK;
}

/* --- the set --- */

enum hr_status links_new(struct loop *loop, const struct links_options *options,
			 const struct links_events *events, void *ctx, struct links **out,
			 struct hr_err *err)
{
	scoped(links) links = mem_new(struct links);
	char public_key[LINK_KEY_LEN + 1];

	links->loop = loop;
	links->site = str_dup(options->site);
	links->node = str_dup(options->node);
	links->secret_key = str_dup(options->secret_key);
	links->heartbeat = options->heartbeat ? options->heartbeat : HEARTBEAT_MS;
	links->retry_max = options->retry_max ? options->retry_max : RETRY_MAX_MS;
	links->events = *events;
	links->ctx = ctx;
	links->flowing = true;
	links->sites = map_new();
	links->keys = map_new();
	links->told = map_new();
	links->codec = frame_codec_new();
	links->context = zmq_ctx_new();
	if (!links->context)
		return err_set(err, HR_FAIL, "start ZeroMQ: %s", zmq_strerror(errno));
	if (strlen(options->secret_key) != LINK_KEY_LEN ||
	    zmq_curve_public(public_key, options->secret_key) != 0)
		return err_set(err, HR_FAIL,
			       "the secret key of the link is not %d characters of Z85",
			       LINK_KEY_LEN);
	if (options->listen && listen_on(links, options->listen, err) != HR_OK)
		return err_add(err, "site links");
	*out = give(links);
	return HR_OK;
}

void links_free(struct links *links)
{
	struct slice site;
	void *link;

	if (!links)
		return;
	links->closing = true;
	for (size_t at = 0; map_next(links->sites, &at, &site, &link);)
		link_remove(link, "shutting down");
	link_socket_free(links->listener);
	link_zap_free(links->zap);
	if (links->context)
		zmq_ctx_term(links->context); /* waits for the Byes, LINK_LINGER_MS at most */
	frame_codec_free(links->codec);
	map_free(links->sites);
	map_free(links->keys);
	map_free(links->told);
	free(links->site);
	free(links->node);
	free(links->secret_key);
	free(links);
}

static bool is_listed(const struct link *link, const struct link_peer *peers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(peers[i].site, link->site) == 0)
			return true;
	return false;
}

/* A key proves one site: when two claim it, the first keeps it. */
static void add_keys(struct links *links, struct link *link)
{
	for (size_t i = 0; link->keys[i]; i++) {
		struct slice key = slice_str(link->keys[i]);
		struct link *other = map_put(links->keys, key, link);

		if (!other || other == link)
			continue;
		map_put(links->keys, key, other);
		log_warn("link.key_shared", LOG_STR("site", link->site),
			 LOG_STR("with", other->site));
	}
}

void links_configure(struct links *links, const struct link_peer *peers, size_t n)
{
	struct slice site;
	void *link;

	for (size_t at = 0; map_next(links->sites, &at, &site, &link);)
		if (!is_listed(link, peers, n))
			link_remove(link, "the link is not configured any more");

	map_free(links->keys);
	links->keys = map_new();
	for (size_t i = 0; i < n; i++) {
		struct link *peer = links_find(links, peers[i].site);

		if (!peer) {
			peer = link_new(links, peers[i].site);
			map_put(links->sites, slice_str(peers[i].site), peer);
		}
		link_configure(peer, &peers[i]);
		add_keys(links, peer);
	}
	for (size_t at = 0; map_next(links->sites, &at, &site, &link);)
		link_review(link);
}

struct link *links_find(struct links *links, const char *site)
{
	return map_get(links->sites, slice_str(site));
}

const char *links_endpoint(const struct links *links)
{
	return links->listener ? link_socket_endpoint(links->listener) : NULL;
}

void links_flow(struct links *links, bool yes)
{
	struct slice site;
	void *link;

	links->flowing = yes;
	for (size_t at = 0; map_next(links->sites, &at, &site, &link);)
		session_flow(((struct link *)link)->session, yes);
}

/* --- one link, for its owner --- */

const char *link_site(const struct link *link)
{
	return link->site;
}

bool link_is_up(const struct link *link)
{
	return session_is_up(link->session);
}

const char *link_reason(const struct link *link)
{
	return link->reason.text;
}

void link_resume(struct link *link, int64_t position)
{
	session_resume(link->session, position);
}

void link_committed(struct link *link, int64_t seq)
{
	session_committed(link->session, seq);
}

enum hr_status link_send_direct(struct link *link, struct envelope *envelope, struct hr_err *err)
{
	return session_direct(link->session, envelope, err);
}
