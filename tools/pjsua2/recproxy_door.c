/* Who gets in, and what is answered without a call.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_net.h"
#include "recproxy_parts.h"
#include "recproxy_held.h"

#include <pjsua-lib/pjsua.h>
#include <stdlib.h>

const char *const recproxy_methods[] = {"INVITE",  "ACK",  "BYE",   "CANCEL", "UPDATE", "PRACK",
                                        "OPTIONS", "INFO", "REFER", "NOTIFY", "MESSAGE"};
const char *const recproxy_extensions[] = {"100rel", "timer", "replaces"};
const size_t recproxy_method_count = PJ_ARRAY_SIZE(recproxy_methods);
const size_t recproxy_extension_count = PJ_ARRAY_SIZE(recproxy_extensions);

static struct recproxy_nets acl, full;
static int acl_silent, admission, admission_retry_after;
static char cancel_text[PJSIP_MAX_PKT_LEN + 1], cancel_call_id[256];

int recproxy_door_knows(const pj_sockaddr *address)
{
    return recproxy_nets_hold(&acl, address);
}

int recproxy_listed(const pj_str_t *value, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pj_stricmp2(value, list[i]) == 0)
            return 1;
    }
    return 0;
}

static void add_values(pjsip_generic_array_hdr *hdr, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count && hdr->count < PJSIP_GENERIC_ARRAY_MAX_COUNT; i++)
        hdr->values[hdr->count++] = pj_str((char *)list[i]);
}

static void add_text_header(pjsip_rx_data *rdata, pjsip_hdr *list, const char *name,
                            const char *value)
{
    pj_str_t n = pj_str((char *)name), v = pj_str((char *)value);

    pj_list_push_back(list, pjsip_generic_string_hdr_create(rdata->tp_info.pool, &n, &v));
}

pj_bool_t recproxy_respond(pjsip_rx_data *rdata, int code, pjsip_hdr *headers)
{
    pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, code, NULL, headers, NULL);
    return PJ_TRUE;
}

static void add_retry_after(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    if (admission_retry_after > 0)
        pj_list_push_back(headers,
                          pjsip_retry_after_hdr_create(rdata->tp_info.pool, admission_retry_after));
}

/* Extensions that a caller requires and that we do not have (RFC 3261, 8.2.2.3). */
static pjsip_unsupported_hdr *unsupported(pjsip_rx_data *rdata)
{
    pjsip_unsupported_hdr *out = NULL;
    void *after = NULL;
    pjsip_require_hdr *require;

    while ((require = pjsip_msg_find_hdr(rdata->msg_info.msg, PJSIP_H_REQUIRE, after)) != NULL) {
        for (unsigned i = 0; i < require->count; i++) {
            if (recproxy_listed(&require->values[i], recproxy_extensions,
                                recproxy_extension_count) ||
                recproxy_fork_grants(rdata, &require->values[i]))
                continue;
            if (!out)
                out = pjsip_unsupported_hdr_create(rdata->tp_info.pool);
            if (out->count < PJSIP_GENERIC_ARRAY_MAX_COUNT)
                out->values[out->count++] = require->values[i];
        }
        after = require->next;
        if (after == &rdata->msg_info.msg->hdr)
            break;
    }
    return out;
}

static pj_bool_t refuses_extensions(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    pjsip_unsupported_hdr *missing = unsupported(rdata);

    if (!missing)
        return PJ_FALSE;
    recproxy_counters[RECPROXY_REFUSED_EXTENSION]++;
    pj_list_push_back(headers, missing);
    return recproxy_respond(rdata, PJSIP_SC_BAD_EXTENSION, headers);
}

static pj_bool_t answer_options(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    pj_pool_t *pool = rdata->tp_info.pool;
    pjsip_allow_hdr *allow = pjsip_allow_hdr_create(pool);
    pjsip_supported_hdr *supported = pjsip_supported_hdr_create(pool);

    if (refuses_extensions(rdata, headers))
        return PJ_TRUE;
    recproxy_counters[RECPROXY_OPTIONS_ANSWERED]++;
    if (rdata->msg_info.to->tag.slen == 0 &&
        (admission != RECPROXY_ADMIT || recproxy_nets_hold(&full, &rdata->pkt_info.src_addr))) {
        add_retry_after(rdata, headers);
        return recproxy_respond(rdata, PJSIP_SC_SERVICE_UNAVAILABLE, headers);
    }
    add_values((pjsip_generic_array_hdr *)allow, recproxy_methods, recproxy_method_count);
    add_values((pjsip_generic_array_hdr *)supported, recproxy_extensions, recproxy_extension_count);
    if (recproxy_fork_knows(rdata)) {
        static const char *const siprec[] = {"siprec"};

        add_values((pjsip_generic_array_hdr *)supported, siprec, 1);
    }
    pj_list_push_back(headers, allow);
    pj_list_push_back(headers, supported);
    add_text_header(rdata, headers, "Accept",
                    recproxy_fork_knows(rdata) ? "application/sdp, application/rs-metadata"
                                               : "application/sdp");
    return recproxy_respond(rdata, PJSIP_SC_OK, headers);
}

