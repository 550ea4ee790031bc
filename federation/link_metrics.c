/* SPDX-License-Identifier: Apache-2.0 */
#include "federation/link.h"

struct metric link_metrics[LINK_METRICS] = {
	[LINK_FRAMES_IN] = { "link_frames_in_total", "Frames received from peer sites", 0, false },
	[LINK_FRAMES_OUT] = { "link_frames_out_total", "Frames sent to peer sites", 0, false },
	[LINK_BYTES_IN] = { "link_bytes_in_total", "Bytes of frames received, as on the wire", 0,
			    false },
	[LINK_BYTES_OUT] = { "link_bytes_out_total", "Bytes of frames sent, as on the wire", 0,
			     false },
	[LINK_ENVELOPES_IN] = { "link_envelopes_in_total", "Journaled envelopes received", 0,
				false },
	[LINK_ENVELOPES_OUT] = { "link_envelopes_out_total",
				 "Journaled envelopes sent, repeated ones too", 0, false },
	[LINK_DIRECT_IN] = { "link_direct_in_total", "Presences and queries received", 0, false },
	[LINK_DIRECT_OUT] = { "link_direct_out_total", "Presences and queries sent", 0, false },
	[LINK_REFUSED_KEYS] = { "link_refused_keys_total",
				"Connections refused: unknown key or no CURVE handshake", 0,
				false },
	[LINK_REFUSED_FRAMES] = { "link_refused_frames_total",
				  "Frames refused: broken, or against the protocol", 0, false },
	[LINK_REPLAYED] = { "link_replayed_total", "Envelopes that came again and were dropped", 0,
			    false },
	[LINK_PEER_AHEAD] = { "link_peer_ahead_total",
			      "Sessions refused: the peer has more of our queue than we have", 0,
			      false },
	[LINK_SESSIONS] = { "link_sessions_total", "Sessions that came up", 0, false },
};
