/* What PJSUA can do for a call, but does not offer: headers in every message of a
 * dialog, reliable provisional responses from now on, a TLS listener begun anew, and
 * whether whoever calls, or moves within a call, can be reached at all.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pjsua-lib/pjsua.h>
#include <pjsua-lib/pjsua_internal.h>
#include <string.h>

#define TOLD_MAX 512
#define UUID_SIZE 32
#define UUID_NIL "00000000000000000000000000000000"

static int told_slot = -1; /* index of the module's data in a dialog */

/* What our answer to the message being treated says if no dialog can tell: 100 Trying
 * and refusals of a new call, and the ACK to a failure, come before PJSIP or Python
 * know of a dialog, or without one. */
static struct {
    char branch[256]; /* of its Via, which the answer repeats; empty if there is none */
    char told[TOLD_MAX + 1];
} treated;

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

static void treat(const pjsip_rx_data *rdata)
{
    const pj_str_t *branch = &rdata->msg_info.via->branch_param;
    size_t size = (size_t)branch->slen < sizeof(treated.branch) ? (size_t)branch->slen : 0;

    if (size) /* there may be none (RFC 2543) */
        pj_memcpy(treated.branch, branch->ptr, size);
    treated.branch[size] = '\0';
}

/* The UUID by which the sender of a message names its end (RFC 7989, 5), in small letters;
 * 0 if it has none. */
static int read_uuid(const pjsip_msg *msg, char uuid[UUID_SIZE + 1])
{
    static const pj_str_t name = {"Session-ID", 10};
    const pjsip_generic_string_hdr *hdr = pjsip_msg_find_hdr_by_name(msg, &name, NULL);

    if (!hdr || hdr->hvalue.slen < UUID_SIZE)
        return 0;
    for (int i = 0; i < UUID_SIZE; i++) {
        if (!pj_isxdigit(hdr->hvalue.ptr[i]))
            return 0;
        uuid[i] = (char)pj_tolower(hdr->hvalue.ptr[i]);
    }
    uuid[UUID_SIZE] = '\0';
    if (hdr->hvalue.slen > UUID_SIZE && !strchr("; \t", hdr->hvalue.ptr[UUID_SIZE]))
        return 0;
    return strcmp(uuid, UUID_NIL) != 0;
}

void recproxy_call_asked(const pjsip_rx_data *rdata)
{
    const pjsip_msg *msg = rdata->msg_info.msg;
    char uuid[UUID_SIZE + 1];

    treated.branch[0] = '\0';
    if (msg->line.req.method.id != PJSIP_INVITE_METHOD || rdata->msg_info.to->tag.slen ||
        !read_uuid(msg, uuid))
        return;
    pj_ansi_snprintf(treated.told, sizeof(treated.told), "Session-ID:%s;remote=%s\n", UUID_NIL,
                     uuid);
    treat(rdata);
}

void recproxy_call_refused(pjsip_rx_data *rdata)
{
    const pjsip_cseq_hdr *cseq = rdata->msg_info.cseq;
    const pjsip_transaction *tsx;
    const pjsip_dialog *dialog;
    pj_str_t key;

    treated.branch[0] = '\0';
    if (told_slot < 0 || rdata->msg_info.msg->line.status.code < 300 ||
        cseq->method.id != PJSIP_INVITE_METHOD ||
        pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAC, &cseq->method, rdata) !=
            PJ_SUCCESS)
        return;
    tsx = pjsip_tsx_layer_find_tsx(&key, PJ_FALSE);
    dialog = tsx ? pjsip_tsx_get_dlg((pjsip_transaction *)tsx) : NULL;
    if (!dialog || !dialog->mod_data[told_slot])
        return;
    pj_memcpy(treated.told, dialog->mod_data[told_slot], sizeof(treated.told));
    treat(rdata);
}

/* Headers, as recproxy_call_tell takes them, or NULL. */
static const char *told_in(pjsip_tx_data *tdata, int *lent)
{
    const pjsip_dialog *dialog = dialog_of(tdata);
    const pjsip_msg *msg = tdata->msg;
    const pjsip_via_hdr *via;

    *lent = 0;
    if (dialog && dialog->mod_data[told_slot])
        return dialog->mod_data[told_slot];
    if (dialog && (msg->type != PJSIP_RESPONSE_MSG ||
                   (msg->line.status.code > 100 && msg->line.status.code < 300)))
        return NULL;
    via = pjsip_msg_find_hdr(msg, PJSIP_H_VIA, NULL);
    if (!via || !treated.branch[0] || pj_strcmp2(&via->branch_param, treated.branch) != 0)
        return NULL;
    *lent = 1;
    return treated.told;
}

