/* What one relay thread keeps for io_uring: uring_requests.c fills in and submits requests,
 * io_uring.c handles what comes of them. */
#ifndef RECPROXY_URING_SIDE_H
#define RECPROXY_URING_SIDE_H

#include "forward.h"
#include "uring.h"

enum {
    REQUESTS = 256,
    COMPLETIONS = 1024,
    BUFFERS = 256, /* datagrams that may be in our hands; the others wait in their sockets */
    TURN = 128,    /* completions handled before what they forward is sent */
    BATCH = 32,    /* completions that end the wait early */
    GROUP = 0,
    ALIGNMENT = CACHE_LINE,
};

/* The user data of a request: stream << 4 | purpose << 2 | socket. */
enum purpose { RECEIVE = 0, SEND_RTP = 1, SEND_RTCP = 2, CANCEL = 3 };
enum { TAG_BITS = 4, WAKE = 0, SWEEP = 1 }; /* stream 0: not about a stream */

/* As the kernel fills it: the header, the source, the control messages, the payload. */
struct buffer {
    _Alignas(ALIGNMENT) struct io_uring_recvmsg_out head;
    union {
        union address address;
        uint8_t room[32]; /* what follows has to be aligned */
    } source;
    union control control;
    uint8_t data[RELAY_MAX_DATAGRAM + TAILROOM];
};

_Static_assert(offsetof(struct buffer, control) ==
                   sizeof(struct io_uring_recvmsg_out) + sizeof(((struct buffer *)0)->source),
               "no gap before the control messages");
_Static_assert(offsetof(struct buffer, data) % _Alignof(uint64_t) == 0, "payload aligned");

/* In struct worker.io_pages: the ring of free buffers has to start on a page. */
struct uring_side {
    struct io_uring_buf free[BUFFERS]; /* the tail of this ring is `resv` of the first entry */
    struct buffer buffers[BUFFERS];
    union address targets[REQUESTS]; /* of the request in the same place */
    uint16_t used[BUFFERS];          /* to be free once what was filled in is submitted */
    uint32_t used_count;
    uint16_t free_tail;
    uint32_t min_wait_us; /* for a batch; never 0, which would be to wait for it without end */
    struct uring uring;
    struct msghdr shape;     /* how the kernel lays out a buffer */
    uint64_t receiving;      /* armed requests */
    struct stream *disarmed; /* list: a request of theirs has ended */
    uint32_t stopping;       /* streams whose owner waits for that */
    bool woken;

    pthread_mutex_t lock; /* guards the rest, and `wanted` to `next_changed` of each stream */
    pthread_cond_t released;
    struct stream *changed; /* list */
};

static inline uint64_t tag(uint64_t stream, enum purpose purpose, uint32_t index)
{
    return stream << TAG_BITS | (uint64_t)purpose << 2 | index;
}

/* Makes all buffers free, before they are shared with the kernel. */
void side_fill(struct uring_side *side);

/* Submits, then waits for so many completions, 0 = for none. Sends are done when it returns
 * (MSG_DONTWAIT), so their buffers are free then. */
void side_enter(struct uring_side *side, uint32_t wait_for);

void side_send(struct uring_side *side, uint64_t stream, uint32_t index,
               const struct onward *onward);
void side_cancel(struct uring_side *side, const struct stream *stream, uint32_t index);
void side_cancel_all(struct uring_side *side);
void side_poll(struct uring_side *side, int fd);

/* A request to receive has ended: it was cancelled, the buffers were out, or the datagram empty. */
void side_disarm(struct uring_side *side, struct stream *stream, uint32_t index);

/* After a submission: buffers are free again, and nothing is left to be sent by a socket whose
 * stream was stopped before it. Receives again, or tells who waits that the stream is gone. */
void side_settle(struct uring_side *side);

/* Takes what the control side wants. */
void side_take_changes(struct uring_side *side);

#endif
