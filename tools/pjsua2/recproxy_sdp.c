/* SDP that PJSIP never reads: masked when received, put in when sent.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_bodies.h"
#include "recproxy_parts.h"

#include <pjsua-lib/pjsua.h>

/* What a peer's SDP is replaced by.  a=inactive: PJSUA then makes no stream. */
static const char mask[] =
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\na=inactive\r\n";
static const pj_str_t body_header_name = {"X-Recproxy-Body", 15};

/* What recproxy_sdp_before_print took out of a message, for recproxy_sdp_after_print. */
struct taken {
    pjsip_msg_body *body;
    pjsip_hdr *header;
    int replaced;
};

/* The printer of an SDP body: private to PJSIP, learnt from one body. */
static int (*print_sdp)(pjsip_msg_body *, char *, pj_size_t);

pj_status_t recproxy_sdp_start(void)
{
    pj_pool_t *pool = pjsua_pool_create("recproxy", 512, 512);
    pjsip_msg_body *body = NULL;
    pj_status_t status;

    if (!pool)
        return PJ_ENOMEM;
    status = pjsip_create_sdp_body(pool, PJ_POOL_ZALLOC_T(pool, pjmedia_sdp_session), &body);
    if (status == PJ_SUCCESS)
        print_sdp = body->print_body;
    pj_pool_release(pool);
    return status;
}

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

int recproxy_sdp_carried(const pjsip_msg *msg)
{
    return msg->body && carries_sdp(msg->body);
}

void recproxy_sdp_mask(pjsip_rx_data *rdata)
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
    recproxy_counters[RECPROXY_BODIES_MASKED]++;
}

static void keep_listed(pjsip_msg *msg, pjsip_hdr_e type, const char *const *list, size_t count)
{
    pjsip_generic_array_hdr *hdr = pjsip_msg_find_hdr(msg, type, NULL);
    unsigned kept = 0;

    if (!hdr)
        return;
    for (unsigned i = 0; i < hdr->count; i++) {
        if (recproxy_listed(&hdr->values[i], list, count))
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
 * itself, and the caller would come back here.  Other answers may bring a Contact
 * with feature tags (RFC 3840) that PJSIP's own lacks. */
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

void recproxy_sdp_before_print(pjsip_tx_data *tdata, int slot)
{
    const struct recproxy_body *body;
    struct taken *taken;
    pjsip_hdr *header;
    pjsip_cseq_hdr *cseq;
    uint64_t token;

    if (pjsip_tx_data_is_valid(tdata))
        return; /* printed before: a retransmission */
    cseq = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_CSEQ, NULL);
    if (cseq && cseq->method.id != PJSIP_REGISTER_METHOD &&
        cseq->method.id != PJSIP_OPTIONS_METHOD) {
        keep_listed(tdata->msg, PJSIP_H_ALLOW, recproxy_methods, recproxy_method_count);
        keep_listed(tdata->msg, PJSIP_H_SUPPORTED, recproxy_extensions, recproxy_extension_count);
    }
    if (tdata->msg->type == PJSIP_RESPONSE_MSG)
        drop_own_contact(tdata->msg);
    header = take_header(tdata->msg);
    token = token_of(tdata->msg->body, header);
    if (!header && token == 0)
        return;
    taken = PJ_POOL_ZALLOC_T(tdata->pool, struct taken);
    taken->body = tdata->msg->body;
    taken->header = tdata->msg->type == PJSIP_REQUEST_MSG ? header : NULL;
    taken->replaced = 1;
    tdata->mod_data[slot] = taken;

    body = recproxy_bodies_find(token);
    if (body) {
        recproxy_counters[RECPROXY_BODIES_SENT]++;
        tdata->msg->body = printable(tdata->pool, body);
    } else {
        recproxy_counters[RECPROXY_BODIES_LOST]++;
        tdata->msg->body = NULL;
    }
}

/* PJSIP reads its own offer back from the message that it sent, so the
 * placeholder returns; and a request that is sent again after 401 or 407 needs
 * our header again. */
void recproxy_sdp_after_print(pjsip_tx_data *tdata, int slot)
{
    struct taken *taken = tdata->mod_data[slot];

    if (!taken || !taken->replaced)
        return;
    taken->replaced = 0;
    tdata->mod_data[slot] = NULL;
    tdata->msg->body = taken->body;
    if (taken->header)
        pjsip_msg_add_hdr(tdata->msg, taken->header);
}

unsigned long long recproxy_body_new(void)
{
    return recproxy_bodies_new();
}

int recproxy_body_set(unsigned long long token, const char *data, size_t size,
                      const char *content_type)
{
    return recproxy_bodies_set(token, data, size, content_type);
}

void recproxy_body_free(unsigned long long token)
{
    recproxy_bodies_free(token);
}

unsigned recproxy_body_count(void)
{
    return recproxy_bodies_count();
}

const char *recproxy_sdp_placeholder(unsigned long long token)
{
    static char text[256];

    pj_ansi_snprintf(text, sizeof(text),
                     "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=" RECPROXY_NAME_PREFIX "%016llx\r\n"
                     "c=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n",
                     token);
    return text;
}

const char *recproxy_body_header(void)
{
    return body_header_name.ptr;
}
