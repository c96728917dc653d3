/* What the files of recproxy's PJSIP module share among themselves.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_PARTS_H
#define RECPROXY_PARTS_H

#include "recproxy_net.h"
#include "recproxy_sip.h"

#include <pjsip.h>

extern unsigned long long recproxy_counters[RECPROXY_COUNTERS];

/* What recproxy carries from one leg to the other, and so may announce. */
extern const char *const recproxy_methods[], *const recproxy_extensions[];
extern const size_t recproxy_method_count, recproxy_extension_count;
int recproxy_listed(const pj_str_t *value, const char *const *list, size_t count);

/* Networks, as texts separated by commas.  -1 and the list, to be freed; else the
 * index of the first one that is wrong.  -2 if memory is out. */
struct recproxy_nets {
    struct recproxy_net *list;
    size_t count;
};
int recproxy_nets_read(const char *texts, size_t size, struct recproxy_nets *nets);
int recproxy_nets_hold(const struct recproxy_nets *nets, const pj_sockaddr *address);
void recproxy_nets_drop(struct recproxy_nets *nets);

/* Answer without state; what cannot be sent is lost, as with any datagram. */
pj_bool_t recproxy_respond(pjsip_rx_data *rdata, int code, pjsip_hdr *headers);

/* Whether an INVITE was challenged or refused. */
pj_bool_t recproxy_auth_refuses(pjsip_rx_data *rdata, pjsip_hdr *headers);
void recproxy_auth_reset(void);

/* Connections that others opened.  The linker puts recproxy's own functions in the place of
 * PJLIB's accept and close (--wrap): a TLS handshake that is under way is known to nobody else. */
void recproxy_links_start(void);
void recproxy_links_whole(const pjsip_transport *transport);
void recproxy_links_stop(void);

/* Names that are resolved elsewhere. */
pj_status_t recproxy_resolve_start(pjsip_endpoint *endpt);

/* Headers for each message of a dialog.  `slot` is a module's index into a dialog's data, and
 * of another module's into a message's. */
void recproxy_call_start(int slot);
void recproxy_call_before_print(pjsip_tx_data *tdata, int slot);
void recproxy_call_after_print(pjsip_tx_data *tdata, int slot);

/* A request, a response is about to be treated: what is sent meanwhile without a dialog,
 * or before one has been told anything, names the call's ends as well (RFC 7989, 7). */
void recproxy_call_asked(const pjsip_rx_data *rdata);
void recproxy_call_refused(pjsip_rx_data *rdata);

/* Whether we have a transport of the kind that requests to an INVITE's sender take; PJSIP
 * would answer 500 without one.  The same of a re-INVITE or UPDATE, which may say that its
 * sender is elsewhere now: PJSIP would take it, and could not even end the call. */
int recproxy_call_answerable(pjsip_rx_data *rdata);
int recproxy_call_still_reached(pjsip_rx_data *rdata);

/* Emergency calls by service name. */
pj_status_t recproxy_urn_start(void);

/* The door.  All return whether the request was dealt with. */
int recproxy_door_knows(const pj_sockaddr *address);
pj_bool_t recproxy_door_stranger(pjsip_rx_data *rdata);
pj_bool_t recproxy_door_request(pjsip_rx_data *rdata);
void recproxy_door_reset(void);

/* Recording clients: whether a request is from one, whether it may require an extension that
 * nobody else may, and the same taken out of what PJSIP reads. */
int recproxy_fork_knows(const pjsip_rx_data *rdata);
int recproxy_fork_grants(const pjsip_rx_data *rdata, const pj_str_t *extension);
void recproxy_fork_take(pjsip_msg *msg);
void recproxy_fork_reset(void);

/* What passes though new calls are refused. */
int recproxy_exempt_repeated(pjsip_rx_data *rdata);
int recproxy_exempt_emergency(const pjsip_rx_data *rdata);
void recproxy_exempt_reset(void);

/* Bodies.  `slot` is the module's index into a message's mod_data. */
pj_status_t recproxy_sdp_start(void);
void recproxy_sdp_mask(pjsip_rx_data *rdata);
int recproxy_sdp_carried(const pjsip_msg *msg);
void recproxy_sdp_before_print(pjsip_tx_data *tdata, int slot);
void recproxy_sdp_after_print(pjsip_tx_data *tdata, int slot);

#endif
