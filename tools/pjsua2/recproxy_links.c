/* Connections that others open to us: who may have one, how many, and for how
 * long a message may be half sent.
 *
 * PJSIP accepts from anybody, lets a TLS handshake last for ten seconds before it
 * says a word of it, and keeps what came of a message until the rest comes.  A few
 * hundred connections a second would use up all of its handles.  So a place is
 * given or refused where PJLIB accepts, and is free again where PJLIB closes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pjsua-lib/pjsua.h>

#define LINKS_MAX 2048 /* half of PJ_IOQUEUE_MAX_HANDLES: the rest is for our own */
#define PER_ADDRESS_DEFAULT 64
#define HALF_SENT_MAX_S 10
#define REFUSED_A_TURN_MAX 64
#define LOOK_S 1

struct link {
    const pjsip_transport *transport;
    pj_time_val half_since; /* 0: nothing of a message is there */
    pj_size_t there;        /* bytes that PJSIP was given last, what it had kept included */
};

struct place {
    pj_sock_t sock;
    pj_sockaddr from;
};

static struct link links[LINKS_MAX];
static struct place places[LINKS_MAX];
static unsigned link_count, place_count, per_address = PER_ADDRESS_DEFAULT;
static pjsip_tp_state_callback next_state_cb;
static pj_timer_entry look_timer;

/* PJLIB's own, by the linker; nobody but PJLIB calls what stands in their place. */
pj_status_t __real_pj_sock_accept(pj_sock_t server, pj_sock_t *sock, pj_sockaddr_t *address,
                                  int *size);
pj_status_t __real_pj_sock_close(pj_sock_t sock);
pj_status_t __wrap_pj_sock_accept(pj_sock_t server, pj_sock_t *sock, pj_sockaddr_t *address,
                                  int *size);
pj_status_t __wrap_pj_sock_close(pj_sock_t sock);

static struct link *find(const pjsip_transport *transport)
{
    if (transport->dir != PJSIP_TP_DIR_INCOMING)
        return NULL;
    for (unsigned i = 0; i < link_count; i++) {
        if (links[i].transport == transport)
            return &links[i];
    }
    return NULL;
}

static int one_too_many(const pj_sockaddr *from)
{
    unsigned same = 0;

    if (place_count >= LINKS_MAX)
        return 1;
    for (unsigned i = 0; i < place_count; i++) {
        const pj_sockaddr *other = &places[i].from;

        same += other->addr.sa_family == from->addr.sa_family &&
                pj_memcmp(pj_sockaddr_get_addr(other), pj_sockaddr_get_addr(from),
                          pj_sockaddr_get_addr_len(from)) == 0;
    }
    return per_address != 0 && same >= per_address;
}

/* Returns only with somebody who may come in, or as if nobody else were there: for any
 * other error PJLIB would try again at once, or stop to listen. */
pj_status_t __wrap_pj_sock_accept(pj_sock_t server, pj_sock_t *sock, pj_sockaddr_t *address,
                                  int *size)
{
    const int room = size ? *size : 0;
    pj_sockaddr from;
    int length;

    for (int i = 0; i < REFUSED_A_TURN_MAX; i++) {
        length = (int)sizeof(from);
        if (__real_pj_sock_accept(server, sock, &from, &length) != PJ_SUCCESS)
            break;
        if (recproxy_door_knows(&from) && !one_too_many(&from)) {
            places[place_count].sock = *sock;
            places[place_count++].from = from;
            if (address && size) {
                *size = PJ_MIN(room, length);
                pj_memcpy(address, &from, (size_t)*size);
            }
            return PJ_SUCCESS;
        }
        recproxy_counters[RECPROXY_LINKS_REFUSED]++;
        __real_pj_sock_close(*sock);
    }
    *sock = PJ_INVALID_SOCKET;
    return PJ_STATUS_FROM_OS(PJ_BLOCKING_ERROR_VAL);
}

pj_status_t __wrap_pj_sock_close(pj_sock_t sock)
{
    for (unsigned i = 0; i < place_count; i++) {
        if (places[i].sock == sock) {
            places[i] = places[--place_count];
            break;
        }
    }
    return __real_pj_sock_close(sock);
}

