/* libFuzzer: what a caller dials, and whether the door takes it for a call for help.
 *
 * The input is a list of emergency numbers, a line end, and a Request-URI.  A call
 * to one of them is never asked for a password, whatever way the URI is written.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char us[] = "127.0.0.0/8,::1";

    (void)argc;
    (void)argv;
    stage_start();
    if (recproxy_auth_add(us, sizeof(us) - 1) != 0)
        abort();
    recproxy_auth_challenge(0, "Digest realm=\"r\"", "Digest realm=\"s\"");
    return 0;
}

static size_t dialled(pjsip_uri *uri)
{
    uri = pjsip_uri_get_uri(uri);
    if (PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri))
        return (size_t)((pjsip_sip_uri *)uri)->user.slen;
    if (PJSIP_URI_SCHEME_IS_TEL(uri))
        return (size_t)((pjsip_tel_uri *)uri)->number.slen;
    return 0;
}

/* A URN that is printed is the one that was read. */
static void check_urn(pj_pool_t *pool, pjsip_uri *uri)
{
    char text[PJSIP_MAX_PKT_LEN];
    const pjsip_other_uri *urn = pjsip_uri_get_uri(uri), *again;
    int size;

    if (pj_stricmp2(pjsip_uri_get_scheme((void *)urn), "urn") != 0)
        return;
    size = pjsip_uri_print(PJSIP_URI_IN_REQ_URI, urn, text, sizeof(text) - 1);
    if (size < 0)
        return;
    text[size] = '\0';
    again = (const pjsip_other_uri *)pjsip_parse_uri(pool, text, (pj_size_t)size, 0);
    if (!again || pj_strcmp(&again->content, &urn->content) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char message[PJSIP_MAX_PKT_LEN];
    const char *text = (const char *)data, *end = text + size;
    pj_str_t numbers = stage_line(&text, end);
    pjsip_rx_data *rdata;
    pjsip_hdr headers;
    int used;

    if (recproxy_emergency_set(numbers.ptr, (size_t)numbers.slen) != 0)
        abort();
    used =
        snprintf(message, sizeof(message),
                 "INVITE %.*s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKu\r\n"
                 "From: <sip:a@b>;tag=a\r\nTo: <sip:b@c>\r\nCall-ID: u\r\nCSeq: 1 INVITE\r\n\r\n",
                 (int)(end - text), text);
    if (used < 0 || (size_t)used >= sizeof(message))
        return 0;
    rdata = stage_parse(message, (size_t)used);
    if (!rdata || rdata->msg_info.msg->type != PJSIP_REQUEST_MSG)
        return 0;
    check_urn(rdata->tp_info.pool, rdata->msg_info.msg->line.req.uri);
    pj_list_init(&headers);
    if (recproxy_exempt_emergency(rdata) &&
        dialled(rdata->msg_info.msg->line.req.uri) <= RECPROXY_SHORT_NUMBER &&
        recproxy_auth_refuses(rdata, &headers))
        abort();
    return 0;
}
