/* UPDATE with an offer, held until the other leg has answered it.
 *
 * PJSIP answers an UPDATE in the call stack that received it; a B2BUA must ask
 * the other side first.  So the request is kept here, and given to PJSIP again
 * when its answer is known, or refused without PJSIP ever seeing it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_UPDATE_H
#define RECPROXY_UPDATE_H

#include <pjsip.h>

#define RECPROXY_UPDATES_MAX 4096

/* Whether the request was taken: kept, refused, or a retransmission of a kept one. */
pj_bool_t recproxy_update_keep(pjsip_rx_data *rdata);

/* Refuse a re-INVITE of a dialog whose UPDATE waits for its answer. */
pj_bool_t recproxy_update_collides(pjsip_rx_data *rdata);

/* Forget all that is kept; `door` is the module behind which a request goes on. */
void recproxy_update_clear(pjsip_module *door);

#endif
