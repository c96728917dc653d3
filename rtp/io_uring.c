/* Reading and sending by io_uring: one armed request a socket delivers all that comes to it into
 * buffers of the thread, and one system call a turn sends what the last turn forwarded and waits
 * for the next packets. Waking up costs more than a packet: for a while after each turn (pace.h) a
 * batch is waited for. A packet after a quiet moment is handled at once. */
#define _GNU_SOURCE
#include "uring_side.h"

#include <stdlib.h>
#include <sys/eventfd.h>

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
        side_send(worker->io_side, stream->id, index, &onward);
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
        side_disarm(side, stream_at(worker->relay, id), index);
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
        side_cancel(worker->io_side, stream, index);
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
        side_poll(side, worker->wake_fd);
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
    if (pace_review(&worker->pace, instant.now_ns)) {
        priority_review(&worker->priority, worker->pace.percent);
        side->min_wait_us = (uint32_t)(worker->pace.wait_ns / 1000);
    }
    uring_seen(&side->uring);
    return count == TURN;
}

/* Cancels everything: the sockets are free once their requests are gone. */
static void sweep(struct worker *worker)
{
    struct uring_side *side = worker->io_side;
    while (side->receiving > 0) {
        side_cancel_all(side);
        side_enter(side, 1);
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
    side->min_wait_us = (uint32_t)(worker->pace.wait_ns / 1000);
    if (uring_enable(&side->uring) != 0) {
        abort(); /* a ring of ours that is not asleep: our mistake, and no call would have media */
    }
    for (int k = 0; k < BATCH; k++) { /* or the wait would not end before its time */
        side_poll(side, worker->wake_fd);
    }
    while (!atomic_load_explicit(&worker->relay->stopping, memory_order_relaxed)) {
        bool more = reap(worker);
        if (side->woken) {
            side->woken = false;
            side_take_changes(side);
        }
        side_enter(side, more ? 0 : completions_wanted(side));
        if (uring_unsent(&side->uring) == 0) {
            side_settle(side);
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
    side_fill(side);
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
