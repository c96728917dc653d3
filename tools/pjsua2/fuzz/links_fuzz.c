/* libFuzzer: connections that come, shake hands, go, send halves and are looked at, in any order.
 *
 * Bytes below 120 name an event of the first ten and a connection; the others an event
 * of a handshake.
 *
 * The part is compiled in here with a clock and a transport manager of our own; a
 * plain model says what must hold.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pjsua-lib/pjsua.h>
#include <stdlib.h>

#define CONNECTIONS 12
#define ADDRESSES 4
#define EVENTS 10
#define EVENTS_OF_HANDSHAKES 4
#define FIRST_SOCK 100

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct connection {
    pjsip_transport transport;
    int placed;           /* accepted, and its socket not closed since */
    int up, ordered_down; /* recproxy has asked for its end */
    long half_since;      /* -1: no half of a message */
} connections[CONNECTIONS];
static struct connection *knocking; /* who waits to be accepted */
static long clock_s;
static int ends_at_once, door_shut;
static pjsip_tp_state_callback state_cb;
static pjsip_tp_on_rx_data_cb data_cb;
static pjsip_tp_on_rx_dropped_cb dropped_cb;

unsigned long long recproxy_counters[RECPROXY_COUNTERS];

/* What PJLIB does; the linker is not asked here. */
pj_status_t __real_pj_sock_accept(pj_sock_t server, pj_sock_t *sock, pj_sockaddr_t *address,
                                  int *size);
pj_status_t __real_pj_sock_close(pj_sock_t sock);

pj_status_t __real_pj_sock_accept(pj_sock_t server, pj_sock_t *sock, pj_sockaddr_t *address,
                                  int *size)
{
    (void)server;
    if (!knocking)
        return PJ_STATUS_FROM_OS(PJ_BLOCKING_ERROR_VAL);
    *sock = FIRST_SOCK + (knocking - connections);
    *size = (int)pj_sockaddr_get_len(&knocking->transport.key.rem_addr);
    pj_memcpy(address, &knocking->transport.key.rem_addr, (size_t)*size);
    knocking = NULL;
    return PJ_SUCCESS;
}

pj_status_t __real_pj_sock_close(pj_sock_t sock)
{
    if (sock < FIRST_SOCK || sock >= FIRST_SOCK + CONNECTIONS)
        abort();
    return PJ_SUCCESS;
}

static void state(struct connection *connection, pjsip_transport_state what)
{
    connection->up = what == PJSIP_TP_STATE_CONNECTED;
    state_cb(&connection->transport, what, NULL);
}

static void goes(struct connection *one, pjsip_transport_state last);

static pj_status_t fake_shutdown(pjsip_transport *transport, pj_bool_t force)
{
    struct connection *connection = (struct connection *)transport;

    if (!force || !connection->up)
        abort();
    connection->ordered_down = 1;
    if (ends_at_once)
        goes(connection, PJSIP_TP_STATE_DISCONNECTED);
    return PJ_SUCCESS;
}

static pj_status_t fake_schedule(pjsip_endpoint *endpt, pj_timer_entry *entry,
                                 const pj_time_val *delay)
{
    (void)endpt;
    (void)entry;
    return delay->sec > 0 ? PJ_SUCCESS : PJ_EINVAL;
}

static pj_status_t fake_state_cb(pjsip_tpmgr *mgr, pjsip_tp_state_callback cb)
{
    (void)mgr;
    state_cb = cb;
    return PJ_SUCCESS;
}

static pj_status_t fake_data_cb(pjsip_tpmgr *mgr, pjsip_tp_on_rx_data_cb cb)
{
    (void)mgr;
    data_cb = cb;
    return PJ_SUCCESS;
}

static pj_status_t fake_dropped_cb(pjsip_tpmgr *mgr, pjsip_tp_on_rx_dropped_cb cb)
{
    (void)mgr;
    dropped_cb = cb;
    return PJ_SUCCESS;
}