/* A caller that may name a call of ours in Replaces or Join would take it over;
 * recproxy offers neither, and a UAS without them ignores them (RFC 3891, 3). */
static void drop_takeover(pjsip_msg *msg)
{
    static const pj_str_t names[] = {{"Replaces", 8}, {"Join", 4}};

    for (size_t i = 0; i < PJ_ARRAY_SIZE(names); i++) {
        pjsip_hdr *hdr;

        while ((hdr = pjsip_msg_find_hdr_by_name(msg, &names[i], NULL)) != NULL)
            pj_list_erase(hdr);
    }
}

static pj_bool_t refuse_unreachable(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    recproxy_counters[RECPROXY_REFUSED_METHOD]++;
    add_text_header(rdata, headers, "Warning",
                    "399 recproxy \"no transport to the Contact or Record-Route\"");
    return recproxy_respond(rdata, PJSIP_SC_NOT_ACCEPTABLE_HERE, headers);
}

static pj_bool_t new_call(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    if (admission != RECPROXY_ADMIT && recproxy_exempt_repeated(rdata))
        return PJ_FALSE;
    if (rdata->msg_info.max_fwd && rdata->msg_info.max_fwd->ivalue <= 0) {
        recproxy_counters[RECPROXY_REFUSED_HOPS]++;
        return recproxy_respond(rdata, PJSIP_SC_TOO_MANY_HOPS, headers);
    }
    if (refuses_extensions(rdata, headers))
        return PJ_TRUE;
    if (!recproxy_call_answerable(rdata))
        return refuse_unreachable(rdata, headers);
    if (admission == RECPROXY_REFUSE ||
        (admission == RECPROXY_EMERGENCY_ONLY && !recproxy_exempt_emergency(rdata))) {
        recproxy_counters[RECPROXY_REFUSED_ADMISSION]++;
        add_retry_after(rdata, headers);
        return recproxy_respond(rdata, PJSIP_SC_SERVICE_UNAVAILABLE, headers);
    }
    if (recproxy_auth_refuses(rdata, headers))
        return PJ_TRUE;
    drop_takeover(rdata->msg_info.msg);
    if (recproxy_fork_knows(rdata))
        recproxy_fork_take(rdata->msg_info.msg);
    return PJ_FALSE;
}

static pj_bool_t refuse_method(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    const pj_str_t *method = &rdata->msg_info.msg->line.req.method.name;
    pjsip_allow_hdr *allow;

    recproxy_counters[RECPROXY_REFUSED_METHOD]++;
    if (pj_stricmp2(method, "NOTIFY") == 0)
        return recproxy_respond(rdata, PJSIP_SC_BAD_EVENT,
                                headers); /* RFC 6665, 8.2.1: no such subscription */
    allow = pjsip_allow_hdr_create(rdata->tp_info.pool);
    add_values((pjsip_generic_array_hdr *)allow, recproxy_methods, recproxy_method_count);
    pj_list_push_back(headers, allow);
    return recproxy_respond(rdata, PJSIP_SC_METHOD_NOT_ALLOWED, headers);
}

/* INFO, REFER, NOTIFY, MESSAGE inside a call: the other leg answers. */
static pj_bool_t pass(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    return refuses_extensions(rdata, headers) || recproxy_held_pass(rdata);
}

/* What a recording client says of the call is read elsewhere, from the message as it came. */
static void bare_of_fork(const pjsip_rx_data *rdata)
{
    pjsip_msg *msg = rdata->msg_info.msg;

    if (!recproxy_fork_knows(rdata))
        return;
    recproxy_fork_take(msg);
    if (!recproxy_sdp_carried(msg))
        msg->body = NULL;
}

static void keep_cancel(const pjsip_rx_data *rdata)
{
    const pj_str_t *id = &rdata->msg_info.cid->id;
    size_t size = (size_t)rdata->msg_info.len;

    cancel_call_id[0] = cancel_text[0] = '\0';
    if (size >= sizeof(cancel_text) || (size_t)id->slen >= sizeof(cancel_call_id))
        return;
    pj_memcpy(cancel_text, rdata->msg_info.msg_buf, size);
    cancel_text[size] = '\0';
    pj_memcpy(cancel_call_id, id->ptr, (size_t)id->slen);
    cancel_call_id[id->slen] = '\0';
}

pj_bool_t recproxy_door_stranger(pjsip_rx_data *rdata)
{
    pjsip_hdr headers;

    if (recproxy_door_knows(&rdata->pkt_info.src_addr))
        return PJ_FALSE;
    recproxy_counters[RECPROXY_REFUSED_ADDRESS]++;
    if (acl_silent || rdata->msg_info.msg->line.req.method.id == PJSIP_ACK_METHOD)
        return PJ_TRUE;
    pj_list_init(&headers);
    return recproxy_respond(rdata, PJSIP_SC_FORBIDDEN, &headers);
}

