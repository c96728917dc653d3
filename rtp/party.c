#include "party.h"

#include <arpa/inet.h>
#include <string.h>

int address_read(union address *out, const char *text, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        return 0;
    }
    return -1;
}

socklen_t address_length(const union address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

static in_port_t port_of(const union address *address)
{
    return address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port;
}

static void set_port(union address *address, in_port_t port)
{
    if (address->any.sa_family == AF_INET6) {
        address->v6.sin6_port = port;
    } else {
        address->v4.sin_port = port;
    }
}

static bool same_host(const union address *a, const union address *b)
{
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    if (a->any.sa_family == AF_INET6) {
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
    }
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

void party_set(struct party *party, const union address *address, uint16_t rtcp_port,
               enum relay_latch latch)
{
    memset(party, 0, sizeof *party);
    party->latch = latch;
    if (address == NULL) {
        return;
    }
    party->present = true;
    party->signalled = *address;
    for (int component = RTP; component <= RTCP; component++) {
        struct flow *flow = &party->flows[component];
        flow->signalled_port = component == RTP ? port_of(address) : htons(rtcp_port);
        if (flow->signalled_port != 0) {
            flow->target = *address;
            set_port(&flow->target, flow->signalled_port);
            flow->target_length = address_length(address);
        }
    }
}

static void fix_source(struct flow *flow, const union address *source)
{
    flow->source = *source;
    flow->latched = true;
}

/* The host is right. The first port is taken; the signalled one wins over it, for good. */
static bool accepts_port(struct flow *flow, const union address *source)
{
    in_port_t port = port_of(source);
    if (!flow->latched || (port == flow->signalled_port && port != port_of(&flow->source))) {
        fix_source(flow, source);
        return true;
    }
    return port == port_of(&flow->source);
}

/* The first source is taken, then fixed; RTCP must come from the host that RTP was latched to. */
static bool accepts_any(struct party *party, enum component component, const union address *source)
{
    struct flow *flow = &party->flows[component];
    const struct flow *rtp = &party->flows[RTP];
    if (flow->latched) {
        return same_host(source, &flow->source) && port_of(source) == port_of(&flow->source);
    }
    if (component == RTCP && (!rtp->latched || !same_host(source, &rtp->source))) {
        return false;
    }
    fix_source(flow, source);
    flow->target = *source;
    flow->target_length = address_length(source);
    return true;
}

bool party_accepts(struct party *party, enum component component, const union address *source)
{
    if (!party->present) {
        return false;
    }
    if (party->latch == RELAY_ANY) {
        return accepts_any(party, component, source);
    }
    if (!same_host(source, &party->signalled)) {
        return false;
    }
    struct flow *flow = &party->flows[component];
    if (party->latch == RELAY_EXACT) {
        return port_of(source) == flow->signalled_port;
    }
    return accepts_port(flow, source);
}
