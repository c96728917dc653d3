/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_update.h"

#include "recproxy_sip.h"

#include <pjsip_ua.h>
#include <pjsua-lib/pjsua.h>
#include <stdlib.h>

struct kept {
    struct kept *next;
    pjsip_rx_data *rdata;
    unsigned id;
    int told; /* recproxy_update_next has named it */
};

static struct kept *first;
static unsigned count, last_id;
static pjsip_module *door_module;

static int same_transaction(const pjsip_rx_data *a, const pjsip_rx_data *b)
{
    return a->msg_info.cseq->cseq == b->msg_info.cseq->cseq &&
           pj_strcmp(&a->msg_info.cid->id, &b->msg_info.cid->id) == 0 &&
           pj_strcmp(&a->msg_info.via->branch_param, &b->msg_info.via->branch_param) == 0;
}

static int same_dialog(const pjsip_rx_data *a, const pjsip_rx_data *b)
{
    return pj_strcmp(&a->msg_info.cid->id, &b->msg_info.cid->id) == 0 &&
           pj_strcmp(&a->msg_info.to->tag, &b->msg_info.to->tag) == 0 &&
           pj_strcmp(&a->msg_info.from->tag, &b->msg_info.from->tag) == 0;
}

static pj_bool_t refuse(pjsip_rx_data *rdata, int code)
{
    pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, code, NULL, NULL, NULL);
    return PJ_TRUE;
}

/* PJSIP has answered it before: its transaction repeats the answer. */
static int answered_before(pjsip_rx_data *rdata)
{
    pj_str_t key;

    return pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAS,
                                &rdata->msg_info.cseq->method, rdata) == PJ_SUCCESS &&
           pjsip_tsx_layer_find_tsx(&key, PJ_FALSE) != NULL;
}

pj_bool_t recproxy_update_keep(pjsip_rx_data *rdata)
{
    pjsip_dialog *dialog;
    pjsip_inv_session *invite;
    struct kept *kept, **end = &first;

    for (; *end; end = &(*end)->next) {
        if (same_transaction((*end)->rdata, rdata))
            return PJ_TRUE;
        if (same_dialog((*end)->rdata, rdata))
            return refuse(rdata, PJSIP_SC_REQUEST_PENDING);
    }
    dialog = pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &rdata->msg_info.to->tag,
                                  &rdata->msg_info.from->tag, PJ_FALSE);
    invite = dialog ? pjsip_dlg_get_inv_session(dialog) : NULL;
    if (!invite || answered_before(rdata))
        return PJ_FALSE; /* PJSIP knows what to answer */
    if (invite->invite_tsx || !invite->neg ||
        pjmedia_sdp_neg_get_state(invite->neg) != PJMEDIA_SDP_NEG_STATE_DONE)
        return refuse(rdata, PJSIP_SC_REQUEST_PENDING); /* RFC 3311, 5.2 */
    if (count >= RECPROXY_UPDATES_MAX)
        return refuse(rdata, PJSIP_SC_SERVICE_UNAVAILABLE);

    kept = calloc(1, sizeof(*kept));
    if (!kept || pjsip_rx_data_clone(rdata, 0, &kept->rdata) != PJ_SUCCESS) {
        free(kept);
        return refuse(rdata, PJSIP_SC_SERVICE_UNAVAILABLE);
    }
    if (++last_id == 0)
        ++last_id;
    kept->id = last_id;
    *end = kept;
    count++;
    return PJ_TRUE;
}

pj_bool_t recproxy_update_collides(pjsip_rx_data *rdata)
{
    for (struct kept *kept = first; kept; kept = kept->next) {
        if (same_dialog(kept->rdata, rdata))
            return refuse(rdata, PJSIP_SC_REQUEST_PENDING);
    }
    return PJ_FALSE;
}

static struct kept *find(unsigned id)
{
    struct kept *kept = first;

    while (kept && kept->id != id)
        kept = kept->next;
    return kept;
}

static void drop(struct kept *kept)
{
    struct kept **at = &first;

    while (*at != kept)
        at = &(*at)->next;
    *at = kept->next;
    count--;
    pjsip_rx_data_free_cloned(kept->rdata);
    free(kept);
}

unsigned recproxy_update_next(void)
{
    for (struct kept *kept = first; kept; kept = kept->next) {
        if (!kept->told) {
            kept->told = 1;
            return kept->id;
        }
    }
    return 0;
}

const char *recproxy_update_message(unsigned id)
{
    struct kept *kept = find(id);

    /* PJSIP's receive buffer ends in a NUL (it parses in place). */
    return kept ? kept->rdata->msg_info.msg_buf : "";
}

int recproxy_update_answer(unsigned id, int code)
{
    struct kept *kept = find(id);
    pjsip_process_rdata_param how;
    pj_bool_t handled = PJ_FALSE;

    if (!kept)
        return -1;
    if (code >= 300) {
        refuse(kept->rdata, code);
    } else {
        pjsip_process_rdata_param_default(&how);
        how.start_mod = door_module;
        how.idx_after_start = 1;
        how.silent = PJ_TRUE;
        pjsip_endpt_process_rx_data(pjsua_get_pjsip_endpt(), kept->rdata, &how, &handled);
    }
    drop(kept);
    return 0;
}

void recproxy_update_clear(pjsip_module *door)
{
    while (first)
        drop(first);
    door_module = door;
}
