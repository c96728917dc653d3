/* libFuzzer: names that recproxy has resolved or is to resolve, and where PJSIP is sent for them.
 *
 * The input is a name, a line end, an address, a line end, and the host that PJSIP
 * asks for.  The part is compiled in here with a resolver of our own behind it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>

static pjsip_ext_resolver *asked_first;
static unsigned passed_on, answered, failed;
static int wanted_type, wanted_secure;

static pj_status_t fake_set_ext(pjsip_resolver_t *resolver, pjsip_ext_resolver *ext)
{
    (void)resolver;
    asked_first = ext;
    return PJ_SUCCESS;
}

static pj_status_t fake_endpt_set_ext(pjsip_endpoint *endpt, pjsip_ext_resolver *ext)
{
    (void)endpt;
    asked_first = ext;
    return PJ_SUCCESS;
}

static void fake_resolve(pjsip_resolver_t *resolver, pj_pool_t *pool, const pjsip_host_info *target,
                         void *token, pjsip_resolver_callback *cb)
{
    (void)resolver;
    (void)pool;
    (void)target;
    (void)token;
    (void)cb;
    if (asked_first)
        abort(); /* it would ask us again, for ever */
    passed_on++;
}

#define pjsip_resolver_set_ext_resolver fake_set_ext
#define pjsip_endpt_set_ext_resolver fake_endpt_set_ext
#define pjsip_resolve fake_resolve
#include "../recproxy_resolve.c"

static void found(pj_status_t status, void *token, const pjsip_server_addresses *addresses)
{
    const pj_sockaddr *address;
    int v6;

    (void)token;
    if (status != PJ_SUCCESS) {
        failed++;
        return;
    }
    address = &addresses->entry[0].addr;
    v6 = address->addr.sa_family == pj_AF_INET6();
    answered++;
    if (addresses->count != 1 || !pj_sockaddr_get_port(address))
        abort();
    if (!v6 != !(addresses->entry[0].type & PJSIP_TRANSPORT_IPV6))
        abort();
    if ((int)(addresses->entry[0].type & ~(unsigned)PJSIP_TRANSPORT_IPV6) != wanted_type &&
        wanted_type)
        abort();
    if (addresses->entry[0].addr_len != (int)pj_sockaddr_get_len(address))
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return pj_init() == PJ_SUCCESS && recproxy_resolve_start(NULL) == PJ_SUCCESS ? 0 : 1;
}

static char *copy(const pj_str_t *text)
{
    char *out = malloc((size_t)text->slen + 1);

    if (!out)
        abort();
    memcpy(out, text->ptr, (size_t)text->slen);
    out[text->slen] = '\0';
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int types[] = {PJSIP_TRANSPORT_UNSPECIFIED, PJSIP_TRANSPORT_UDP,
                                PJSIP_TRANSPORT_TCP, PJSIP_TRANSPORT_TLS};
    const char *text = (const char *)data, *end = text + size;
    pj_str_t lines[3];
    char *name, *address;
    pjsip_host_info target;
    unsigned waited;
    int refused;

    for (size_t i = 0; i < PJ_ARRAY_SIZE(lines); i++)
        lines[i] = stage_line(&text, end);
    name = copy(&lines[0]);
    address = copy(&lines[1]);
    refused = recproxy_resolve_pin(name, address);
    if (stage_names_asked() != 0)
        abort(); /* only numeric addresses: nothing may wait for the system's resolver */

    pj_bzero(&target, sizeof(target));
    wanted_type = types[size % PJ_ARRAY_SIZE(types)];
    wanted_secure = wanted_type == PJSIP_TRANSPORT_TLS;
    target.type = wanted_type;
    target.flag = wanted_secure ? PJSIP_TRANSPORT_SECURE : 0;
    target.addr.host = lines[2];
    passed_on = answered = failed = 0;
    resolve(NULL, NULL, &target, NULL, &found);
    waited = recproxy_resolve_next();
    if (passed_on + answered + failed + (waited != 0) != 1 || asked_first != &resolving)
        abort();
    if (waited) {
        const char *place = size & 1 ? "[2001:db8::1]:5070" : size & 2 ? "a.example" : "";

        /* A name waits for an answer, which comes once. */
        if (!*recproxy_resolve_question(waited) || recproxy_resolve_next() != 0)
            abort();
        if (recproxy_resolve_answer(waited, place) || !recproxy_resolve_answer(waited, place) ||
            answered != (size & 1))
            abort();
        if (stage_names_asked() != 0)
            abort();
        answered = 0;
    }
    /* Ours only if it is the very name that was pinned. */
    if (answered && (refused || pj_stricmp2(&lines[2], name) != 0))
        abort();
    if (!refused && *name && pj_stricmp2(&lines[2], name) == 0 && !answered)
        abort();
    recproxy_resolve_pin("", "");
    free(name);
    free(address);
    return 0;
}
