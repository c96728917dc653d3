/* The source check: each latch mode, both components, both address families. */
#include "check.h"
#include "party.h"

#include <arpa/inet.h>
#include <string.h>

static union address at(const char *text, uint16_t port)
{
    union address address;
    CHECK(address_read(&address, text, port) == 0);
    return address;
}

static bool from(struct party *party, enum component component, const char *text, uint16_t port)
{
    union address source = at(text, port);
    return party_accepts(party, component, &source);
}

static bool targets(const struct party *party, enum component component, const char *text,
                    uint16_t port)
{
    union address expected = at(text, port);
    const struct flow *flow = &party->flows[component];
    return flow->target_length == address_length(&expected) &&
           memcmp(&flow->target, &expected, flow->target_length) == 0;
}

static struct party party_at(const char *text, uint16_t port, uint16_t rtcp_port,
                             enum relay_latch latch)
{
    struct party party;
    union address address = at(text, port);
    memset(&party, 0xff, sizeof party); /* nothing of before may count */
    party_set(&party, &address, rtcp_port, latch);
    return party;
}

static void exact(void)
{
    struct party party = party_at("192.0.2.1", 4000, 4001, RELAY_EXACT);
    CHECK(from(&party, RTP, "192.0.2.1", 4000));
    CHECK(!from(&party, RTP, "192.0.2.1", 4002));
    CHECK(!from(&party, RTP, "192.0.2.2", 4000));
    CHECK(from(&party, RTCP, "192.0.2.1", 4001));
    CHECK(!from(&party, RTCP, "192.0.2.1", 4000));
    CHECK(targets(&party, RTP, "192.0.2.1", 4000) && targets(&party, RTCP, "192.0.2.1", 4001));
    party = party_at("192.0.2.1", 4000, 0, RELAY_EXACT);
    CHECK(!from(&party, RTCP, "192.0.2.1", 4001));
    CHECK(party.flows[RTCP].target_length == 0);
}

static void address_mode(void)
{
    struct party party = party_at("192.0.2.1", 4000, 4001, RELAY_ADDRESS);
    CHECK(!from(&party, RTP, "192.0.2.2", 4000));
    CHECK(from(&party, RTP, "192.0.2.1", 5000));
    CHECK(!from(&party, RTP, "192.0.2.1", 5001));
    CHECK(from(&party, RTP, "192.0.2.1", 5000));
    CHECK(from(&party, RTP, "192.0.2.1", 4000));  /* the signalled port wins ... */
    CHECK(!from(&party, RTP, "192.0.2.1", 5000)); /* ... for good */
    CHECK(from(&party, RTP, "192.0.2.1", 4000));
    CHECK(targets(&party, RTP, "192.0.2.1", 4000));
    CHECK(from(&party, RTCP, "192.0.2.1", 6000)); /* latched on its own */
    CHECK(!from(&party, RTCP, "192.0.2.1", 6001));
    party = party_at("192.0.2.1", 4000, 0, RELAY_ADDRESS);
    CHECK(from(&party, RTCP, "192.0.2.1", 6000));
    CHECK(!from(&party, RTCP, "192.0.2.1", 6001));
    CHECK(party.flows[RTCP].target_length == 0);
}

static void any(void)
{
    struct party party = party_at("10.0.0.1", 4000, 4001, RELAY_ANY);
    CHECK(targets(&party, RTP, "10.0.0.1", 4000));
    CHECK(!from(&party, RTCP, "198.51.100.7", 31001)); /* RTP has to come first */
    CHECK(from(&party, RTP, "198.51.100.7", 31000));
    CHECK(targets(&party, RTP, "198.51.100.7", 31000));
    CHECK(!from(&party, RTP, "198.51.100.8", 31000));
    CHECK(!from(&party, RTP, "198.51.100.7", 31002));
    CHECK(!from(&party, RTP, "10.0.0.1", 4000));
    CHECK(!from(&party, RTCP, "198.51.100.8", 31001));
    CHECK(targets(&party, RTCP, "10.0.0.1", 4001));
    CHECK(from(&party, RTCP, "198.51.100.7", 31001));
    CHECK(targets(&party, RTCP, "198.51.100.7", 31001));
    CHECK(!from(&party, RTCP, "198.51.100.7", 31003));
}

static void nobody(void)
{
    for (enum relay_latch latch = RELAY_EXACT; latch <= RELAY_ANY; latch++) {
        struct party party;
        memset(&party, 0xff, sizeof party);
        party_set(&party, NULL, 0, latch);
        CHECK(!from(&party, RTP, "0.0.0.0", 0));
        CHECK(!from(&party, RTCP, "0.0.0.0", 0));
        CHECK(party.flows[RTP].target_length == 0 && party.flows[RTCP].target_length == 0);
    }
}

static void ipv6(void)
{
    struct party party = party_at("2001:db8::1", 4000, 4001, RELAY_ADDRESS);
    CHECK(from(&party, RTP, "2001:db8::1", 4000));
    CHECK(!from(&party, RTP, "2001:db8::2", 4000));
    CHECK(!from(&party, RTP, "192.0.2.1", 4000));
    CHECK(targets(&party, RTCP, "2001:db8::1", 4001));
}

static void addresses(void)
{
    union address address;
    const char *bad[] = {"", "localhost", "192.0.2", "192.0.2.256", "::g", "192.0.2.1 ", "[::1]"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(address_read(&address, bad[k], 1) == -1);
    }
}

int main(void)
{
    exact();
    address_mode();
    any();
    nobody();
    ipv6();
    addresses();
    PASSED();
    return 0;
}
