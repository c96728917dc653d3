/* libFuzzer: lists of networks and numbers, as the configuration and the lock-out give them.
 *
 * A list is what its members are, each read on its own; a list with a wrong member
 * leaves the old one as it was.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return pj_init() == PJ_SUCCESS ? 0 : 1;
}

static pj_sockaddr address_of(const uint8_t *bytes, int v6)
{
    pj_sockaddr out;

    pj_bzero(&out, sizeof(out));
    if (v6) {
        out.ipv6.sin6_family = (pj_uint16_t)pj_AF_INET6();
        memcpy(&out.ipv6.sin6_addr, bytes, 16);
    } else {
        out.ipv4.sin_family = (pj_uint16_t)pj_AF_INET();
        memcpy(&out.ipv4.sin_addr, bytes, 4);
    }
    return out;
}

/* Member by member: the index of the first wrong one, else -1, and whether one holds it. */
static int expected(const char *texts, size_t size, const pj_sockaddr *address, int *holds)
{
    int index = 0;

    *holds = 0;
    while (size) {
        const char *comma = memchr(texts, ',', size);
        size_t one = comma ? (size_t)(comma - texts) : size;
        struct recproxy_net net;

        if (recproxy_net_parse(texts, one, &net) != 0)
            return index;
        *holds |= recproxy_net_match(&net, pj_sockaddr_get_addr(address),
                                     pj_sockaddr_get_addr_len(address));
        index++;
        texts += comma ? one + 1 : one;
        size -= comma ? one + 1 : one;
    }
    return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recproxy_nets nets = {NULL, 0};
    pj_sockaddr address;
    char *texts;
    int wrong, holds, before, group;

    if (size < 17)
        return 0;
    address = address_of(data + 1, data[0] & 1);
    data += 17;
    size -= 17;
    texts = malloc(size ? size : 1); /* no NUL behind it */
    if (!texts)
        abort();
    memcpy(texts, data, size);

    wrong = expected(texts, size, &address, &holds);
    if (recproxy_nets_read(texts, size, &nets) != wrong)
        abort();
    if (wrong == -1 && recproxy_nets_hold(&nets, &address) != holds)
        abort();
    recproxy_nets_drop(&nets);

    before = recproxy_door_knows(&address);
    if (recproxy_acl_set(texts, size) != wrong ||
        recproxy_door_knows(&address) != (wrong == -1 ? holds : before))
        abort();
    recproxy_auth_clear();
    group = recproxy_auth_add(texts, size);
    if (wrong == -1 ? group != 0 : group != -1 - wrong)
        abort();
    recproxy_auth_challenge(group, "Digest realm=\"a\"", "");
    if (recproxy_auth_lock(texts, size) != wrong || recproxy_fork_clients(texts, size) != wrong)
        abort();
    if (recproxy_emergency_set(texts, size) != 0)
        abort();
    recproxy_auth_reset();
    recproxy_exempt_reset();
    recproxy_fork_reset();
    free(texts);
    return 0;
}
