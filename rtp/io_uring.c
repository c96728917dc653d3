/* Reading and sending by io_uring: one armed request a socket delivers all that comes to it into
 * buffers of the thread, and one system call a turn sends what the last turn forwarded and waits
 * for the next packets. Waking up costs more than a packet: within MIN_WAIT_US of the last turn a
 * batch is waited for. A packet after a quiet moment is handled at once. */
#define _GNU_SOURCE
#include "forward.h"
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    REQUESTS = 256,
    COMPLETIONS = 1024,
    BUFFERS = 256, /* datagrams that may be in our hands; the others wait in their sockets */
    TURN = 128,    /* completions handled before what they forward is sent */
    BATCH = 32,    /* completions that end the wait early */
    MIN_WAIT_US = 300,
    GROUP = 0,
    ALIGNMENT = 64,
};

/* The user data of a request: stream << 4 | purpose << 2 | socket. */
enum purpose { RECEIVE = 0, SEND_RTP = 1, SEND_RTCP = 2, CANCEL = 3 };
enum { TAG_BITS = 4, WAKE = 0, SWEEP = 1 }; /* stream 0: not about a stream */

/* As the kernel fills it: the header, the source, the control messages, the payload. */
struct buffer {
    struct io_uring_recvmsg_out head;
    union {
        union address address;
        uint8_t room[32]; /* what follows has to be aligned */
    } source;
    union control control;
    uint8_t data[RELAY_MAX_DATAGRAM + TAILROOM];
    _Alignas(ALIGNMENT) uint8_t end[]; /* makes each start on a cache line */
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

static uint64_t tag(uint64_t stream, enum purpose purpose, uint32_t index)
{
    return stream << TAG_BITS | (uint64_t)purpose << 2 | index;
}

/* -------------------------------------------------------------------- submitting */

static void give_buffer(struct uring_side *side, uint16_t number)
{
    struct io_uring_buf *entry = &side->free[side->free_tail++ % BUFFERS];
    entry->addr = (uint64_t)(uintptr_t)&side->buffers[number];
    entry->len = offsetof(struct buffer, data) + RELAY_MAX_DATAGRAM;
    entry->bid = number;
}

/* Sends are done when the system call returns (MSG_DONTWAIT), so their buffers are free then. */
static void enter(struct uring_side *side, uint32_t wait_for)
{
    uring_enter(&side->uring, wait_for, MIN_WAIT_US);
    if (uring_unsent(&side->uring) == 0) {
        for (uint32_t k = 0; k < side->used_count; k++) {
            give_buffer(side, side->used[k]);
        }
        side->used_count = 0;
        __atomic_store_n(&side->free[0].resv, side->free_tail, __ATOMIC_RELEASE);
    }
}

static struct io_uring_sqe *next_request(struct uring_side *side, uint8_t opcode, int fd,
                                         uint64_t user_data, uint32_t *place)
{
    struct io_uring_sqe *sqe;
    while ((sqe = uring_next(&side->uring, place)) == NULL) {
        enter(side, 0);
    }
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
    return sqe;
}

static void receive(struct uring_side *side, struct stream *stream, uint32_t index)
{
    uint32_t place;
    struct io_uring_sqe *sqe = next_request(side, IORING_OP_RECVMSG, stream->sockets[index],
                                            tag(stream->io.id, RECEIVE, index), &place);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    sqe->addr = (uint64_t)(uintptr_t)&side->shape;
    sqe->len = 1;
    stream->io.armed |= (uint8_t)(1U << index);
    side->receiving++;
}

static void cancel(struct uring_side *side, struct stream *stream, uint32_t index)
{
    uint32_t place;
    struct io_uring_sqe *sqe =
        next_request(side, IORING_OP_ASYNC_CANCEL, -1, tag(stream->io.id, CANCEL, index), &place);
    sqe->addr = tag(stream->io.id, RECEIVE, index);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

static void send_on(struct uring_side *side, uint64_t stream, uint32_t index,
                    const struct onward *onward)
{
    uint32_t place;
    struct io_uring_sqe *sqe =
        next_request(side, IORING_OP_SEND, onward->fd,
                     tag(stream, onward->rtcp ? SEND_RTCP : SEND_RTP, index), &place);
    side->targets[place] = onward->flow->target;
    sqe->addr = (uint64_t)(uintptr_t)onward->data;
    sqe->len = (uint32_t)onward->length;
    sqe->msg_flags = MSG_DONTWAIT;
    sqe->addr2 = (uint64_t)(uintptr_t)&side->targets[place];
    sqe->addr_len = (uint16_t)onward->flow->target_length;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

static void listen_to_wake(struct worker *worker)
{
    uint32_t place, events = POLLIN;
    struct io_uring_sqe *sqe = next_request(worker->io_side, IORING_OP_POLL_ADD, worker->wake_fd,
                                            tag(0, RECEIVE, WAKE), &place);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    events = events << 16 | events >> 16;
#endif
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->poll32_events = events;
}

/* ------------------------------------------------- requests that receive: begin and end */

static void add(struct stream **list, struct stream *stream)
{
    stream->io.next = *list;
    *list = stream;
}

/* A request to receive has ended: it was cancelled, the buffers were out, or the datagram empty. */
static void disarm(struct uring_side *side, struct stream *stream, uint32_t index)
{
    stream->io.armed &= (uint8_t) ~(1U << index);
    side->receiving--;
    if (!stream->io.listed) {
        stream->io.listed = true;
        add(&side->disarmed, stream);
    }
}

/* After a submission: buffers are free again, and nothing is left to be sent by a socket whose
 * stream was stopped before it. */
static void settle(struct uring_side *side)
{
    while (side->disarmed != NULL) {
        struct stream *stream = side->disarmed;
        side->disarmed = stream->io.next;
        stream->io.listed = false;
        if (stream->io.live) {
            for (uint32_t k = 0; k < SOCKETS; k++) {
                if ((stream->io.armed & 1U << k) == 0) {
                    receive(side, stream, k);
                }
            }
        } else if (stream->io.armed == 0) {
            side->stopping--;
            pthread_mutex_lock(&side->lock);
            stream->io.released = true;
            pthread_cond_broadcast(&side->released);
            pthread_mutex_unlock(&side->lock);
        }
    }
}

static struct stream *next_change(struct uring_side *side, bool *wanted)
{
    pthread_mutex_lock(&side->lock);
    struct stream *stream = side->changed;
    if (stream != NULL) {
        side->changed = stream->io.next_changed;
        stream->io.queued = false;
        *wanted = stream->io.wanted;
    }
    pthread_mutex_unlock(&side->lock);
    return stream;
}

static void take_changes(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    struct stream *stream;
    bool wanted;
    while ((stream = next_change(side, &wanted)) != NULL) {
        stream->io.live = wanted;
        side->stopping += !wanted;
        for (uint32_t k = 0; k < SOCKETS; k++) {
            if (wanted) {
                receive(side, stream, k);
            } else if ((stream->io.armed & 1U << k) != 0) {
                cancel(side, stream, k);
            }
        }
        if (stream->io.armed == 0 && !stream->io.listed) {
            stream->io.listed = true;
            add(&side->disarmed, stream);
        }
    }
}

/* ---------------------------------------------------------------------- completions */

/* The stream that the last datagram belonged to stays locked for the next one. */
struct held {
    struct stream *stream; /* NULL = none, or it is closing */
    uint64_t id;
};

static struct stream *hold(struct worker *worker, struct held *held, uint64_t id)
{
    if (held->id != id) {
        if (held->stream != NULL) {
            stream_unlock(held->stream);
        }
        held->stream = id == 0 ? NULL : stream_lock(worker->relay, id);
        held->id = id;
    }
    return held->stream;
}

static void on_datagram(struct worker *worker, struct stream *stream, uint32_t index,
                        struct buffer *buffer, size_t length, const struct instant *instant)
{
    struct onward onward;
    struct datagram datagram = {
        .data = buffer->data,
        .length = length,
        .source = &buffer->source.address,
        .cut = (buffer->head.flags & MSG_TRUNC) != 0,
    };
    struct msghdr control = {
        .msg_control = &buffer->control,
        .msg_controllen = buffer->head.controllen,
    };
    datagram_stamp(&datagram, &control, instant);
    if (forward(stream, index, &datagram, &onward)) {
        send_on(worker->io_side, stream->id, index, &onward);
    }
}

static void on_received(struct worker *worker, struct held *held, const struct io_uring_cqe *cqe,
                        const struct instant *instant)
{
    struct uring_side *side = worker->io_side;
    uint64_t id = cqe->user_data >> TAG_BITS;
    uint32_t index = cqe->user_data % SOCKETS;
    uint32_t number = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0 && number < BUFFERS) {
        struct buffer *buffer = &side->buffers[number];
        size_t before = offsetof(struct buffer, data);
        /* What the kernel says is held against what we gave it, before anything is read. */
        bool sound = cqe->res >= (int32_t)before &&
                     cqe->res <= (int32_t)(before + RELAY_MAX_DATAGRAM) &&
                     buffer->head.controllen <= sizeof buffer->control;
        if (sound && hold(worker, held, id) != NULL) {
            on_datagram(worker, held->stream, index, buffer, (size_t)cqe->res - before, instant);
        }
        side->used[side->used_count++] = (uint16_t)number; /* after its request is filled in */
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        disarm(side, stream_at(worker->relay, id), index);
    }
}

/* Also of a stream that is being removed: its last counters are still to be read. */
static void on_refused(struct worker *worker, struct held *held, const struct io_uring_cqe *cqe)
{
    uint64_t id = cqe->user_data >> TAG_BITS;
    hold(worker, held, 0);
    struct stream *stream = stream_at(worker->relay, id);
    pthread_mutex_lock(&stream->lock);
    if (stream->id == id) {
        forward_refused(stream, cqe->user_data % SOCKETS, (cqe->user_data >> 2) % 4 == SEND_RTCP);
    }
    pthread_mutex_unlock(&stream->lock);
}

/* The kernel did not find the request: it has ended, or it was just running. */
static void on_missed(struct worker *worker, const struct io_uring_cqe *cqe)
{
    struct stream *stream = stream_at(worker->relay, cqe->user_data >> TAG_BITS);
    uint32_t index = cqe->user_data % SOCKETS;
    if (stream->io.id == cqe->user_data >> TAG_BITS && !stream->io.live &&
        (stream->io.armed & 1U << index) != 0) {
        cancel(worker->io_side, stream, index);
    }
}

static void on_wake(struct worker *worker, const struct io_uring_cqe *cqe)
{
    struct uring_side *side = worker->io_side;
    eventfd_t count;
    if (!side->woken) {
        side->woken = true;
        eventfd_read(worker->wake_fd, &count);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0 && !atomic_load(&worker->relay->stopping)) {
        listen_to_wake(worker);
    }
}

/* Handles what is there, up to a turn. True if there may be more. */
static bool reap(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    struct instant instant = take_instant();
    struct held held = {0};
    struct io_uring_cqe cqe;
    int count = 0;
    while (count < TURN && uring_read(&side->uring, &cqe)) {
        count++;
        if (cqe.user_data >> TAG_BITS == 0) {
            if (cqe.user_data == tag(0, RECEIVE, WAKE)) {
                on_wake(worker, &cqe);
            }
            continue;
        }
        switch ((enum purpose)(cqe.user_data >> 2 & 3)) {
        case RECEIVE:
            on_received(worker, &held, &cqe, &instant);
            break;
        case SEND_RTP:
        case SEND_RTCP:
            on_refused(worker, &held, &cqe);
            break;
        case CANCEL:
            on_missed(worker, &cqe);
            break;
        }
    }
    hold(worker, &held, 0);
    uring_seen(&side->uring);
    return count == TURN;
}

/* Cancels everything: the sockets are free once their requests are gone. */
static void sweep(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    while (side->receiving > 0) {
        uint32_t place;
        struct io_uring_sqe *sqe =
            next_request(side, IORING_OP_ASYNC_CANCEL, -1, tag(0, CANCEL, SWEEP), &place);
        sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
        enter(side, 1);
        reap(worker);
    }
}

/* Not a batch where somebody waits: for what is to be armed again, or for a stream to be gone. */
static uint32_t completions_wanted(const struct uring_side *side)
{
    if (side->disarmed != NULL) {
        return 0;
    }
    return side->stopping > 0 ? 1 : BATCH;
}

static void run(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    if (uring_enable(&side->uring) != 0) {
        return; /* it was set up for this: cannot be refused */
    }
    for (int k = 0; k < BATCH; k++) { /* or the wait would not end before its time */
        listen_to_wake(worker);
    }
    while (!atomic_load_explicit(&worker->relay->stopping, memory_order_relaxed)) {
        bool more = reap(worker);
        if (side->woken) {
            side->woken = false;
            take_changes(worker);
        }
        enter(side, more ? 0 : completions_wanted(side));
        if (uring_unsent(&side->uring) == 0) {
            settle(side);
        }
    }
    sweep(worker);
}

/* ------------------------------------------------------------------- the control side */

static int open_side(struct worker *worker)
{
    if (pages_open(&worker->io_pages, sizeof(struct uring_side)) != 0) {
        return -1;
    }
    struct uring_side *side = worker->io_side = worker->io_pages.start;
    pthread_mutex_init(&side->lock, NULL);
    pthread_cond_init(&side->released, NULL);
    if (uring_open(&side->uring, REQUESTS, COMPLETIONS) != 0) {
        return -1;
    }
    side->shape.msg_namelen = sizeof side->buffers[0].source;
    side->shape.msg_controllen = sizeof side->buffers[0].control;
    for (uint32_t k = 0; k < BUFFERS; k++) {
        give_buffer(side, (uint16_t)k);
    }
    side->free[0].resv = side->free_tail;
    return uring_share_buffers(&side->uring, side->free, BUFFERS, GROUP);
}

static void close_side(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    if (side != NULL) {
        uring_close(&side->uring);
        pthread_cond_destroy(&side->released);
        pthread_mutex_destroy(&side->lock);
    }
    pages_close(&worker->io_pages);
    worker->io_side = NULL;
}

/* The thread alone may arm and cancel: it is told what is wanted. */
static void change(struct worker *worker, struct stream *stream, bool wanted)
{
    struct uring_side *side = worker->io_side;
    stream->io.wanted = wanted;
    if (!stream->io.queued) {
        stream->io.queued = true;
        stream->io.next_changed = side->changed;
        side->changed = stream;
    }
    eventfd_write(worker->wake_fd, 1);
}

static int watch(struct worker *worker, struct stream *stream, uint64_t id)
{
    struct uring_side *side = worker->io_side;
    pthread_mutex_lock(&side->lock);
    stream->io.id = id;
    stream->io.released = false;
    change(worker, stream, true);
    pthread_mutex_unlock(&side->lock);
    return 0;
}

static void unwatch(struct worker *worker, struct stream *stream)
{
    struct uring_side *side = worker->io_side;
    pthread_mutex_lock(&side->lock);
    change(worker, stream, false);
    while (!stream->io.released) {
        pthread_cond_wait(&side->released, &side->lock);
    }
    pthread_mutex_unlock(&side->lock);
}

const struct io io_uring = {
    .open = open_side, .close = close_side, .run = run, .watch = watch, .unwatch = unwatch};