void recproxy_call_after_print(pjsip_tx_data *tdata, int slot)
{
    if (tdata->mod_data[slot])
        pj_list_erase(tdata->mod_data[slot]);
    tdata->mod_data[slot] = NULL;
}

void recproxy_call_before_print(pjsip_tx_data *tdata, int slot)
{
    const char *text;
    int lent;

    if (told_slot < 0 || pjsip_tx_data_is_valid(tdata))
        return;                             /* printed before: a retransmission */
    recproxy_call_after_print(tdata, slot); /* and could not be, at the last attempt */
    text = told_in(tdata, &lent);
    while (text && *text) {
        const char *end = strchr(text, '\n'), *colon = strchr(text, ':');
        pjsip_hdr *former, *told;

        if (!end || !colon || colon > end)
            return;
        pj_str_t name = {(char *)text, colon - text}, value = {(char *)colon + 1, end - colon - 1};
        while ((former = pjsip_msg_find_hdr_by_name(tdata->msg, &name, NULL)) != NULL)
            pj_list_erase(former);
        told = (pjsip_hdr *)pjsip_generic_string_hdr_create(tdata->pool, &name, &value);
        pjsip_msg_add_hdr(tdata->msg, told);
        if (lent && tdata->msg->type == PJSIP_RESPONSE_MSG)
            tdata->mod_data[slot] = told; /* PJSIP makes 180 and 200 of what was 100 */
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

/* Whether there is a transport for requests to this URI: all of its type, or those bits of it
 * that `mask` leaves. */
static int has_transport(const pjsip_sip_uri *hop, int six, unsigned mask)
{
    unsigned wanted = PJSIP_TRANSPORT_UDP;

    if (hop->transport_param.slen)
        wanted = pjsip_transport_get_type_from_name(&hop->transport_param);
    if (PJSIP_URI_SCHEME_IS_SIPS(hop))
        wanted = PJSIP_TRANSPORT_TLS;
    if (six)
        wanted |= PJSIP_TRANSPORT_IPV6;
    for (size_t i = 0; i < PJ_ARRAY_SIZE(pjsua_var.tpdata); i++) {
        if (pjsua_var.tpdata[i].data.ptr &&
            ((unsigned)pjsua_var.tpdata[i].type & mask) == (wanted & mask))
            return 1;
    }
    return 0;
}

static int is_six(const pjsip_sip_uri *uri)
{
    return pj_strchr(&uri->host, ':') != NULL;
}

int recproxy_call_answerable(pjsip_rx_data *rdata)
{
    const pjsip_sip_uri *hop = next_hop(rdata);
    pjsua_acc_id account = pjsua_acc_find_for_incoming(rdata);
    int bound = account != PJSUA_INVALID_ID && has_contact(account);

    return hop && has_transport(
                      hop, is_six(hop) || rdata->tp_info.transport->key.type & PJSIP_TRANSPORT_IPV6,
                      bound ? PJSIP_TRANSPORT_IPV6 : ~0u);
}

/* PJSIP takes the first Contact, whatever it is, as the new target of the dialog, even
 * of a request that it refuses (RFC 3261, 12.2.2 says otherwise). */
int recproxy_call_still_reached(pjsip_rx_data *rdata)
{
    const pjsip_contact_hdr *contact =
        pjsip_msg_find_hdr(rdata->msg_info.msg, PJSIP_H_CONTACT, NULL);
    const pjsip_dialog *dialog = pjsip_ua_find_dialog(
        &rdata->msg_info.cid->id, &rdata->msg_info.to->tag, &rdata->msg_info.from->tag, PJ_FALSE);
    unsigned mask = ~0u;
    const pjsip_sip_uri *uri;
    pj_in_addr literal;

    if (!dialog || !pj_list_empty(&dialog->route_set) || !contact || !contact->uri)
        return 1; /* no call, or a proxy's affair, or nothing new */
    uri = pjsip_uri_get_uri(contact->uri);
    if (!PJSIP_URI_SCHEME_IS_SIP(uri) && !PJSIP_URI_SCHEME_IS_SIPS(uri))
        return 0;
    if (dialog->tp_sel.type != PJSIP_TPSELECTOR_NONE)
        mask = PJSIP_TRANSPORT_IPV6; /* it stays with the transport that it has */
    if (!is_six(uri) && pj_inet_pton(PJ_AF_INET, &uri->host, &literal) != PJ_SUCCESS)
        mask &= ~(unsigned)PJSIP_TRANSPORT_IPV6; /* a name may stand for either */
    return has_transport(uri, is_six(uri), mask);
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
