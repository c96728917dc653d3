/* libFuzzer: bodies of every kind that a peer may send, and what PJSIP sees of them.
 *
 * The input is header lines about the body, an empty line, and the body.  What
 * PJSIP then takes for SDP must be the fixed one, byte for byte: its own parser
 * never meets a peer's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"
#include "stage.h"

#include <pjsip_ua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char mask[512];
static size_t mask_size;

static pjsip_rx_data *parse(const char *start, const char *text, size_t size)
{
    char message[PJSIP_MAX_PKT_LEN];
    int used =
        snprintf(message, sizeof(message),
                 "%s\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKm\r\n"
                 "From: <sip:a@b>;tag=a\r\nTo: <sip:b@c>\r\nCall-ID: m\r\nCSeq: 1 INVITE\r\n",
                 start);

    if (used < 0 || size >= sizeof(message) - (size_t)used)
        return NULL;
    memcpy(message + used, text, size);
    return stage_parse(message, (size_t)used + size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char plain[] = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
    pjsip_rx_data *rdata;

    (void)argc;
    (void)argv;
    stage_start();
    rdata = parse("INVITE sip:b@c SIP/2.0", plain, sizeof(plain) - 1);
    if (!rdata || !rdata->msg_info.msg->body)
        abort();
    recproxy_sdp_mask(rdata);
    mask_size = rdata->msg_info.msg->body->len;
    if (mask_size >= sizeof(mask))
        abort();
    memcpy(mask, rdata->msg_info.msg->body->data, mask_size);
    return 0;
}

static void check(pjsip_rx_data *rdata)
{
    const pjsip_rdata_sdp_info *sdp;
    const pj_str_t *seen;

    recproxy_sdp_mask(rdata);
    sdp = pjsip_rdata_get_sdp_info(rdata);
    seen = &sdp->body;
    if (seen->slen == 0)
        return;
    if ((size_t)seen->slen != mask_size || memcmp(seen->ptr, mask, mask_size) != 0)
        abort();
    if (sdp->sdp_err != PJ_SUCCESS || !sdp->sdp || sdp->sdp->media_count != 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pjsip_rx_data *rdata;

    if ((rdata = parse("INVITE sip:b@c SIP/2.0", (const char *)data, size)) != NULL)
        check(rdata);
    if ((rdata = parse("SIP/2.0 200 OK", (const char *)data, size)) != NULL)
        check(rdata);
    return 0;
}
