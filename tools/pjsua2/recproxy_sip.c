/* The PJSIP module: where its parts are hung in, and its start and stop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_bodies.h"
#include "recproxy_parts.h"
#include "recproxy_held.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pjsua-lib/pjsua.h>

unsigned long long recproxy_counters[RECPROXY_COUNTERS];

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

static pj_bool_t on_rx_request(pjsip_rx_data *rdata)
{
    recproxy_links_whole(rdata->tp_info.transport);
    if (recproxy_door_stranger(rdata))
        return PJ_TRUE;
    recproxy_call_asked(rdata);
    recproxy_sdp_mask(rdata);
    return recproxy_door_request(rdata);
}

static pj_bool_t on_rx_response(pjsip_rx_data *rdata)
{
    recproxy_links_whole(rdata->tp_info.transport);
    recproxy_call_refused(rdata);
    recproxy_sdp_mask(rdata);
    return recproxy_held_offer(rdata);
}

/* PJSIP looks for a Contact by asking the system which interface reaches the peer,
 * and so misses which socket the message leaves from, and what that one advertises. */
static void tell_own_address(pjsip_tx_data *tdata)
{
    const pjsip_transport *transport = tdata->tp_info.transport;
    pjsip_contact_hdr *contact = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_CONTACT, NULL);
    const pjsip_host_port *own;
    pjsip_sip_uri *uri;

    if (!transport || !contact || !contact->uri || !PJSIP_URI_SCHEME_IS_SIP(contact->uri))
        return;
    own = transport->factory ? &transport->factory->addr_name : &transport->local_name;
    uri = pjsip_uri_get_uri(contact->uri);
    if (!own->host.slen || (pj_stricmp(&uri->host, &own->host) == 0 && uri->port == own->port))
        return;
    /* The URI belongs to the dialog, and outlives this message. */
    contact->uri = pjsip_uri_clone(tdata->pool, contact->uri);
    uri = pjsip_uri_get_uri(contact->uri);
    pj_strdup(tdata->pool, &uri->host, &own->host);
    uri->port = own->port;
}

static pj_status_t before_print(pjsip_tx_data *tdata)
{
    tell_own_address(tdata);
    recproxy_call_before_print(tdata, restorer.id);
    recproxy_sdp_before_print(tdata, door.id);
    return PJ_SUCCESS;
}

static pj_status_t after_print(pjsip_tx_data *tdata)
{
    recproxy_sdp_after_print(tdata, door.id);
    recproxy_call_after_print(tdata, restorer.id);
    return PJ_SUCCESS;
}

static pj_status_t on_unload(void)
{
    recproxy_bodies_clear();
    recproxy_held_clear(NULL);
    recproxy_links_stop();
    recproxy_auth_reset();
    recproxy_door_reset();
    recproxy_call_start(-1);
    return PJ_SUCCESS;
}

void recproxy_log_off(void)
{
    pj_log_set_level(0);
}

int recproxy_sip_start(void)
{
    pjsip_endpoint *endpt = pjsua_get_pjsip_endpt();
    pj_status_t status;

    if (!endpt)
        return PJ_EINVALIDOP;
    status = recproxy_sdp_start();
    if (status != PJ_SUCCESS)
        return status;

    /* A B2BUA passes on what it is told: no switch to TCP for long messages, the
     * port of a From URI stays, each SDP answer of an early dialog is taken. */
    pjsip_cfg()->endpt.disable_tcp_switch = PJ_TRUE;
    pjsip_cfg()->endpt.allow_port_in_fromto_hdr = PJ_TRUE;
    pjsip_cfg()->endpt.accept_multiple_sdp_answers = PJ_TRUE;
    pjsip_cfg()->endpt.follow_early_media_fork = PJ_TRUE;

    pj_bzero(recproxy_counters, sizeof(recproxy_counters));
    recproxy_door_reset();
    recproxy_auth_reset();
    recproxy_held_clear(&door);
    status = recproxy_resolve_start(endpt);
    if (status != PJ_SUCCESS)
        return status;
    status = recproxy_urn_start();
    if (status != PJ_SUCCESS)
        return status;
    recproxy_links_start();
    door.id = restorer.id = -1;
    status = pjsip_endpt_register_module(endpt, &door);
    if (status != PJ_SUCCESS)
        return status;
    status = pjsip_endpt_register_module(endpt, &restorer);
    if (status != PJ_SUCCESS)
        pjsip_endpt_unregister_module(endpt, &door);
    else
        recproxy_call_start(door.id);
    return status;
}

unsigned long long recproxy_counter_get(int counter)
{
    return counter >= 0 && counter < RECPROXY_COUNTERS ? recproxy_counters[counter] : 0;
}

void recproxy_memory_trim(void)
{
    malloc_trim(0);
}

int recproxy_max_calls(void)
{
    return PJSUA_MAX_CALLS;
}

int recproxy_abi(void)
{
    return RECPROXY_SIP_ABI;
}

const char *recproxy_tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
