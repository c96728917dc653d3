/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_held.h"

#include "recproxy_sip.h"

#include <pjsip_ua.h>
#include <pjsua-lib/pjsua.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct kept *next;
    pjsip_rx_data *rdata;
    unsigned id;
    int told;    /* recproxy_held_next has named it */
    int awaited; /* answered: only its ACK is missing */
    int passed;  /* INFO and its like: no offer */
    int busy, unwanted;
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

static pjsip_dialog *dialog_of(const pjsip_rx_data *rdata)
{
    return pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &rdata->msg_info.to->tag,
                                &rdata->msg_info.from->tag, PJ_FALSE);
}

/* A copy of the message, at the end of the list; NULL if there is no room. */
static struct kept *hold(pjsip_rx_data *rdata)
{
    struct kept *kept, **end = &first;

    if (count >= RECPROXY_HELD_MAX)
        return NULL;
    kept = calloc(1, sizeof(*kept));
    if (!kept || pjsip_rx_data_clone(rdata, 0, &kept->rdata) != PJ_SUCCESS) {
        free(kept);
        return NULL;
    }
    while (*end)
        end = &(*end)->next;
    if (++last_id == 0)
        ++last_id;
    kept->id = last_id;
    *end = kept;
    count++;
    return kept;
}

static struct kept *held_already(const pjsip_rx_data *rdata)
{
    struct kept *kept = first;

    while (kept && !same_transaction(kept->rdata, rdata))
        kept = kept->next;
    return kept;
}

/* PJSIP has answered it before: its transaction repeats the answer. */
static int answered_before(pjsip_rx_data *rdata)
{
    pj_str_t key;

    return pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAS,
                                &rdata->msg_info.cseq->method, rdata) == PJ_SUCCESS &&
           pjsip_tsx_layer_find_tsx(&key, PJ_FALSE) != NULL;
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

/* Whether an offer may come now: none is under way, and before the call is answered
 * the first one has been answered reliably (RFC 3262, 5; RFC 3311, 5.1). */
static int may_offer(const pjsip_inv_session *invite)
{
    if (!invite->neg || pjmedia_sdp_neg_get_state(invite->neg) != PJMEDIA_SDP_NEG_STATE_DONE)
        return 0;
    if (!invite->invite_tsx)
        return 1;
    if (invite->state != PJSIP_INV_STATE_EARLY)
        return 0;
    return invite->role == PJSIP_ROLE_UAS ? (invite->options & PJSIP_INV_REQUIRE_100REL) != 0
                                          : invite->sdp_done_early_rel != 0;
}

pj_bool_t recproxy_held_keep(pjsip_rx_data *rdata)
{
    pjsip_dialog *dialog = dialog_of(rdata);
    struct kept *kept = held_already(rdata);
    pjsip_inv_session *invite;

    if (kept)
        return !kept->awaited; /* PJSIP's transaction repeats its answer */
    if (recproxy_held_collides(rdata))
        return PJ_TRUE;
    invite = dialog ? pjsip_dlg_get_inv_session(dialog) : NULL;
    if (!invite || answered_before(rdata))
        return PJ_FALSE; /* PJSIP knows what to answer */
    if (!may_offer(invite)) {
        if (pj_stricmp2(&rdata->msg_info.msg->line.req.method.name, "PRACK") == 0)
            return PJ_FALSE;                            /* it answers our offer, or is late */
        return refuse(rdata, PJSIP_SC_REQUEST_PENDING); /* RFC 3311, 5.2 */
    }
    if (!hold(rdata))
        return refuse(rdata, PJSIP_SC_SERVICE_UNAVAILABLE);
    if (rdata->msg_info.msg->line.req.method.id == PJSIP_INVITE_METHOD)
        refuse(rdata, PJSIP_SC_TRYING); /* it need not come again */
    return PJ_TRUE;
}

pj_bool_t recproxy_held_passes(const pjsip_method *method)
{
    static const char *const passed[] = {"INFO", "REFER", "NOTIFY", "MESSAGE"};

    for (size_t i = 0; i < PJ_ARRAY_SIZE(passed); i++) {
        if (pj_stricmp2(&method->name, passed[i]) == 0)
            return PJ_TRUE;
    }
    return PJ_FALSE;
}

