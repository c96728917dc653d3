/* What PJSUA can do for a call, but does not offer: headers in every message of a
 * dialog, reliable provisional responses from now on, a TLS listener begun anew, and
 * whether a call can be answered at all.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pjsua-lib/pjsua.h>
#include <pjsua-lib/pjsua_internal.h>
#include <string.h>

#define TOLD_MAX 512

static int told_slot = -1; /* index of the module's data in a dialog */

static pjsip_inv_session *invite_of(int call)
{
    if (!pjsua_var.calls || call < 0 || call >= (int)pjsua_var.ua_cfg.max_calls)
        return NULL;
    return pjsua_var.calls[call].inv;
}

void recproxy_call_start(int slot)
{
    told_slot = slot;
}

int recproxy_call_tell(int call, const char *headers)
{
    pjsip_inv_session *invite = invite_of(call);
    size_t size = strlen(headers);
    char *told;

    if (!invite || told_slot < 0 || size > TOLD_MAX)
        return -1;
    told = invite->dlg->mod_data[told_slot];
    if (!told) {
        told = pj_pool_zalloc(invite->dlg->pool, TOLD_MAX + 1);
        invite->dlg->mod_data[told_slot] = told;
    }
    pj_memcpy(told, headers, size + 1);
    return 0;
}

int recproxy_call_reliable(int call, int on)
{
    pjsip_inv_session *invite = invite_of(call);

    if (!invite || invite->role != PJSIP_ROLE_UAS)
        return -1;
    if (!on) {
        invite->options &= ~(unsigned)PJSIP_INV_REQUIRE_100REL;
        return 0;
    }
    if (invite->options & PJSIP_INV_REQUIRE_100REL)
        return 0;
    if (invite->state >= PJSIP_INV_STATE_CONNECTING || pjsip_100rel_attach(invite) != PJ_SUCCESS)
        return -1;
    invite->options |= PJSIP_INV_REQUIRE_100REL;
    return 0;
}

/* A clone of a response (for PRACK) has forgotten its dialog. */
static const pjsip_dialog *dialog_of(pjsip_tx_data *tdata)
{
    const pjsip_dialog *dialog = pjsip_tdata_get_dlg(tdata);
    pjsip_cid_hdr *id;
    pjsip_fromto_hdr *from, *to;

    if (dialog || tdata->msg->type != PJSIP_RESPONSE_MSG)
        return dialog;
    id = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_CALL_ID, NULL);
    from = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_FROM, NULL);
    to = pjsip_msg_find_hdr(tdata->msg, PJSIP_H_TO, NULL);
    if (!id || !from || !to || !to->tag.slen)
        return NULL;
    return pjsip_ua_find_dialog(&id->id, &to->tag, &from->tag, PJ_FALSE);
}

void recproxy_call_before_print(pjsip_tx_data *tdata)
{
    const pjsip_dialog *dialog;
    const char *text;

    if (told_slot < 0 || pjsip_tx_data_is_valid(tdata))
        return; /* printed before: a retransmission */
    dialog = dialog_of(tdata);
    text = dialog ? dialog->mod_data[told_slot] : NULL;
    while (text && *text) {
        const char *end = strchr(text, '\n'), *colon = strchr(text, ':');
        pjsip_hdr *former;

        if (!end || !colon || colon > end)
            return;
        pj_str_t name = {(char *)text, colon - text}, value = {(char *)colon + 1, end - colon - 1};
        while ((former = pjsip_msg_find_hdr_by_name(tdata->msg, &name, NULL)) != NULL)
            pj_list_erase(former);
        pjsip_msg_add_hdr(tdata->msg,
                          (pjsip_hdr *)pjsip_generic_string_hdr_create(tdata->pool, &name, &value));
        text = end + 1;
    }
}