static pj_status_t fake_tick(pj_time_val *now)
{
    *now = (pj_time_val){clock_s, 0};
    return PJ_SUCCESS;
}

#undef pjsip_endpt_schedule_timer
#define pjsip_transport_shutdown2 fake_shutdown
#define pjsip_endpt_schedule_timer fake_schedule
#define pjsip_endpt_cancel_timer(endpt, entry) ((void)(entry))
#define pjsip_endpt_get_tpmgr(endpt) NULL
#define pjsip_tpmgr_get_state_cb(mgr) NULL
#define pjsip_tpmgr_set_state_cb fake_state_cb
#define pjsip_tpmgr_set_recv_data_cb fake_data_cb
#define pjsip_tpmgr_set_drop_data_cb fake_dropped_cb
#define pj_gettickcount fake_tick
#include "../recproxy_links.c"

/* The last address is a stranger's. */
int recproxy_door_knows(const pj_sockaddr *address)
{
    return !door_shut && pj_sockaddr_get_port(address) % ADDRESSES != ADDRESSES - 1;
}

static unsigned of_address(const struct connection *like)
{
    unsigned same = 0;

    for (size_t i = 0; i < CONNECTIONS; i++)
        same += connections[i].placed && pj_sockaddr_cmp(&connections[i].transport.key.rem_addr,
                                                         &like->transport.key.rem_addr) == 0;
    return same;
}

/* PJLIB accepts: whoever may come in has a place, and nobody else. */
static void knocks(struct connection *one)
{
    const int may = recproxy_door_knows(&one->transport.key.rem_addr) &&
                    (!per_address || of_address(one) < per_address);
    pj_sockaddr from;
    pj_sock_t sock;
    int size = (int)sizeof(from), in;

    if (one->placed || one->transport.dir != PJSIP_TP_DIR_INCOMING)
        return;
    *one = (struct connection){.transport = one->transport, .half_since = -1};
    knocking = one;
    in = __wrap_pj_sock_accept(1, &sock, &from, &size) == PJ_SUCCESS;
    if (in != may || in != (sock != PJ_INVALID_SOCKET) || knocking)
        abort();
    if (in && pj_sockaddr_cmp(&from, &one->transport.key.rem_addr) != 0)
        abort();
    one->placed = in;
}

static void shakes_hands(struct connection *one)
{
    if (one->up)
        return;
    if (one->transport.dir != PJSIP_TP_DIR_INCOMING) {
        state(one, PJSIP_TP_STATE_CONNECTED);
        if (find(&one->transport))
            abort();
        return;
    }
    if (!one->placed)
        return;
    state(one, PJSIP_TP_STATE_CONNECTED);
    if (!recproxy_door_knows(&one->transport.key.rem_addr) == (find(&one->transport) != NULL))
        abort();
}

static void goes(struct connection *one, pjsip_transport_state last)
{
    if (one->up)
        state(one, last);
    if (one->placed)
        __wrap_pj_sock_close(FIRST_SOCK + (one - connections));
    one->placed = 0;
}

static void check(void)
{
    unsigned placed = 0;

    for (unsigned i = 0; i < link_count; i++) {
        const struct connection *one = (const struct connection *)links[i].transport;

        if (!one->up || !one->placed || (links[i].half_since.sec != 0) != (one->half_since >= 0))
            abort();
        for (unsigned k = 0; k < i; k++) {
            if (links[k].transport == links[i].transport)
                abort();
        }
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        placed += connections[i].placed != 0;
    if (recproxy_links_count() != link_count || place_count != placed)
        abort();
}

static void look_and_check(void)
{
    look(NULL, &look_timer);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        const struct connection *one = &connections[i];

        if (one->up && find(&one->transport) && !one->ordered_down && one->half_since >= 0 &&
            clock_s - one->half_since > HALF_SENT_MAX_S)
            abort();
    }
}