static void opened(pjsip_transport *transport)
{
    /* The access list may have changed since the handshake began. */
    if (!recproxy_door_knows(&transport->key.rem_addr) || link_count >= LINKS_MAX) {
        recproxy_counters[RECPROXY_LINKS_REFUSED]++;
        pjsip_transport_shutdown2(transport, PJ_TRUE);
        return;
    }
    links[link_count].transport = transport;
    links[link_count].half_since = (pj_time_val){0, 0};
    links[link_count].there = 0;
    link_count++;
}

static void on_state(pjsip_transport *transport, pjsip_transport_state state,
                     const pjsip_transport_state_info *info)
{
    if (next_state_cb)
        next_state_cb(transport, state, info);
    if (transport->dir != PJSIP_TP_DIR_INCOMING)
        return;
    if (state == PJSIP_TP_STATE_CONNECTED) {
        opened(transport);
    } else if (state == PJSIP_TP_STATE_DISCONNECTED || state == PJSIP_TP_STATE_DESTROY) {
        struct link *link = find(transport);

        if (link)
            *link = links[--link_count];
    }
}

/* What has come of a message so far; its end is reported by recproxy_links_whole. */
static pj_status_t on_data(pjsip_tp_rx_data *data)
{
    struct link *link = find(data->tp);

    if (!link)
        return PJ_SUCCESS;
    link->there = data->len;
    if (link->half_since.sec == 0)
        pj_gettickcount(&link->half_since);
    return PJ_SUCCESS;
}

/* Line ends between messages keep a connection alive (RFC 5626, 4.4.1).  With all
 * else it is lost where a message ends: what comes next could be read as anything. */
static void on_dropped(pjsip_tp_dropped_data *data)
{
    struct link *link = find(data->tp);

    if (!link)
        return;
    if (data->status == PJ_EIGNORED) {
        if (data->len >= link->there)
            link->half_since = (pj_time_val){0, 0};
        return;
    }
    recproxy_counters[RECPROXY_LINKS_CLOSED]++;
    pjsip_transport_shutdown2(data->tp, PJ_TRUE);
}

static void look(pj_timer_heap_t *heap, pj_timer_entry *entry)
{
    const pj_time_val again = {LOOK_S, 0};
    pj_time_val now;

    PJ_UNUSED_ARG(heap);
    pj_gettickcount(&now);
    for (unsigned i = link_count; i-- > 0;) {
        /* Backwards: what closes is replaced by the last one. */
        if (links[i].half_since.sec && now.sec - links[i].half_since.sec > HALF_SENT_MAX_S) {
            recproxy_counters[RECPROXY_LINKS_CLOSED]++;
            pjsip_transport_shutdown2((pjsip_transport *)links[i].transport, PJ_TRUE);
        }
    }
    pjsip_endpt_schedule_timer(pjsua_get_pjsip_endpt(), entry, &again);
}

void recproxy_links_start(void)
{
    pjsip_tpmgr *mgr = pjsip_endpt_get_tpmgr(pjsua_get_pjsip_endpt());
    const pj_time_val first = {LOOK_S, 0};

    link_count = place_count = 0;
    per_address = PER_ADDRESS_DEFAULT;
    next_state_cb = pjsip_tpmgr_get_state_cb(mgr);
    pjsip_tpmgr_set_state_cb(mgr, &on_state);
    pjsip_tpmgr_set_recv_data_cb(mgr, &on_data);
    pjsip_tpmgr_set_drop_data_cb(mgr, &on_dropped);
    pj_timer_entry_init(&look_timer, 0, NULL, &look);
    pjsip_endpt_schedule_timer(pjsua_get_pjsip_endpt(), &look_timer, &first);
}

void recproxy_links_whole(const pjsip_transport *transport)
{
    struct link *link = find(transport);

    if (link)
        link->half_since = (pj_time_val){0, 0};
}

void recproxy_links_stop(void)
{
    pjsip_endpt_cancel_timer(pjsua_get_pjsip_endpt(), &look_timer);
    link_count = 0;
}

void recproxy_links_limit(unsigned limit)
{
    per_address = limit;
}

unsigned recproxy_links_count(void)
{
    return link_count;
}
