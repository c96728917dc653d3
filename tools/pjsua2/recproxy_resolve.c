/* Names that recproxy resolves itself.
 *
 * PJSIP would ask the system, and wait for it.  Its way of being told is a
 * resolver of the application's, which it asks for everything, numeric addresses
 * as well; those go on to its own.  Other names wait here for an answer.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <string.h>

#define WAITING_MAX 64

struct waiting {
    unsigned id;
    int told; /* recproxy_resolve_next has named it */
    pjsip_transport_type_e type;
    int port;
    char name[PJ_MAX_HOSTNAME];
    void *token;
    pjsip_resolver_callback *cb;
};

static struct waiting waiting[WAITING_MAX];
static unsigned waiting_count, last_id;
static char pinned_name[PJ_MAX_HOSTNAME];
static pj_sockaddr pinned_address;
static void resolve(pjsip_resolver_t *resolver, pj_pool_t *pool, const pjsip_host_info *target,
                    void *token, pjsip_resolver_callback *cb);
static pjsip_ext_resolver resolving = {.resolve = &resolve};

static int is_numeric(const pj_str_t *host)
{
    pj_in6_addr six;
    pj_in_addr four;

    return pj_inet_pton(pj_AF_INET(), host, &four) == PJ_SUCCESS ||
           pj_inet_pton(pj_AF_INET6(), host, &six) == PJ_SUCCESS;
}

static pjsip_transport_type_e type_of(const pjsip_host_info *target)
{
    if (target->type != PJSIP_TRANSPORT_UNSPECIFIED)
        return target->type;
    if (target->flag & PJSIP_TRANSPORT_SECURE)
        return PJSIP_TRANSPORT_TLS;
    return target->flag & PJSIP_TRANSPORT_RELIABLE ? PJSIP_TRANSPORT_TCP : PJSIP_TRANSPORT_UDP;
}

static void answer(pjsip_transport_type_e type, int port, const pj_sockaddr *address, void *token,
                   pjsip_resolver_callback *cb)
{
    pjsip_server_addresses found;
    unsigned kind = (unsigned)type & ~(unsigned)PJSIP_TRANSPORT_IPV6;

    if (address->addr.sa_family == pj_AF_INET6())
        kind |= PJSIP_TRANSPORT_IPV6;
    pj_bzero(&found, sizeof(found));
    found.count = 1;
    found.entry[0].type = (pjsip_transport_type_e)kind;
    pj_sockaddr_cp(&found.entry[0].addr, address);
    found.entry[0].addr_len = (int)pj_sockaddr_get_len(address);
    if (!pj_sockaddr_get_port(address)) {
        if (!port)
            port = pjsip_transport_get_default_port_for_type(found.entry[0].type);
        pj_sockaddr_set_port(&found.entry[0].addr, (pj_uint16_t)port);
    }
    cb(PJ_SUCCESS, token, &found);
}

static void resolve(pjsip_resolver_t *resolver, pj_pool_t *pool, const pjsip_host_info *target,
                    void *token, pjsip_resolver_callback *cb)
{
    const pj_str_t *host = &target->addr.host;
    struct waiting *new;

    if (is_numeric(host)) {
        pjsip_resolver_set_ext_resolver(resolver, NULL);
        pjsip_resolve(resolver, pool, target, token, cb);
        pjsip_resolver_set_ext_resolver(resolver, &resolving);
        return;
    }
    if (pinned_name[0] && pj_stricmp2(host, pinned_name) == 0) {
        answer(type_of(target), target->addr.port, &pinned_address, token, cb);
        return;
    }
    if (waiting_count >= WAITING_MAX || host->slen <= 0 || host->slen >= PJ_MAX_HOSTNAME) {
        cb(PJ_ERESOLVE, token, NULL);
        return;
    }
    new = &waiting[waiting_count++];
    pj_bzero(new, sizeof(*new));
    if (++last_id == 0)
        ++last_id;
    new->id = last_id;
    new->type = type_of(target);
    new->port = target->addr.port;
    pj_memcpy(new->name, host->ptr, (size_t)host->slen);
    new->token = token;
    new->cb = cb;
}

static struct waiting *find(unsigned id)
{
    for (unsigned i = 0; i < waiting_count; i++) {
        if (waiting[i].id == id)
            return &waiting[i];
    }
    return NULL;
}

/* pj_sockaddr_parse would ask the system for what is not numeric, and wait. */
static int read_address(const char *address, pj_sockaddr *out)
{
    pj_str_t text = pj_str((char *)address), host;
    pj_in6_addr bytes;
    pj_uint16_t port;
    int family;

    return pj_sockaddr_parse2(pj_AF_UNSPEC(), 0, &text, &host, &port, &family) == PJ_SUCCESS &&
           host.slen > 0 && host.slen < PJ_INET6_ADDRSTRLEN &&
           pj_inet_pton(family, &host, &bytes) == PJ_SUCCESS &&
           pj_sockaddr_init(family, out, &host, port) == PJ_SUCCESS;
}

pj_status_t recproxy_resolve_start(pjsip_endpoint *endpt)
{
    pinned_name[0] = '\0';
    waiting_count = 0;
    return pjsip_endpt_set_ext_resolver(endpt, &resolving);
}

int recproxy_resolve_pin(const char *name, const char *address)
{
    pinned_name[0] = '\0';
    if (!name[0])
        return 0;
    if (pj_ansi_strlen(name) >= sizeof(pinned_name) || !read_address(address, &pinned_address))
        return -1;
    pj_ansi_strxcpy(pinned_name, name, sizeof(pinned_name));
    return 0;
}

unsigned recproxy_resolve_next(void)
{
    for (unsigned i = 0; i < waiting_count; i++) {
        if (!waiting[i].told) {
            waiting[i].told = 1;
            return waiting[i].id;
        }
    }
    return 0;
}

const char *recproxy_resolve_question(unsigned id)
{
    static char text[PJ_MAX_HOSTNAME + 32];
    const struct waiting *asked = find(id);
    unsigned kind;

    if (!asked)
        return "";
    kind = (unsigned)asked->type & ~(unsigned)PJSIP_TRANSPORT_IPV6;
    pj_ansi_snprintf(text, sizeof(text), "%s %d %s", asked->name, asked->port,
                     kind == PJSIP_TRANSPORT_TLS   ? "tls"
                     : kind == PJSIP_TRANSPORT_TCP ? "tcp"
                                                   : "udp");
    return text;
}

int recproxy_resolve_answer(unsigned id, const char *address)
{
    struct waiting *asked = find(id), done;
    pj_sockaddr place;
    int known;

    if (!asked)
        return -1;
    known = read_address(address, &place);
    /* The callback may send, and so ask for another name. */
    done = *asked;
    *asked = waiting[--waiting_count];
    if (known)
        answer(done.type, done.port, &place, done.token, done.cb);
    else
        done.cb(PJ_ERESOLVE, done.token, NULL);
    return 0;
}
