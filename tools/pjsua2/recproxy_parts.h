/* What the files of recproxy's PJSIP module share among themselves.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_PARTS_H
#define RECPROXY_PARTS_H

#include "recproxy_sip.h"

#include <pjsip.h>

extern unsigned long long recproxy_counters[RECPROXY_COUNTERS];

/* What recproxy carries from one leg to the other, and so may announce. */
extern const char *const recproxy_methods[], *const recproxy_extensions[];
extern const size_t recproxy_method_count, recproxy_extension_count;
int recproxy_listed(const pj_str_t *value, const char *const *list, size_t count);

/* The door.  All return whether the request was dealt with. */
pj_bool_t recproxy_door_stranger(pjsip_rx_data *rdata);
pj_bool_t recproxy_door_request(pjsip_rx_data *rdata);
void recproxy_door_reset(void);

/* Bodies.  `slot` is the module's index into a message's mod_data. */
pj_status_t recproxy_sdp_start(void);
void recproxy_sdp_mask(pjsip_rx_data *rdata);
void recproxy_sdp_before_print(pjsip_tx_data *tdata, int slot);
void recproxy_sdp_after_print(pjsip_tx_data *tdata, int slot);

#endif
