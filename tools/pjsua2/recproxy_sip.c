/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_sip.h"

#include "recproxy_bodies.h"
#include "recproxy_net.h"
#include "recproxy_update.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pjsua-lib/pjsua.h>
#include <stdlib.h>

/* What a peer's SDP is replaced by.  a=inactive: PJSUA then makes no stream. */
static const char mask[] = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                           "m=audio 9 RTP/AVP 0\r\na=inactive\r\n";
static const pj_str_t body_header_name = {"X-Recproxy-Body", 15};

/* What recproxy carries from one leg to the other, and so may announce. */
static const char *const methods[] = {"INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "PRACK", "OPTIONS"};
static const char *const extensions[] = {"100rel", "timer"};

static pj_bool_t on_rx_request(pjsip_rx_data *rdata);
static pj_bool_t on_rx_response(pjsip_rx_data *rdata);
static pj_status_t before_print(pjsip_tx_data *tdata);
static pj_status_t after_print(pjsip_tx_data *tdata);
static pj_status_t on_unload(void);

/* Just above the transport layer: received messages come here first, sent ones
 * last before they are printed. */
static pjsip_module door = {
    .name = {"recproxy-door", 13},
    .id = -1,
    .priority = PJSIP_MOD_PRIORITY_TRANSPORT_LAYER + 1,
    .unload = on_unload,
    .on_rx_request = on_rx_request,
    .on_rx_response = on_rx_response,
    .on_tx_request = before_print,
    .on_tx_response = before_print,
};

/* Just below it: the message has been printed, the socket has not seen it. */
static pjsip_module restorer = {
    .name = {"recproxy-restorer", 17},
    .id = -1,
    .priority = PJSIP_MOD_PRIORITY_TRANSPORT_LAYER - 1,
    .on_tx_request = after_print,
    .on_tx_response = after_print,
};

/* What before_print took out of a message, for after_print. */
struct taken {
    pjsip_msg_body *body;
    pjsip_hdr *header;
    int replaced;
};

static struct recproxy_net *acl;
static size_t acl_count;
static int acl_silent, admission, admission_retry_after;
static unsigned long long counters[RECPROXY_COUNTERS];
static char cancel_text[PJSIP_MAX_PKT_LEN + 1], cancel_call_id[256];
static int (*print_sdp)(pjsip_msg_body *, char *, pj_size_t);

/* ---- the door ---------------------------------------------------------- */

static int source_allowed(const pjsip_rx_data *rdata)
{
    const pj_sockaddr *source = &rdata->pkt_info.src_addr;
    const uint8_t *addr = pj_sockaddr_get_addr(source);
    size_t len = pj_sockaddr_get_addr_len(source);

    for (size_t i = 0; i < acl_count; i++) {
        if (recproxy_net_match(&acl[i], addr, len))
            return 1;
    }
    return 0;
}

static int listed(const pj_str_t *value, const char *const *list, size_t count)
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

static void add_text_header(pjsip_rx_data *rdata, pjsip_hdr *list, const char *name, const char *value)
{
    pj_str_t n = pj_str((char *)name), v = pj_str((char *)value);

    pj_list_push_back(list, pjsip_generic_string_hdr_create(rdata->tp_info.pool, &n, &v));
}

/* Answer without state; what cannot be sent is lost, as with any datagram. */
static pj_bool_t respond(pjsip_rx_data *rdata, int code, pjsip_hdr *headers)
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

static pj_bool_t answer_options(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    pj_pool_t *pool = rdata->tp_info.pool;
    pjsip_allow_hdr *allow = pjsip_allow_hdr_create(pool);
    pjsip_supported_hdr *supported = pjsip_supported_hdr_create(pool);

    counters[RECPROXY_OPTIONS_ANSWERED]++;
    if (admission == RECPROXY_REFUSE) {
        add_retry_after(rdata, headers);
        return respond(rdata, PJSIP_SC_SERVICE_UNAVAILABLE, headers);
    }
    add_values((pjsip_generic_array_hdr *)allow, methods, PJ_ARRAY_SIZE(methods));
    add_values((pjsip_generic_array_hdr *)supported, extensions, PJ_ARRAY_SIZE(extensions));
    pj_list_push_back(headers, allow);
    pj_list_push_back(headers, supported);
    add_text_header(rdata, headers, "Accept", "application/sdp");
    return respond(rdata, PJSIP_SC_OK, headers);
}

/* Extensions that a caller requires and that we do not have (RFC 3261, 8.2.2.3). */
static pjsip_unsupported_hdr *unsupported(pjsip_rx_data *rdata)
{
    pjsip_unsupported_hdr *out = NULL;
    void *after = NULL;
    pjsip_require_hdr *require;

    while ((require = pjsip_msg_find_hdr(rdata->msg_info.msg, PJSIP_H_REQUIRE, after)) != NULL) {
        for (unsigned i = 0; i < require->count; i++) {
            if (listed(&require->values[i], extensions, PJ_ARRAY_SIZE(extensions)))
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

static pj_bool_t new_call(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    pjsip_unsupported_hdr *missing;

    if (rdata->msg_info.max_fwd && rdata->msg_info.max_fwd->ivalue <= 0) {
        counters[RECPROXY_REFUSED_HOPS]++;
        return respond(rdata, PJSIP_SC_TOO_MANY_HOPS, headers);
    }
    missing = unsupported(rdata);
    if (missing) {
        counters[RECPROXY_REFUSED_EXTENSION]++;
        pj_list_push_back(headers, missing);
        return respond(rdata, PJSIP_SC_BAD_EXTENSION, headers);
    }
    if (admission == RECPROXY_REFUSE) {
        counters[RECPROXY_REFUSED_ADMISSION]++;
        add_retry_after(rdata, headers);
        return respond(rdata, PJSIP_SC_SERVICE_UNAVAILABLE, headers);
    }
    drop_takeover(rdata->msg_info.msg);
    return PJ_FALSE;
}

static pj_bool_t refuse_method(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    const pj_str_t *method = &rdata->msg_info.msg->line.req.method.name;
    int in_dialog = rdata->msg_info.to->tag.slen > 0;
    pjsip_allow_hdr *allow;

    if (in_dialog && pj_stricmp2(method, "INFO") == 0 && !rdata->msg_info.msg->body)
        return respond(rdata, PJSIP_SC_OK, headers); /* a sign of life */
    counters[RECPROXY_REFUSED_METHOD]++;
    if (in_dialog && pj_stricmp2(method, "INFO") == 0) {
        add_text_header(rdata, headers, "Accept", "");
        return respond(rdata, PJSIP_SC_UNSUPPORTED_MEDIA_TYPE, headers);
    }
    if (pj_stricmp2(method, "NOTIFY") == 0)
        return respond(rdata, PJSIP_SC_BAD_EVENT, headers); /* RFC 6665, 8.2.1: no such subscription */
    allow = pjsip_allow_hdr_create(rdata->tp_info.pool);
    add_values((pjsip_generic_array_hdr *)allow, methods, PJ_ARRAY_SIZE(methods));
    pj_list_push_back(headers, allow);
    return respond(rdata, PJSIP_SC_METHOD_NOT_ALLOWED, headers);
}

/* ---- received bodies --------------------------------------------------- */

static int carries_sdp(const pjsip_msg_body *body)
{
    static const pj_str_t multipart = {"multipart", 9};
    pjsip_media_type sdp;

    pjsip_media_type_init2(&sdp, "application", "sdp");
    if (pjsip_media_type_cmp(&body->content_type, &sdp, 0) == 0)
        return 1;
    return pj_stricmp(&body->content_type.type, &multipart) == 0 &&
           pjsip_multipart_find_part(body, &sdp, NULL) != NULL;
}

static void mask_body(pjsip_rx_data *rdata)
{
    pjsip_msg *msg = rdata->msg_info.msg;
    pjsip_msg_body *body;

    if (!msg->body || !carries_sdp(msg->body))
        return;
    body = PJ_POOL_ZALLOC_T(rdata->tp_info.pool, pjsip_msg_body);
    pjsip_media_type_init2(&body->content_type, "application", "sdp");
    /* PJSIP's scanner wants a buffer of its own with a NUL behind it. */
    body->data = pj_pool_alloc(rdata->tp_info.pool, sizeof(mask));
    pj_memcpy(body->data, mask, sizeof(mask));
    body->len = sizeof(mask) - 1;
    body->print_body = &pjsip_print_text_body;
    body->clone_data = &pjsip_clone_text_data;
    msg->body = body;
    if (rdata->msg_info.ctype)
        pjsip_media_type_init2(&rdata->msg_info.ctype->media, "application", "sdp");
    counters[RECPROXY_BODIES_MASKED]++;
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

static pj_bool_t on_rx_request(pjsip_rx_data *rdata)
{
    pjsip_msg *msg = rdata->msg_info.msg;
    const pj_str_t *method = &msg->line.req.method.name;
    pjsip_hdr headers;

    pj_list_init(&headers);
    if (!source_allowed(rdata)) {
        counters[RECPROXY_REFUSED_ADDRESS]++;
        if (acl_silent || msg->line.req.method.id == PJSIP_ACK_METHOD)
            return PJ_TRUE;
        return respond(rdata, PJSIP_SC_FORBIDDEN, &headers);
    }
    mask_body(rdata);
    if (msg->line.req.method.id == PJSIP_OPTIONS_METHOD)
        return answer_options(rdata, &headers);
    if (!listed(method, methods, PJ_ARRAY_SIZE(methods)))
        return refuse_method(rdata, &headers);
    if (msg->line.req.method.id == PJSIP_INVITE_METHOD)
        return rdata->msg_info.to->tag.slen ? recproxy_update_collides(rdata) : new_call(rdata, &headers);
    if (msg->line.req.method.id == PJSIP_CANCEL_METHOD)
        keep_cancel(rdata);
    if (msg->body && pj_stricmp2(method, "UPDATE") == 0)
        return recproxy_update_keep(rdata);
    return PJ_FALSE;
}

static pj_bool_t on_rx_response(pjsip_rx_data *rdata)
{
    mask_body(rdata);
    return PJ_FALSE;
}

/* ---- sent bodies ------------------------------------------------------- */

static void keep_listed(pjsip_msg *msg, pjsip_hdr_e type, const char *const *list, size_t count)
{
    pjsip_generic_array_hdr *hdr = pjsip_msg_find_hdr(msg, type, NULL);
    unsigned kept = 0;

    if (!hdr)
        return;
    for (unsigned i = 0; i < hdr->count; i++) {
        if (listed(&hdr->values[i], list, count))
            hdr->values[kept++] = hdr->values[i];
    }
    hdr->count = kept;
    if (kept == 0)
        pj_list_erase(hdr);
}

/* The token that a header of ours names, else the one in the s= line of an SDP
 * that PJSIP made from our placeholder, else 0. */
static uint64_t token_of(const pjsip_msg_body *body, const pjsip_hdr *header)
{
    if (header) {
        const pj_str_t *value = &((const pjsip_generic_string_hdr *)header)->hvalue;

        return recproxy_bodies_token(value->ptr, (size_t)value->slen);
    }
    if (body && body->print_body == print_sdp && body->data) {
        const pj_str_t *name = &((const pjmedia_sdp_session *)body->data)->name;

        return recproxy_bodies_token(name->ptr, (size_t)name->slen);
    }
    return 0;
}

static pjsip_msg_body *printable(pj_pool_t *pool, const struct recproxy_body *from)
{
    pjsip_msg_body *body;
    pj_str_t name = {"Content-Type", 12};

    if (from->size == 0)
        return NULL;
    body = PJ_POOL_ZALLOC_T(pool, pjsip_msg_body);
    pjsip_media_type_init2(&body->content_type, "application", "sdp");
    if (from->content_type) {
        pj_size_t size = pj_ansi_strlen(from->content_type);
        char *copy = pj_pool_alloc(pool, size + 1);
        pjsip_ctype_hdr *type;

        pj_memcpy(copy, from->content_type, size + 1);
        type = pjsip_parse_hdr(pool, &name, copy, size, NULL);
        if (type)
            body->content_type = type->media;
    }
    body->data = pj_pool_alloc(pool, from->size);
    pj_memcpy(body->data, from->data, from->size);
    body->len = (unsigned)from->size;
    body->print_body = &pjsip_print_text_body;
    body->clone_data = &pjsip_clone_text_data;
    return body;
}

/* All our headers out; the last one counts, since PJSIP makes a later response
 * from an earlier one and keeps what was added to that. */
static pjsip_hdr *take_header(pjsip_msg *msg)
{
    pjsip_hdr *last = NULL, *hdr;

    while ((hdr = pjsip_msg_find_hdr_by_name(msg, &body_header_name, NULL)) != NULL) {
        pj_list_erase(hdr);
        last = hdr;
    }
    return last;
}

/* A redirection that we pass on names the callee's targets; PJSIP would add
 * itself, and the caller would come back here. */
static void drop_own_contact(pjsip_msg *msg)
{
    static const pj_str_t name = {"Contact", 7};
    pjsip_hdr *own = pjsip_msg_find_hdr(msg, PJSIP_H_CONTACT, NULL);
    pjsip_hdr *hdr;

    if (!own)
        return;
    for (hdr = msg->hdr.next; hdr != &msg->hdr; hdr = hdr->next) {
        if (hdr->type == PJSIP_H_OTHER && pj_stricmp(&hdr->name, &name) == 0) {
            pj_list_erase(own);
            return;
        }
    }
}

static pj_status_t before_print(pjsip_tx_data *tdata)
{
    const struct recproxy_body *body;
    struct taken *taken;
    pjsip_hdr *header;
    pjsip_cseq_hdr *cseq;
    uint64_t token;

    if (pjsip_tx_data_is_valid(tdata))
        return PJ_SUCCESS; /* printed before: a retransmission */
    cseq = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_CSEQ, NULL);
    if (cseq && cseq->method.id != PJSIP_REGISTER_METHOD && cseq->method.id != PJSIP_OPTIONS_METHOD) {
        keep_listed(tdata->msg, PJSIP_H_ALLOW, methods, PJ_ARRAY_SIZE(methods));
        keep_listed(tdata->msg, PJSIP_H_SUPPORTED, extensions, PJ_ARRAY_SIZE(extensions));
    }
    if (tdata->msg->type == PJSIP_RESPONSE_MSG && tdata->msg->line.status.code / 100 == 3)
        drop_own_contact(tdata->msg);
    header = take_header(tdata->msg);
    token = token_of(tdata->msg->body, header);
    if (!header && token == 0)
        return PJ_SUCCESS;
    taken = PJ_POOL_ZALLOC_T(tdata->pool, struct taken);
    taken->body = tdata->msg->body;
    taken->header = tdata->msg->type == PJSIP_REQUEST_MSG ? header : NULL;
    taken->replaced = 1;
    tdata->mod_data[door.id] = taken;

    body = recproxy_bodies_find(token);
    if (body) {
        counters[RECPROXY_BODIES_SENT]++;
        tdata->msg->body = printable(tdata->pool, body);
    } else {
        counters[RECPROXY_BODIES_LOST]++;
        tdata->msg->body = NULL;
    }
    return PJ_SUCCESS;
}

/* PJSIP reads its own offer back from the message that it sent, so the
 * placeholder returns; and a request that is sent again after 401 or 407 needs
 * our header again. */
static pj_status_t after_print(pjsip_tx_data *tdata)
{
    struct taken *taken = tdata->mod_data[door.id];

    if (!taken || !taken->replaced)
        return PJ_SUCCESS;
    taken->replaced = 0;
    tdata->mod_data[door.id] = NULL;
    tdata->msg->body = taken->body;
    if (taken->header)
        pjsip_msg_add_hdr(tdata->msg, taken->header);
    return PJ_SUCCESS;
}

/* ---- start, stop and settings ------------------------------------------ */

static pj_status_t on_unload(void)
{
    recproxy_bodies_clear();
    recproxy_update_clear(NULL);
    free(acl);
    acl = NULL;
    acl_count = 0;
    acl_silent = admission = admission_retry_after = 0;
    print_sdp = NULL;
    return PJ_SUCCESS;
}

void recproxy_log_off(void) { pj_log_set_level(0); }

int recproxy_sip_start(void)
{
    pjsip_endpoint *endpt = pjsua_get_pjsip_endpt();
    pjsip_msg_body *body = NULL;
    pj_pool_t *pool;
    pj_status_t status;

    if (!endpt)
        return PJ_EINVALIDOP;
    /* The printer of an SDP body is private to PJSIP; one body tells it. */
    pool = pjsua_pool_create("recproxy", 512, 512);
    if (!pool)
        return PJ_ENOMEM;
    status = pjsip_create_sdp_body(pool, PJ_POOL_ZALLOC_T(pool, pjmedia_sdp_session), &body);
    if (status == PJ_SUCCESS)
        print_sdp = body->print_body;
    pj_pool_release(pool);
    if (status != PJ_SUCCESS)
        return status;

    /* A B2BUA passes on what it is told: no switch to TCP for long messages, the
     * port of a From URI stays, each SDP answer of an early dialog is taken. */
    pjsip_cfg()->endpt.disable_tcp_switch = PJ_TRUE;
    pjsip_cfg()->endpt.allow_port_in_fromto_hdr = PJ_TRUE;
    pjsip_cfg()->endpt.accept_multiple_sdp_answers = PJ_TRUE;
    pjsip_cfg()->endpt.follow_early_media_fork = PJ_TRUE;

    recproxy_update_clear(&door);
    pj_bzero(counters, sizeof(counters));
    cancel_call_id[0] = cancel_text[0] = '\0';
    door.id = restorer.id = -1;
    status = pjsip_endpt_register_module(endpt, &door);
    if (status != PJ_SUCCESS)
        return status;
    status = pjsip_endpt_register_module(endpt, &restorer);
    if (status != PJ_SUCCESS)
        pjsip_endpt_unregister_module(endpt, &door);
    return status;
}

int recproxy_acl_set(const char *nets, size_t size)
{
    size_t count = 0, start = 0;
    struct recproxy_net *list;

    for (size_t i = 0; i < size; i++)
        count += nets[i] == ',';
    list = calloc(count + 1, sizeof(*list));
    if (!list)
        return 0;
    count = 0;
    while (start < size) {
        const char *comma = memchr(nets + start, ',', size - start);
        size_t end = comma ? (size_t)(comma - nets) : size;

        if (recproxy_net_parse(nets + start, end - start, &list[count]) != 0) {
            free(list);
            return (int)count;
        }
        count++;
        start = end + 1;
    }
    free(acl);
    acl = list;
    acl_count = count;
    return -1;
}

void recproxy_acl_set_silent(int silent) { acl_silent = silent != 0; }

void recproxy_admission_set(int value, int retry_after)
{
    admission = value;
    admission_retry_after = retry_after;
}

unsigned long long recproxy_body_new(void) { return recproxy_bodies_new(); }

int recproxy_body_set(unsigned long long token, const char *data, size_t size, const char *content_type)
{
    return recproxy_bodies_set(token, data, size, content_type);
}

void recproxy_body_free(unsigned long long token) { recproxy_bodies_free(token); }

unsigned recproxy_body_count(void) { return recproxy_bodies_count(); }

const char *recproxy_sdp_placeholder(unsigned long long token)
{
    static char text[256];

    pj_ansi_snprintf(text, sizeof(text),
                     "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=" RECPROXY_NAME_PREFIX "%016llx\r\n"
                     "c=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n",
                     token);
    return text;
}

const char *recproxy_body_header(void) { return body_header_name.ptr; }

const char *recproxy_cancel_message(const char *call_id)
{
    return call_id && *call_id && pj_ansi_strcmp(call_id, cancel_call_id) == 0 ? cancel_text : "";
}

unsigned long long recproxy_counter_get(int counter)
{
    return counter >= 0 && counter < RECPROXY_COUNTERS ? counters[counter] : 0;
}

void recproxy_memory_trim(void) { malloc_trim(0); }

int recproxy_max_calls(void) { return PJSUA_MAX_CALLS; }

int recproxy_abi(void) { return RECPROXY_SIP_ABI; }

const char *recproxy_tls_library(void) { return OpenSSL_version(OPENSSL_VERSION); }
