/* Names that recproxy has resolved itself.
 *
 * PJSIP would ask the system, and wait for it.  Its way of being told is a
 * resolver of the application's, which it asks for everything, numeric addresses
 * as well; those go on to its own.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

static char pinned_name[PJ_MAX_HOSTNAME];
static pj_sockaddr pinned_address;
static void resolve(pjsip_resolver_t *resolver, pj_pool_t *pool, const pjsip_host_info *target,
                    void *token, pjsip_resolver_callback *cb);
static pjsip_ext_resolver pinning = {.resolve = &resolve};

static void resolve(pjsip_resolver_t *resolver, pj_pool_t *pool, const pjsip_host_info *target,
                    void *token, pjsip_resolver_callback *cb)
{
    pjsip_server_addresses found;
    unsigned type =
        target->type == PJSIP_TRANSPORT_UNSPECIFIED ? PJSIP_TRANSPORT_UDP : target->type;
    int secure = (target->flag & PJSIP_TRANSPORT_SECURE) != 0;

    if (!pinned_name[0] || pj_stricmp2(&target->addr.host, pinned_name) != 0) {
        pjsip_resolver_set_ext_resolver(resolver, NULL);
        pjsip_resolve(resolver, pool, target, token, cb);
        pjsip_resolver_set_ext_resolver(resolver, &pinning);
        return;
    }
    pj_bzero(&found, sizeof(found));
    found.count = 1;
    if (pinned_address.addr.sa_family == pj_AF_INET6())
        type |= PJSIP_TRANSPORT_IPV6;
    found.entry[0].type = type;
    pj_sockaddr_cp(&found.entry[0].addr, &pinned_address);
    found.entry[0].addr_len = (int)pj_sockaddr_get_len(&pinned_address);
    if (!pj_sockaddr_get_port(&found.entry[0].addr)) {
        int port = target->addr.port ? target->addr.port : secure ? 5061 : 5060;

        pj_sockaddr_set_port(&found.entry[0].addr, (pj_uint16_t)port);
    }
    cb(PJ_SUCCESS, token, &found);
}

pj_status_t recproxy_resolve_start(pjsip_endpoint *endpt)
{
    pinned_name[0] = '\0';
    return pjsip_endpt_set_ext_resolver(endpt, &pinning);
}

int recproxy_resolve_pin(const char *name, const char *address)
{
    pj_str_t text = pj_str((char *)address), host;
    pj_in6_addr bytes;
    pj_uint16_t port;
    int family;

    pinned_name[0] = '\0';
    if (!name[0])
        return 0;
    if (pj_ansi_strlen(name) >= sizeof(pinned_name))
        return -1;
    /* pj_sockaddr_parse would ask the system for what is not numeric, and wait. */
    if (pj_sockaddr_parse2(pj_AF_UNSPEC(), 0, &text, &host, &port, &family) != PJ_SUCCESS ||
        host.slen == 0 || host.slen >= PJ_INET6_ADDRSTRLEN ||
        pj_inet_pton(family, &host, &bytes) != PJ_SUCCESS ||
        pj_sockaddr_init(family, &pinned_address, &host, port) != PJ_SUCCESS)
        return -1;
    pj_ansi_strxcpy(pinned_name, name, sizeof(pinned_name));
    return 0;
}
