/* Digest authentication at the door, and lists of networks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <stdlib.h>

#define GROUPS_MAX 256
#define CHALLENGE_MAX 512

/* A trunk whose INVITEs need a password. */
struct group {
    struct recproxy_nets nets;
    char challenge[2][CHALLENGE_MAX];
};

static struct group *groups[GROUPS_MAX];
static int group_count;
static struct recproxy_nets locked;
static unsigned short_number;

int recproxy_nets_read(const char *texts, size_t size, struct recproxy_nets *nets)
{
    size_t count = 0, start = 0;
    struct recproxy_net *list;

    for (size_t i = 0; i < size; i++)
        count += texts[i] == ',';
    list = calloc(count + 1, sizeof(*list));
    if (!list)
        return -2;
    count = 0;
    while (start < size) {
        const char *comma = memchr(texts + start, ',', size - start);
        size_t end = comma ? (size_t)(comma - texts) : size;

        if (recproxy_net_parse(texts + start, end - start, &list[count]) != 0) {
            free(list);
            return (int)count;
        }
        count++;
        start = end + 1;
    }
    nets->list = list;
    nets->count = count;
    return -1;
}

int recproxy_nets_hold(const struct recproxy_nets *nets, const pj_sockaddr *address)
{
    const uint8_t *bytes = pj_sockaddr_get_addr(address);
    size_t len = pj_sockaddr_get_addr_len(address);

    for (size_t i = 0; i < nets->count; i++) {
        if (recproxy_net_match(&nets->list[i], bytes, len))
            return 1;
    }
    return 0;
}

void recproxy_nets_drop(struct recproxy_nets *nets)
{
    free(nets->list);
    nets->list = NULL;
    nets->count = 0;
}

/* Whether what is dialled is as short as an emergency number, separators left out. */
static int is_short(const pj_str_t *number)
{
    static const char separators[] = "-. ()";
    unsigned digits = 0;

    for (pj_ssize_t i = 0; i < number->slen && number->ptr[i] != ';'; i++)
        digits += memchr(separators, number->ptr[i], sizeof(separators) - 1) == NULL;
    return digits <= short_number;
}

/* Whether the call may be one to an emergency service, which only the policy knows. */
static int may_be_emergency(pjsip_uri *uri)
{
    const pj_str_t *scheme = pjsip_uri_get_scheme(uri);

    uri = pjsip_uri_get_uri(uri);
    if (pj_stricmp2(scheme, "sip") == 0 || pj_stricmp2(scheme, "sips") == 0)
        return is_short(&((const pjsip_sip_uri *)uri)->user);
    if (pj_stricmp2(scheme, "tel") == 0)
        return is_short(&((const pjsip_tel_uri *)uri)->number);
    return 1;
}

static struct group *group_of(const pj_sockaddr *address)
{
    for (int i = 0; i < group_count; i++) {
        if (recproxy_nets_hold(&groups[i]->nets, address))
            return groups[i];
    }
    return NULL;
}

pj_bool_t recproxy_auth_refuses(pjsip_rx_data *rdata, pjsip_hdr *headers)
{
    static const pj_str_t name = {"Proxy-Authenticate", 18};
    struct group *group = group_of(&rdata->pkt_info.src_addr);

    if (!group || may_be_emergency(rdata->msg_info.msg->line.req.uri))
        return PJ_FALSE;
    if (recproxy_nets_hold(&locked, &rdata->pkt_info.src_addr)) {
        recproxy_counters[RECPROXY_LOCKED_OUT]++;
        return recproxy_respond(rdata, PJSIP_SC_FORBIDDEN, headers);
    }
    if (pjsip_msg_find_hdr(rdata->msg_info.msg, PJSIP_H_PROXY_AUTHORIZATION, NULL))
        return PJ_FALSE;
    if (!group->challenge[0][0])
        return recproxy_respond(rdata, PJSIP_SC_SERVICE_UNAVAILABLE, headers);
    for (size_t i = 0; i < PJ_ARRAY_SIZE(group->challenge); i++) {
        pj_str_t value = pj_str(group->challenge[i]);

        if (value.slen)
            pj_list_push_back(headers,
                              pjsip_generic_string_hdr_create(rdata->tp_info.pool, &name, &value));
    }
    recproxy_counters[RECPROXY_CHALLENGED]++;
    return recproxy_respond(rdata, PJSIP_SC_PROXY_AUTHENTICATION_REQUIRED, headers);
}

void recproxy_auth_clear(void)
{
    while (group_count > 0) {
        struct group *group = groups[--group_count];

        recproxy_nets_drop(&group->nets);
        free(group);
    }
}

int recproxy_auth_add(const char *nets, size_t size)
{
    struct group *group = group_count < GROUPS_MAX ? calloc(1, sizeof(*group)) : NULL;
    int wrong = group ? recproxy_nets_read(nets, size, &group->nets) : 0;

    if (!group || wrong != -1) {
        free(group);
        return wrong >= 0 ? -1 - wrong : -1;
    }
    groups[group_count] = group;
    return group_count++;
}

void recproxy_auth_challenge(int group, const char *first, const char *second)
{
    if (group < 0 || group >= group_count)
        return;
    pj_ansi_strxcpy(groups[group]->challenge[0], first, CHALLENGE_MAX);
    pj_ansi_strxcpy(groups[group]->challenge[1], second, CHALLENGE_MAX);
}

int recproxy_auth_lock(const char *nets, size_t size)
{
    struct recproxy_nets read;
    int wrong = recproxy_nets_read(nets, size, &read);

    if (wrong != -1)
        return wrong;
    recproxy_nets_drop(&locked);
    locked = read;
    return -1;
}

void recproxy_auth_reset(void)
{
    recproxy_auth_clear();
    recproxy_nets_drop(&locked);
    short_number = RECPROXY_SHORT_NUMBER;
}

void recproxy_auth_short(unsigned digits)
{
    short_number = digits;
}
