/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stage.h"

#include "recproxy_sip.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_MAX 256
#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static pjsip_transport *loop;
static char last_tag[128], last_sent[PJSIP_MAX_PKT_LEN + 1], last_answer[PJSIP_MAX_PKT_LEN + 1];
static pjsua_call_id last_call = PJSUA_INVALID_ID;
static int answers = 1;
static pj_caching_pool pools;
static unsigned names_asked, named[NAMED_MAX], named_count;

/* The linker puts these in the place of PJLIB's: names are refused, nobody is asked. */
pj_status_t __real_pj_getaddrinfo(int af, const pj_str_t *name, unsigned *count, pj_addrinfo ai[]);
pj_status_t __wrap_pj_getaddrinfo(int af, const pj_str_t *name, unsigned *count, pj_addrinfo ai[]);
pj_status_t __wrap_pj_gethostbyname(const pj_str_t *name, pj_hostent *he);

static int is_numeric(const pj_str_t *name)
{
    char text[64];
    uint8_t address[16];

    if (name->slen < 0 || (size_t)name->slen >= sizeof(text))
        return 0;
    memcpy(text, name->ptr, (size_t)name->slen);
    text[name->slen] = '\0';
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

pj_status_t __wrap_pj_getaddrinfo(int af, const pj_str_t *name, unsigned *count, pj_addrinfo ai[])
{
    if (is_numeric(name))
        return __real_pj_getaddrinfo(af, name, count, ai);
    names_asked++;
    return PJ_ERESOLVE;
}

pj_status_t __wrap_pj_gethostbyname(const pj_str_t *name, pj_hostent *he)
{
    (void)name;
    (void)he;
    names_asked++;
    return PJ_ERESOLVE;
}

unsigned stage_names_asked(void)
{
    return names_asked;
}

static void on_incoming_call(pjsua_acc_id account, pjsua_call_id call, pjsip_rx_data *rdata)
{
    (void)account;
    (void)rdata;
    last_call = call;
    if (answers)
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

/* Below recproxy's own hooks: what is here is what the wire would have seen. */
static void keep(char *where, const pjsip_tx_data *tdata)
{
    size_t size = (size_t)(tdata->buf.cur - tdata->buf.start);

    if (size > PJSIP_MAX_PKT_LEN)
        return;
    memcpy(where, tdata->buf.start, size);
    where[size] = '\0';
}

static pj_status_t on_tx_request(pjsip_tx_data *tdata)
{
    keep(last_sent, tdata);
    return PJ_SUCCESS;
}

static pj_status_t on_tx_response(pjsip_tx_data *tdata)
{
    keep(last_answer, tdata);
    return PJ_SUCCESS;
}

static pjsip_module witness = {
    .name = {"witness", 7},
    .id = -1,
    .priority = PJSIP_MOD_PRIORITY_TRANSPORT_LAYER - 2,
    .on_tx_request = on_tx_request,
    .on_tx_response = on_tx_response,
};

void stage_start(void)
{
    static const char us[] = "127.0.0.0/8,::1";
    pjsua_config config;
    pjsua_logging_config log;
    pjsua_media_config media;
    pjsua_acc_config account;
    pjsua_transport_id transport;

    recproxy_log_off();
    MUST(pjsua_create() == PJ_SUCCESS);
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
    MUST(pjsua_init(&config, &log, &media) == PJ_SUCCESS);
    MUST(recproxy_sip_start() == 0);
    MUST(pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &witness) == PJ_SUCCESS);
    MUST(recproxy_acl_set(us, sizeof(us) - 1) < 0);
    pjsip_cfg()->tsx.t1 = pjsip_cfg()->tsx.t2 = pjsip_cfg()->tsx.t4 = pjsip_cfg()->tsx.td = 1;
    pjsua_set_null_snd_dev();
    MUST(pjsip_loop_start(pjsua_get_pjsip_endpt(), &loop) == PJ_SUCCESS);
    pjsip_loop_set_discard(loop, PJ_TRUE, NULL);
    MUST(pjsua_transport_register(loop, &transport) == PJ_SUCCESS);
    pjsua_acc_config_default(&account);
    account.id = pj_str("<sip:fuzz@127.0.0.1>");
    account.use_loop_med_tp = PJ_TRUE;
    account.transport_id = transport;
    MUST(pjsua_acc_add(&account, PJ_TRUE, NULL) == PJ_SUCCESS);
    MUST(pjsua_start() == PJ_SUCCESS);
    pj_caching_pool_init(&pools, NULL, 0);
}

/* One receive buffer, as of one socket; what was parsed before is gone. */
static pjsip_rx_data *filled(const char *text, size_t size, const char *address)
{
    static pjsip_rx_data rdata;
    pj_str_t host = pj_str((char *)address);
    int family = strchr(address, ':') ? pj_AF_INET6() : pj_AF_INET();

    if (rdata.tp_info.pool)
        pj_pool_release(rdata.tp_info.pool);
    pj_bzero(&rdata, sizeof(rdata));
    rdata.tp_info.pool = pj_pool_create(&pools.factory, "fuzz", 4000, 4000, NULL);
    rdata.tp_info.transport = loop;
    if (size >= sizeof(rdata.pkt_info.packet))
        size = sizeof(rdata.pkt_info.packet) - 1;
    memcpy(rdata.pkt_info.packet, text, size);
    rdata.pkt_info.len = (pj_ssize_t)size;
    MUST(pj_sockaddr_init(family, &rdata.pkt_info.src_addr, &host, 5060) == PJ_SUCCESS);
    rdata.pkt_info.src_addr_len = (int)pj_sockaddr_get_len(&rdata.pkt_info.src_addr);
    pj_ansi_strxcpy(rdata.pkt_info.src_name, address, sizeof(rdata.pkt_info.src_name));
    rdata.pkt_info.src_port = 5060;
    pj_gettimeofday(&rdata.pkt_info.timestamp);
    return &rdata;
}

void stage_receive(const char *text, size_t size, const char *address)
{
    pjsip_tpmgr_receive_packet(pjsip_endpt_get_tpmgr(pjsua_get_pjsip_endpt()),
                               filled(text, size, address));
}

pjsip_rx_data *stage_parse(const char *text, size_t size)
{
    pjsip_rx_data *rdata = filled(text, size, "127.0.0.1");

    rdata->msg_info.msg_buf = rdata->pkt_info.packet;
    rdata->msg_info.len = (int)rdata->pkt_info.len;
    pj_list_init(&rdata->msg_info.parse_err);
    if (!pjsip_parse_rdata(rdata->pkt_info.packet, (pj_size_t)rdata->pkt_info.len, rdata) ||
        !pj_list_empty(&rdata->msg_info.parse_err) || !rdata->msg_info.cid ||
        !rdata->msg_info.cid->id.slen || !rdata->msg_info.from || !rdata->msg_info.to ||
        !rdata->msg_info.via || !rdata->msg_info.cseq)
        return NULL;
    return rdata;
}

const char *stage_tag(void)
{
    return last_tag;
}

const char *stage_sent(void)
{
    return last_sent;
}

const char *stage_answered(void)
{
    return last_answer;
}

void stage_leave_calls(void)
{
    answers = 0;
}

pjsua_call_id stage_call(void)
{
    return last_call;
}

void stage_name_held(void)
{
    unsigned token;

    while ((token = recproxy_held_next()) != 0) {
        MUST(*recproxy_held_message(token));
        if (named_count < NAMED_MAX)
            named[named_count++] = token;
        else
            recproxy_held_answer(token, 500);
    }
}

unsigned stage_held(unsigned which)
{
    return named_count ? named[which % named_count] : 0;
}

/* A re-INVITE is let go twice: it is answered, and then no ACK is awaited any more. */
void stage_let_go(void)
{
    stage_name_held();
    for (unsigned i = 0; i < named_count; i++) {
        for (int tries = 0; recproxy_held_answer(named[i], 500) != -1; tries++)
            MUST(tries < 3);
    }
    pjsua_call_hangup_all();
    stage_turn(5);
    named_count = 0;
    stage_name_held();
    MUST(recproxy_held_next() == 0);
    named_count = 0;
}

void stage_turn(int times)
{
    for (int i = 0; i < times; i++)
        pjsua_handle_events(1);
}

pj_str_t stage_line(const char **text, const char *end)
{
    const char *stop = memchr(*text, '\n', (size_t)(end - *text));
    pj_str_t line = {(char *)*text, (stop ? stop : end) - *text};

    *text = stop ? stop + 1 : end;
    return line;
}