pj_bool_t recproxy_held_pass(pjsip_rx_data *rdata)
{
    pj_int32_t number = rdata->msg_info.cseq->cseq;
    pjsip_dialog *dialog = dialog_of(rdata);
    struct kept *kept;

    if (held_already(rdata))
        return PJ_TRUE;
    if (answered_before(rdata))
        return PJ_FALSE;
    if (!dialog)
        return refuse(rdata, PJSIP_SC_CALL_TSX_DOES_NOT_EXIST);
    if (number <= dialog->remote.cseq)
        return refuse(rdata, PJSIP_SC_INTERNAL_SERVER_ERROR); /* RFC 3261, 12.2.2 */
    dialog->remote.cseq = number;
    kept = hold(rdata);
    if (!kept)
        return refuse(rdata, PJSIP_SC_SERVICE_UNAVAILABLE);
    kept->passed = 1;
    return PJ_TRUE;
}

pj_bool_t recproxy_held_offer(pjsip_rx_data *rdata)
{
    const pjsip_msg *msg = rdata->msg_info.msg;
    const pjsip_cseq_hdr *cseq = rdata->msg_info.cseq;
    pjsip_transaction *tsx;
    pj_str_t key;

    if (msg->line.status.code / 100 != 2 || cseq->method.id != PJSIP_INVITE_METHOD || !msg->body)
        return PJ_FALSE;
    if (held_already(rdata))
        return PJ_TRUE;
    if (pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAC, &cseq->method, rdata) !=
        PJ_SUCCESS)
        return PJ_FALSE;
    tsx = pjsip_tsx_layer_find_tsx(&key, PJ_FALSE);
    if (!tsx || !tsx->last_tx || !tsx->last_tx->msg || tsx->last_tx->msg->body ||
        tsx->last_tx->msg->type != PJSIP_REQUEST_MSG)
        return PJ_FALSE;
    return hold(rdata) != NULL; /* without room PJSIP answers with what stands */
}

pj_bool_t recproxy_held_collides(pjsip_rx_data *rdata)
{
    for (struct kept *kept = first; kept; kept = kept->next) {
        if (!kept->passed && kept->rdata->msg_info.msg->type == PJSIP_REQUEST_MSG &&
            same_dialog(kept->rdata, rdata) && !same_transaction(kept->rdata, rdata))
            return refuse(rdata, PJSIP_SC_REQUEST_PENDING);
    }
    return PJ_FALSE;
}

unsigned recproxy_held_next(void)
{
    for (struct kept *kept = first; kept; kept = kept->next) {
        if (!kept->told) {
            kept->told = 1;
            return kept->id;
        }
    }
    return 0;
}

const char *recproxy_held_message(unsigned id)
{
    struct kept *kept = find(id);

    /* PJSIP's receive buffer ends in a NUL (it parses in place). */
    return kept ? kept->rdata->msg_info.msg_buf : "";
}

void recproxy_held_acknowledged(pjsip_rx_data *rdata)
{
    for (struct kept *kept = first; kept; kept = kept->next) {
        pjsip_rx_data *ack;

        if (!kept->awaited || !same_dialog(kept->rdata, rdata) ||
            kept->rdata->msg_info.cseq->cseq != rdata->msg_info.cseq->cseq)
            continue;
        if (pjsip_rx_data_clone(rdata, 0, &ack) != PJ_SUCCESS)
            return; /* it comes again, or the call ends for the lack of it */
        pjsip_rx_data_free_cloned(kept->rdata);
        kept->rdata = ack;
        kept->awaited = kept->told = 0;
        return;
    }
}

/* Answer within a transaction, which repeats the answer as needed. */
static void respond(struct kept *kept, int code, const pj_str_t *reason, pjsip_hdr *headers)
{
    pjsip_rx_data *rdata = kept->rdata;

    if (rdata->msg_info.msg->type != PJSIP_REQUEST_MSG ||
        rdata->msg_info.msg->line.req.method.id == PJSIP_ACK_METHOD)
        return;
    pjsip_endpt_respond(pjsua_get_pjsip_endpt(), door_module, rdata, code, reason, headers, NULL,
                        NULL);
}

static void copy_header(pjsip_rx_data *to, pjsip_hdr *list, const pjsip_msg *from, const char *name)
{
    pj_str_t wanted = pj_str((char *)name);
    const void *hdr = pjsip_msg_find_hdr_by_name(from, &wanted, NULL);

    if (hdr)
        pj_list_push_back(list, pjsip_hdr_clone(to->tp_info.pool, hdr));
}

