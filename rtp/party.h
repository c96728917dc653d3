/* Who a packet came from: the source check and the latch. No I/O, no lock, no clock. */
#ifndef RECPROXY_PARTY_H
#define RECPROXY_PARTY_H

#include "relay_api.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

enum component { RTP = 0, RTCP = 1 };

/* One direction of one component, as that party has it. */
struct flow {
    union address source; /* the accepted one, once latched */
    union address target; /* where to send; length 0 = nowhere */
    socklen_t target_length;
    in_port_t signalled_port; /* network order; 0 = the SDP named none */
    bool latched;
};

struct party {
    union address signalled; /* of the SDP; the port is that of RTP */
    enum relay_latch latch;
    bool present; /* false: sends and receives nothing */
    struct flow flows[2];
};

/* 0, or -1 if the text is no numeric address. */
int address_read(union address *out, const char *text, uint16_t port);
socklen_t address_length(const union address *address);

/* address NULL = absent; rtcp_port 0 = none. Forgets what was latched. */
void party_set(struct party *party, const union address *address, uint16_t rtcp_port,
               enum relay_latch latch);

/* Tells whether the packet is the party's own, and latches its source where the mode says so. */
bool party_accepts(struct party *party, enum component component, const union address *source);

#endif