static void happens(unsigned what, struct connection *one)
{
    pjsip_tp_rx_data data = {.tp = &one->transport, .len = 10};
    pjsip_tp_dropped_data dropped = {.tp = &one->transport, .status = PJSIP_EINVALIDMSG};
    int was_listed = find(&one->transport) != NULL;

    switch (what) {
    case 0:
        knocks(one);
        shakes_hands(one);
        break;
    case 1:
    case 2:
        goes(one, what == 1 ? PJSIP_TP_STATE_DISCONNECTED : PJSIP_TP_STATE_DESTROY);
        break;
    case 3:
        if (!one->up)
            break;
        data_cb(&data);
        if (was_listed && one->half_since < 0)
            one->half_since = clock_s;
        break;
    case 4:
        recproxy_links_whole(&one->transport);
        one->half_since = -1;
        break;
    case 5:
        if (!one->up)
            break;
        dropped_cb(&dropped);
        if (was_listed && !one->ordered_down)
            abort();
        break;
    case 6:
        clock_s += 3;
        look_and_check();
        break;
    case 7:
        /* Line ends, all of them ignored; behind a half they would be part of it. */
        if (!one->up || one->half_since >= 0)
            break;
        data.len = dropped.len = 4;
        dropped.status = PJ_EIGNORED;
        data_cb(&data);
        dropped_cb(&dropped);
        break;
    case 8:
        /* Line ends before the beginning of a message. */
        if (!one->up || one->half_since >= 0)
            break;
        dropped.len = 4;
        dropped.status = PJ_EIGNORED;
        data_cb(&data);
        dropped_cb(&dropped);
        if (was_listed)
            one->half_since = clock_s;
        break;
    default:
        recproxy_links_limit((unsigned)(one - connections) % 4);
        ends_at_once = !ends_at_once;
    }
}

static void happens_early(unsigned what, struct connection *one)
{
    pj_sock_t sock;
    pj_sockaddr from;
    int size = (int)sizeof(from);

    switch (what) {
    case 0:
        knocks(one);
        break;
    case 1:
        shakes_hands(one);
        break;
    case 2: /* its handshake fails, or takes too long */
        if (!one->up)
            goes(one, PJSIP_TP_STATE_DISCONNECTED);
        break;
    default:
        door_shut = !door_shut;
        if (__wrap_pj_sock_accept(1, &sock, &from, &size) == PJ_SUCCESS)
            abort(); /* nobody was there */
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return pj_init() == PJ_SUCCESS ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[ADDRESSES] = {"127.0.0.2", "127.0.0.3", "::1", "127.0.0.9"};

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        unsigned which = i % ADDRESSES;
        pj_str_t host = pj_str((char *)hosts[which]);
        int family = which == 2 ? pj_AF_INET6() : pj_AF_INET();

        connections[i] = (struct connection){.half_since = -1};
        connections[i].transport.dir = i == 0 ? PJSIP_TP_DIR_OUTGOING : PJSIP_TP_DIR_INCOMING;
        if (pj_sockaddr_init(family, &connections[i].transport.key.rem_addr, &host,
                             (pj_uint16_t)(ADDRESSES * 1000 + which)) != PJ_SUCCESS)
            abort();
    }
    clock_s = 1;
    ends_at_once = door_shut = 0;
    knocking = NULL;
    recproxy_links_start();
    recproxy_links_limit(2);
    for (size_t i = 0; i < size; i++) {
        unsigned early = data[i] - EVENTS * CONNECTIONS;

        if (data[i] < EVENTS * CONNECTIONS)
            happens(data[i] % EVENTS, &connections[data[i] / EVENTS]);
        else
            happens_early(early % EVENTS_OF_HANDSHAKES,
                          &connections[early / EVENTS_OF_HANDSHAKES % CONNECTIONS]);
        check();
    }
    recproxy_links_stop();
    return 0;
}
