/* Messages held until the other leg has said what is to become of them.
 *
 * PJSIP answers in the call stack that received a request; a B2BUA must ask the
 * other side first.  So these wait here: an UPDATE or PRACK with an offer, a
 * re-INVITE without one, the 200 to such a re-INVITE of ours (its ACK carries the answer),
 * and what PJSUA has no answer to: INFO, REFER, NOTIFY, MESSAGE.  A held message
 * is given to PJSIP later, or is answered without PJSIP ever seeing it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_HELD_H
#define RECPROXY_HELD_H

#include <pjsip.h>

#define RECPROXY_HELD_MAX 4096

/* Whether the request was taken: kept, refused, or a retransmission of a kept one. */
pj_bool_t recproxy_held_keep(pjsip_rx_data *rdata);

/* Whether a request inside a dialog is passed to the other leg as it is. */
pj_bool_t recproxy_held_passes(const pjsip_method *method);

/* The same for such a request. */
pj_bool_t recproxy_held_pass(pjsip_rx_data *rdata);

/* Whether a 2xx was taken: it carries an offer, since our re-INVITE had none. */
pj_bool_t recproxy_held_offer(pjsip_rx_data *rdata);

/* Copy the ACK of a re-INVITE that had no offer; PJSIP sees it as well. */
void recproxy_held_acknowledged(pjsip_rx_data *rdata);

/* Refuse a re-INVITE of a dialog whose UPDATE or re-INVITE waits for its answer. */
pj_bool_t recproxy_held_collides(pjsip_rx_data *rdata);

/* Forget all that is kept; `door` is the module behind which a request goes on. */
void recproxy_held_clear(pjsip_module *door);

#endif
