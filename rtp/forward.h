/* What is done with one datagram, however it was read. No I/O; the caller holds the stream's lock.
 * The ways to read and send are io_epoll.c and io_uring.c. */
#ifndef RECPROXY_FORWARD_H
#define RECPROXY_FORWARD_H

#include "engine.h"

/* Taken once a turn, after the packets of the turn were told of. */
struct instant {
    int64_t now_ns;
    int64_t realtime_ahead_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
};

struct instant take_instant(void);

enum { STAMP_ROOM = CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t)) };

/* Room for SCM_TIMESTAMPNS and SO_RXQ_OVFL. */
union control {
    char bytes[STAMP_ROOM];
    size_t aligned; /* as a struct cmsghdr is */
};

struct datagram {
    uint8_t *data;
    size_t length;
    const union address *source;
    int64_t arrival_ns;
    uint32_t socket_drops; /* cumulative; 0 = not told */
    bool cut;              /* longer than RELAY_MAX_DATAGRAM */
};

/* Reads the control messages of a datagram into arrival_ns and socket_drops. */
void datagram_stamp(struct datagram *datagram, struct msghdr *control,
                    const struct instant *instant);

/* What has to leave, and by which socket of the stream. */
struct onward {
    const uint8_t *data;
    size_t length;
    const struct flow *flow; /* valid while the stream is locked */
    int fd;
    bool rtcp;
};

/* Checks, counts, copies to the ring, and tells in *onward what is to be sent, if it returns true.
 * That is counted as relayed; forward_refused() takes it back if the system then refuses it.
 * `index` is the socket it came from: side * 2 + component. SRTP is opened and sealed in place: the
 * datagram changes, and has TAILROOM bytes behind RELAY_MAX_DATAGRAM. */
bool forward(struct stream *stream, uint32_t index, struct datagram *datagram,
             struct onward *onward);
void forward_refused(struct stream *stream, uint32_t index, bool rtcp);

#endif
