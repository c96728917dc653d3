/* Address prefixes in CIDR notation: parse and match.  No PJSIP in here, so
 * that the fuzzer and the sanitisers run it alone.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_NET_H
#define RECPROXY_NET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest text form: an IPv6 address with an IPv4 tail, '/', three digits. */
#define RECPROXY_NET_TEXT_MAX 49

struct recproxy_net {
    uint8_t addr[16]; /* network order; IPv4 uses the first four bytes */
    uint8_t bits;     /* prefix length: 0..32 or 0..128 */
    uint8_t len;      /* bytes of addr in use: 4 or 16 */
};

/* Parse "192.0.2.0/24", "192.0.2.1", "2001:db8::/32".  An IPv4-mapped IPv6
 * prefix (::ffff:192.0.2.0/120) becomes its IPv4 form.  Bits behind the prefix
 * must be zero.  Returns 0, or -1 with *net untouched. */
int recproxy_net_parse(const char *text, size_t size, struct recproxy_net *net);

/* 1 if addr (len 4 or 16 bytes; IPv4-mapped IPv6 counts as IPv4) is in net. */
int recproxy_net_match(const struct recproxy_net *net, const uint8_t *addr, size_t len);

#ifdef __cplusplus
}
#endif
#endif
