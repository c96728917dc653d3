/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_net.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int parse_bits(const char *text, size_t size, unsigned max, uint8_t *bits)
{
    unsigned value = 0;

    if (size == 0 || size > 3 || (size > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > max)
        return -1;
    *bits = (uint8_t)value;
    return 0;
}

static int same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);

    if (memcmp(a, b, whole) != 0)
        return 0;
    return rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

int recproxy_net_parse(const char *text, size_t size, struct recproxy_net *net)
{
    char host[RECPROXY_NET_TEXT_MAX + 1];
    struct recproxy_net out = {{0}, 0, 0};
    const char *slash;
    size_t host_size;
    unsigned max;

    if (size == 0 || size > RECPROXY_NET_TEXT_MAX || memchr(text, '\0', size) != NULL)
        return -1;
    slash = memchr(text, '/', size);
    host_size = slash ? (size_t)(slash - text) : size;
    memcpy(host, text, host_size);
    host[host_size] = '\0';

    if (inet_pton(AF_INET, host, out.addr) == 1)
        out.len = 4;
    else if (inet_pton(AF_INET6, host, out.addr) == 1)
        out.len = 16;
    else
        return -1;
    max = out.len * 8u;
    out.bits = (uint8_t)max;
    if (slash && parse_bits(slash + 1, size - host_size - 1, max, &out.bits) != 0)
        return -1;

    if (out.len == 16 && out.bits >= 96 && memcmp(out.addr, mapped_prefix, 12) == 0) {
        memmove(out.addr, out.addr + 12, 4);
        memset(out.addr + 4, 0, 12);
        out.bits = (uint8_t)(out.bits - 96);
        out.len = 4;
    }
    for (unsigned bit = out.bits; bit < out.len * 8u; bit++) {
        if (out.addr[bit / 8] & (0x80u >> (bit % 8)))
            return -1;
    }
    *net = out;
    return 0;
}

int recproxy_net_match(const struct recproxy_net *net, const uint8_t *addr, size_t len)
{
    if (len == 16 && memcmp(addr, mapped_prefix, 12) == 0) {
        addr += 12;
        len = 4;
    }
    return net->len == len && same_prefix(net->addr, addr, net->bits);
}