/* The other leg has answered what was passed to it. */
static void on_passed(void *token, pjsip_event *event)
{
    struct kept *kept = find((unsigned)(uintptr_t)token);
    const pjsip_transaction *tsx = event->body.tsx_state.tsx;
    pjsip_hdr headers;

    if (!kept)
        return; /* the call has ended meanwhile */
    pj_list_init(&headers);
    if (event->body.tsx_state.type == PJSIP_EVENT_RX_MSG) {
        const pjsip_msg *answer = event->body.tsx_state.src.rdata->msg_info.msg;

        copy_header(kept->rdata, &headers, answer, "Refer-Sub");
        copy_header(kept->rdata, &headers, answer, "Retry-After");
    }
    respond(kept, tsx->status_code, &tsx->status_text, &headers);
    drop(kept);
}

static void add_headers(pjsip_tx_data *tdata, const char *text)
{
    while (*text) {
        const char *end = strchr(text, '\n'), *colon = strchr(text, ':');

        if (!end || !colon || colon > end)
            return;
        pj_str_t name = {(char *)text, colon - text}, value = {(char *)colon + 1, end - colon - 1};
        pjsip_msg_add_hdr(tdata->msg,
                          (pjsip_hdr *)pjsip_generic_string_hdr_create(tdata->pool, &name, &value));
        text = end + 1;
    }
}

int recproxy_held_pass_on(unsigned id, const char *call_id, const char *local_tag,
                          const char *remote_tag, const char *headers)
{
    pj_str_t cid = pj_str((char *)call_id), local = pj_str((char *)local_tag),
             remote = pj_str((char *)remote_tag);
    pjsip_dialog *dialog = pjsip_ua_find_dialog(&cid, &local, &remote, PJ_FALSE);
    struct kept *kept = find(id);
    pjsip_tx_data *tdata;

    if (!kept || !kept->passed)
        return -1;
    if (!dialog)
        return recproxy_held_answer(id, PJSIP_SC_CALL_TSX_DOES_NOT_EXIST);
    if (pjsip_dlg_create_request(dialog, &kept->rdata->msg_info.msg->line.req.method, -1, &tdata) !=
        PJ_SUCCESS)
        return recproxy_held_answer(id, PJSIP_SC_INTERNAL_SERVER_ERROR);
    add_headers(tdata, headers);
    if (kept->rdata->msg_info.msg->body)
        tdata->msg->body = pjsip_msg_body_clone(tdata->pool, kept->rdata->msg_info.msg->body);
    /* As pjsip_dlg_send_request has it, but for the answer: PJSIP would end the call
     * for a 481 or 408 that concerns a subscription or one request (RFC 5057). */
    PJSIP_MSG_CSEQ_HDR(tdata->msg)->cseq = dialog->local.cseq++;
    pjsip_tx_data_set_transport(tdata, &dialog->tp_sel);
    pjsip_auth_clt_init_req(&dialog->auth_sess, tdata);
    if (pjsip_endpt_send_request(pjsua_get_pjsip_endpt(), tdata, -1, (void *)(uintptr_t)id,
                                 on_passed) != PJ_SUCCESS)
        return recproxy_held_answer(id, PJSIP_SC_SERVICE_UNAVAILABLE);
    return 0;
}

/* PJSIP may report the end of the call while it treats the message: then the
 * call asks for it to be dropped, which waits until PJSIP has done with it. */
static void treat(struct kept *kept)
{
    pjsip_process_rdata_param how;
    pj_bool_t handled = PJ_FALSE;

    pjsip_process_rdata_param_default(&how);
    how.start_mod = door_module;
    how.idx_after_start = 1;
    how.silent = PJ_TRUE;
    kept->busy = 1;
    pjsip_endpt_process_rx_data(pjsua_get_pjsip_endpt(), kept->rdata, &how, &handled);
    kept->busy = 0;
}

int recproxy_held_answer(unsigned id, int code)
{
    struct kept *kept = find(id);
    const pjsip_msg *msg;
    int request;

    if (!kept)
        return -1;
    if (kept->busy) {
        kept->unwanted = 1;
        return 0;
    }
    msg = kept->rdata->msg_info.msg;
    request = msg->type == PJSIP_REQUEST_MSG;
    if (kept->awaited || (request && msg->line.req.method.id == PJSIP_ACK_METHOD)) {
        drop(kept); /* PJSIP has had it */
    } else if (request && (kept->passed || code >= 300)) {
        respond(kept, code, NULL, NULL);
        drop(kept);
    } else {
        kept->awaited = request && msg->line.req.method.id == PJSIP_INVITE_METHOD;
        treat(kept);
        if (!kept->awaited || kept->unwanted)
            drop(kept);
    }
    return 0;
}

void recproxy_held_clear(pjsip_module *door)
{
    while (first)
        drop(first);
    door_module = door;
}
