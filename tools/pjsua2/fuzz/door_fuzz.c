/* libFuzzer: datagrams through PJSIP's parser, recproxy's module and PJSUA.
 *
 * The input holds one or more messages, separated by a line "====". "~TAG~" in
 * a message becomes the tag that we gave to the last dialog, so that requests
 * inside a dialog can be reached.  A loop transport that discards what is sent
 * stands for the network: nothing leaves the process.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_sip.h"

#include <pjsip.h>
#include <pjsua-lib/pjsua.h>
#include <stdint.h>
#include <string.h>

static pjsip_transport *loop;
static char last_tag[128];
static pj_caching_pool pools;

static void on_incoming_call(pjsua_acc_id account, pjsua_call_id call, pjsip_rx_data *rdata)
{
    (void)account;
    (void)rdata;
    pjsua_call_answer(call, 200, NULL, NULL);
}

static void on_call_state(pjsua_call_id call, pjsip_event *event)
{
    pjsip_dialog *dialog = NULL;

    (void)call;
    if (event && event->type == PJSIP_EVENT_TSX_STATE)
        dialog = pjsip_tsx_get_dlg(event->body.tsx_state.tsx);
    if (dialog && dialog->local.info->tag.slen < (pj_ssize_t)sizeof(last_tag)) {
        memcpy(last_tag, dialog->local.info->tag.ptr, (size_t)dialog->local.info->tag.slen);
        last_tag[dialog->local.info->tag.slen] = '\0';
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char anywhere[] = "0.0.0.0/0";
    pjsua_config config;
    pjsua_logging_config log;
    pjsua_media_config media;
    pjsua_acc_config account;
    pjsua_transport_id transport;

    (void)argc;
    (void)argv;
    pj_log_set_level(0);
    PJ_ASSERT_RETURN(pjsua_create() == PJ_SUCCESS, 1);
    pjsua_config_default(&config);
    config.thread_cnt = 0;
    config.max_calls = 256;
    config.cb.on_incoming_call = on_incoming_call;
    config.cb.on_call_state = on_call_state;
    pjsua_logging_config_default(&log);
    log.level = log.console_level = 0;
    pjsua_media_config_default(&media);
    media.thread_cnt = 0;
    media.has_ioqueue = PJ_FALSE;
    media.clock_rate = 8000;
    PJ_ASSERT_RETURN(pjsua_init(&config, &log, &media) == PJ_SUCCESS, 1);
    PJ_ASSERT_RETURN(recproxy_sip_start() == 0, 1);
    PJ_ASSERT_RETURN(recproxy_acl_set(anywhere, sizeof(anywhere) - 1) < 0, 1);
    pjsip_cfg()->tsx.t1 = pjsip_cfg()->tsx.t2 = pjsip_cfg()->tsx.t4 = pjsip_cfg()->tsx.td = 1;
    pjsua_set_null_snd_dev();
    PJ_ASSERT_RETURN(pjsip_loop_start(pjsua_get_pjsip_endpt(), &loop) == PJ_SUCCESS, 1);
    pjsip_loop_set_discard(loop, PJ_TRUE, NULL);
    PJ_ASSERT_RETURN(pjsua_transport_register(loop, &transport) == PJ_SUCCESS, 1);
    pjsua_acc_config_default(&account);
    account.id = pj_str("<sip:fuzz@127.0.0.1>");
    account.use_loop_med_tp = PJ_TRUE;
    account.transport_id = transport;
    PJ_ASSERT_RETURN(pjsua_acc_add(&account, PJ_TRUE, NULL) == PJ_SUCCESS, 1);
    PJ_ASSERT_RETURN(pjsua_start() == PJ_SUCCESS, 1);
    pj_caching_pool_init(&pools, NULL, 0);
    return 0;
}

static size_t fill(char *to, size_t room, const char *text, size_t size)
{
    static const char mark[] = "~TAG~";
    size_t used = 0, tag = strlen(last_tag);

    for (size_t i = 0; i < size;) {
        if (size - i >= sizeof(mark) - 1 && memcmp(text + i, mark, sizeof(mark) - 1) == 0) {
            if (room - used < tag)
                break;
            memcpy(to + used, last_tag, tag);
            used += tag;
            i += sizeof(mark) - 1;
        } else {
            if (room - used < 1)
                break;
            to[used++] = text[i++];
        }
    }
    return used;
}

static void receive(const char *text, size_t size)
{
    static pjsip_rx_data rdata;
    pj_pool_t *pool = pj_pool_create(&pools.factory, "fuzz", 4000, 4000, NULL);
    pj_str_t host = pj_str("127.0.0.1");

    pj_bzero(&rdata, sizeof(rdata));
    rdata.tp_info.pool = pool;
    rdata.tp_info.transport = loop;
    rdata.pkt_info.len = (pj_ssize_t)fill(rdata.pkt_info.packet, PJSIP_MAX_PKT_LEN - 1, text, size);
    rdata.pkt_info.src_addr_len = sizeof(pj_sockaddr_in);
    pj_sockaddr_in_init(&rdata.pkt_info.src_addr.ipv4, &host, 5060);
    pj_ansi_strxcpy(rdata.pkt_info.src_name, "127.0.0.1", sizeof(rdata.pkt_info.src_name));
    rdata.pkt_info.src_port = 5060;
    pj_gettimeofday(&rdata.pkt_info.timestamp);
    pjsip_tpmgr_receive_packet(pjsip_endpt_get_tpmgr(pjsua_get_pjsip_endpt()), &rdata);
    pj_pool_release(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char line[] = "====\n";
    const char *text = (const char *)data, *end = text + size;
    unsigned token;

    while (text < end) {
        const char *next = memmem(text, (size_t)(end - text), line, sizeof(line) - 1);
        size_t here = (size_t)((next ? next : end) - text);

        receive(text, here);
        while ((token = recproxy_held_next()) != 0) {
            const char *message = recproxy_held_message(token);

            /* Into the dialog that it came from: the loop transport discards it. */
            if (strncmp(message, "INFO", 4) == 0 || strncmp(message, "REFER", 5) == 0)
                recproxy_held_pass_on(token, "c1", last_tag, "a", "Event:refer\nX-A:b\n");
            else
                recproxy_held_answer(token, size & 1 ? 200 : 488);
        }
        pjsua_handle_events(0);
        text = next ? next + sizeof(line) - 1 : end;
    }
    pjsua_call_hangup_all();
    for (int i = 0; i < 5; i++)
        pjsua_handle_events(1);
    return 0;
}