/* Where PJSUA would send requests of the dialog that an INVITE makes (RFC 3261, 12.1.1). */
static const pjsip_sip_uri *next_hop(const pjsip_rx_data *rdata)
{
    const pjsip_hdr *end = &rdata->msg_info.msg->hdr;
    const void *uri;

    if (rdata->msg_info.record_route)
        return pjsip_uri_get_uri(rdata->msg_info.record_route->name_addr.uri);
    for (const pjsip_hdr *hdr = end->next; hdr != end; hdr = hdr->next) {
        const pjsip_contact_hdr *contact = (const pjsip_contact_hdr *)hdr;

        if (hdr->type != PJSIP_H_CONTACT || !contact->uri)
            continue;
        uri = pjsip_uri_get_uri(contact->uri);
        if (PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri))
            return uri;
    }
    uri = pjsip_uri_get_uri(rdata->msg_info.from->uri);
    return PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri) ? uri : NULL;
}

/* PJSUA takes what this account has, whatever the peer's Contact asks for. */
static int has_contact(pjsua_acc_id id)
{
    const pjsua_acc *account = &pjsua_var.acc[id];

    return account->contact.slen || account->cfg.force_contact.slen ||
           account->cfg.transport_id != PJSUA_INVALID_ID;
}

int recproxy_call_answerable(pjsip_rx_data *rdata)
{
    const pjsip_sip_uri *hop = next_hop(rdata);
    pjsua_acc_id account = pjsua_acc_find_for_incoming(rdata);
    unsigned wanted = PJSIP_TRANSPORT_UDP, mask = ~0u;

    if (!hop)
        return 0;
    if (hop->transport_param.slen)
        wanted = pjsip_transport_get_type_from_name(&hop->transport_param);
    if (PJSIP_URI_SCHEME_IS_SIPS(hop))
        wanted = PJSIP_TRANSPORT_TLS;
    if (pj_strchr(&hop->host, ':') || rdata->tp_info.transport->key.type & PJSIP_TRANSPORT_IPV6)
        wanted |= PJSIP_TRANSPORT_IPV6;
    if (account != PJSUA_INVALID_ID && has_contact(account)) {
        mask = PJSIP_TRANSPORT_IPV6;
        wanted &= mask;
    }
    for (size_t i = 0; i < PJ_ARRAY_SIZE(pjsua_var.tpdata); i++) {
        if (pjsua_var.tpdata[i].data.ptr && ((unsigned)pjsua_var.tpdata[i].type & mask) == wanted)
            return 1;
    }
    return 0;
}

int recproxy_tls_restart(int transport, const char *address, int port)
{
    char published[PJ_MAX_HOSTNAME];
    pj_str_t host = pj_str((char *)address);
    pjsip_host_port name;
    pjsip_tpfactory *factory;
    pj_sockaddr bound;
    pj_status_t status;

    if (transport < 0 || transport >= (int)PJ_ARRAY_SIZE(pjsua_var.tpdata) || port < 1 ||
        port > 65535)
        return PJ_EINVAL;
    factory = pjsua_var.tpdata[transport].data.factory;
    if ((pjsua_var.tpdata[transport].type & ~PJSIP_TRANSPORT_IPV6) != PJSIP_TRANSPORT_TLS ||
        !factory)
        return PJ_EINVAL;
    status = pj_sockaddr_init(pjsip_transport_type_get_af(factory->type), &bound, &host,
                              (pj_uint16_t)port);
    if (status != PJ_SUCCESS)
        return status;
    pj_bzero(&name, sizeof(name));
    if (factory->has_addr_name && factory->addr_name.host.slen < (pj_ssize_t)sizeof(published)) {
        /* The factory forgets its own text while it copies the new one. */
        pj_memcpy(published, factory->addr_name.host.ptr, (size_t)factory->addr_name.host.slen);
        pj_strset(&name.host, published, factory->addr_name.host.slen);
        name.port = factory->addr_name.port;
    }
    return pjsip_tls_transport_restart(factory, &bound, &name);
}