/* What there may be once is there twice, or the method is not that of CSeq (RFC 3261,
 * 8.1.1.5): PJSIP and whoever reads the message next would not read the same. */
static int is_ambiguous(const pjsip_rx_data *rdata)
{
    static const pjsip_hdr_e once[] = {
        PJSIP_H_FROM,         PJSIP_H_TO,           PJSIP_H_CALL_ID,
        PJSIP_H_CSEQ,         PJSIP_H_MAX_FORWARDS, PJSIP_H_CONTENT_LENGTH,
        PJSIP_H_CONTENT_TYPE,
    };
    const pjsip_msg *msg = rdata->msg_info.msg;
    unsigned seen = 0;

    for (const pjsip_hdr *hdr = msg->hdr.next; hdr != &msg->hdr; hdr = hdr->next) {
        for (size_t i = 0; i < PJ_ARRAY_SIZE(once); i++) {
            if (hdr->type != once[i])
                continue;
            if (seen & 1u << i)
                return 1;
            seen |= 1u << i;
        }
    }
    return pjsip_method_cmp(&rdata->msg_info.cseq->method, &msg->line.req.method) != 0;
}

pj_bool_t recproxy_door_request(pjsip_rx_data *rdata)
{
    const pjsip_method *method = &rdata->msg_info.msg->line.req.method;
    int in_dialog = rdata->msg_info.to->tag.slen > 0;
    pjsip_hdr headers;

    pj_list_init(&headers);
    if (is_ambiguous(rdata)) {
        recproxy_counters[RECPROXY_REFUSED_METHOD]++;
        return method->id == PJSIP_ACK_METHOD ||
               recproxy_respond(rdata, PJSIP_SC_BAD_REQUEST, &headers);
    }
    if (method->id == PJSIP_OPTIONS_METHOD)
        return answer_options(rdata, &headers);
    if (!recproxy_listed(&method->name, recproxy_methods, recproxy_method_count))
        return refuse_method(rdata, &headers);
    if (recproxy_held_passes(method))
        return in_dialog ? pass(rdata, &headers) : refuse_method(rdata, &headers);
    if (in_dialog && pjsip_method_creates_dialog(method) && !recproxy_call_still_reached(rdata))
        return refuse_unreachable(rdata, &headers);
    if (method->id == PJSIP_INVITE_METHOD && in_dialog) {
        bare_of_fork(rdata);
        return recproxy_sdp_carried(rdata->msg_info.msg) ? recproxy_held_collides(rdata)
                                                         : recproxy_held_keep(rdata);
    }
    if (method->id == PJSIP_INVITE_METHOD)
        return new_call(rdata, &headers);
    if (method->id == PJSIP_ACK_METHOD && in_dialog)
        recproxy_held_acknowledged(rdata);
    if (method->id == PJSIP_CANCEL_METHOD)
        keep_cancel(rdata);
    if ((rdata->msg_info.msg->body || recproxy_fork_knows(rdata)) &&
        pj_stricmp2(&method->name, "UPDATE") == 0) {
        bare_of_fork(rdata);
        return recproxy_held_keep(rdata);
    }
    if (rdata->msg_info.msg->body && in_dialog && pj_stricmp2(&method->name, "PRACK") == 0)
        return recproxy_held_keep(rdata);
    return PJ_FALSE;
}

void recproxy_door_reset(void)
{
    recproxy_nets_drop(&acl);
    recproxy_nets_drop(&full);
    acl_silent = admission = admission_retry_after = 0;
    recproxy_fork_reset();
    recproxy_exempt_reset();
    cancel_call_id[0] = cancel_text[0] = '\0';
}

int recproxy_acl_set(const char *nets, size_t size)
{
    struct recproxy_nets read;
    int wrong = recproxy_nets_read(nets, size, &read);

    if (wrong != -1)
        return wrong;
    recproxy_nets_drop(&acl);
    acl = read;
    return -1;
}

int recproxy_options_full(const char *nets, size_t size)
{
    struct recproxy_nets read;
    int wrong = recproxy_nets_read(nets, size, &read);

    if (wrong != -1)
        return wrong;
    recproxy_nets_drop(&full);
    full = read;
    return -1;
}

void recproxy_acl_set_silent(int silent)
{
    acl_silent = silent != 0;
}

void recproxy_admission_set(int value, int retry_after)
{
    admission = value;
    admission_retry_after = retry_after;
}

const char *recproxy_cancel_message(const char *call_id)
{
    return call_id && *call_id && pj_ansi_strcmp(call_id, cancel_call_id) == 0 ? cancel_text : "";
}
