/* libFuzzer: the body that is put in while a message is printed, and taken back.
 *
 * Lines of the input: letters (q request, else response; h the body hangs on our
 * header, twice; f the token is freed before; 3 a redirection), the content type,
 * an Allow, a Contact; the rest is the body.  PJSIP's message is afterwards what it
 * was, and our header has not been on the wire.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"
#include "stage.h"

#include <pjmedia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT (PJSIP_MAX_MODULE - 1)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    stage_start();
    return 0;
}

static int has(const pj_str_t *letters, char letter)
{
    return memchr(letters->ptr, letter, (size_t)letters->slen) != NULL;
}

static void add(pjsip_tx_data *tdata, const char *name, const pj_str_t *value, int parse)
{
    pj_str_t key = pj_str((char *)name), copy;
    void *header;

    pj_strdup_with_null(tdata->pool, &copy, value);
    header = parse ? pjsip_parse_hdr(tdata->pool, &key, copy.ptr, (pj_size_t)copy.slen, NULL)
                   : pjsip_generic_string_hdr_create(tdata->pool, &key, &copy);
    if (header)
        pjsip_msg_add_hdr(tdata->msg, header);
}

static void add_sdp(pjsip_tx_data *tdata, unsigned long long token)
{
    pjmedia_sdp_session *sdp;
    pj_str_t text = pj_str((char *)recproxy_sdp_placeholder(token)), copy;

    pj_strdup_with_null(tdata->pool, &copy, &text);
    if (pjmedia_sdp_parse(tdata->pool, copy.ptr, (pj_size_t)copy.slen, &sdp) != PJ_SUCCESS ||
        pjsip_create_sdp_body(tdata->pool, sdp, &tdata->msg->body) != PJ_SUCCESS)
        abort();
}

static pjsip_tx_data *made(const pj_str_t *letters)
{
    pj_str_t target = pj_str("sip:b@127.0.0.1"), from = pj_str("<sip:a@127.0.0.1>");
    pj_str_t call_id = pj_str("p");
    pjsip_tx_data *tdata;

    if (pjsip_endpt_create_request(pjsua_get_pjsip_endpt(), pjsip_get_invite_method(), &target,
                                   &from, &target, NULL, &call_id, 1, NULL, &tdata) != PJ_SUCCESS)
        abort();
    if (!has(letters, 'q')) {
        tdata->msg->type = PJSIP_RESPONSE_MSG;
        tdata->msg->line.status.code = has(letters, '3') ? 302 : 183;
        tdata->msg->line.status.reason = pj_str("X");
    }
    return tdata;
}

static void check_printed(const pjsip_tx_data *tdata)
{
    static char text[PJSIP_MAX_PKT_LEN + 1];
    pj_ssize_t size = pjsip_msg_print(tdata->msg, text, sizeof(text) - 1);
    char *end;

    if (size <= 0)
        return; /* too long for one message: PJSIP does not send it */
    text[size] = '\0';
    end = strstr(text, "\r\n\r\n");
    if (end)
        *end = '\0';
    if (strstr(text, "\nX-Recproxy-Body:"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = text + size;
    pj_str_t letters = stage_line(&text, end), type = stage_line(&text, end);
    pj_str_t allow = stage_line(&text, end), contact = stage_line(&text, end), value;
    unsigned long long token = recproxy_body_new();
    char named[64];
    pjsip_tx_data *tdata = made(&letters);
    pjsip_msg_body *before;
    int set;

    pj_strdup_with_null(tdata->pool, &value, &type);
    set = recproxy_body_set(token, text, (size_t)(end - text), value.ptr);
    if (has(&letters, 'f') || set != 0)
        recproxy_body_free(token);
    if (allow.slen) {
        add(tdata, "Allow", &allow, 1);
        add(tdata, "Supported", &allow, 1);
    }
    if (contact.slen) {
        add(tdata, "Contact", &contact, 1);
        add(tdata, "Contact", &contact, 0);
    }
    if (has(&letters, 'h')) {
        snprintf(named, sizeof(named), "recproxy-%016llx", token);
        value = pj_str(named);
        add(tdata, recproxy_body_header(), &contact, 0);
        add(tdata, recproxy_body_header(), &value, 0);
    } else {
        add_sdp(tdata, token);
    }

    before = tdata->msg->body;
    recproxy_sdp_before_print(tdata, SLOT);
    if (before && tdata->msg->body == before)
        abort(); /* the placeholder would be sent */
    check_printed(tdata);
    recproxy_sdp_after_print(tdata, SLOT);
    if (tdata->msg->body != before || tdata->mod_data[SLOT])
        abort();
    recproxy_body_free(token);
    if (recproxy_body_count() != 0)
        abort();
    pjsip_tx_data_dec_ref(tdata);
    return 0;
}
