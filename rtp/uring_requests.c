/* The requests that the relay thread hands to io_uring: to receive, to send, to be woken, and the
 * end of those that receive. */
#define _GNU_SOURCE
#include "uring_side.h"

#include <poll.h>

/* -------------------------------------------------------------------- submitting */

static void give_buffer(struct uring_side *side, uint16_t number)
{
    struct io_uring_buf *entry = &side->free[side->free_tail++ % BUFFERS];
    entry->addr = (uint64_t)(uintptr_t)&side->buffers[number];
    entry->len = offsetof(struct buffer, data) + RELAY_MAX_DATAGRAM;
    entry->bid = number;
}

void side_fill(struct uring_side *side)
{
    for (uint32_t k = 0; k < BUFFERS; k++) {
        give_buffer(side, (uint16_t)k);
    }
    side->free[0].resv = side->free_tail;
}

void side_enter(struct uring_side *side, uint32_t wait_for)
{
    uring_enter(&side->uring, wait_for, side->min_wait_us);
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
        side_enter(side, 0);
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

void side_cancel(struct uring_side *side, const struct stream *stream, uint32_t index)
{
    uint32_t place;
    struct io_uring_sqe *sqe =
        next_request(side, IORING_OP_ASYNC_CANCEL, -1, tag(stream->io.id, CANCEL, index), &place);
    sqe->addr = tag(stream->io.id, RECEIVE, index);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

void side_send(struct uring_side *side, uint64_t stream, uint32_t index,
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

void side_cancel_all(struct uring_side *side)
{
    uint32_t place;
    struct io_uring_sqe *sqe =
        next_request(side, IORING_OP_ASYNC_CANCEL, -1, tag(0, CANCEL, SWEEP), &place);
    sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
}

void side_poll(struct uring_side *side, int fd)
{
    uint32_t place, events = POLLIN;
    struct io_uring_sqe *sqe =
        next_request(side, IORING_OP_POLL_ADD, fd, tag(0, RECEIVE, WAKE), &place);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    events = events << 16 | events >> 16;
#endif
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->poll32_events = events;
}

/* ------------------------------------------------- requests that receive: begin and end */

static void list_disarmed(struct uring_side *side, struct stream *stream)
{
    if (!stream->io.listed) {
        stream->io.listed = true;
        stream->io.next = side->disarmed;
        side->disarmed = stream;
    }
}

void side_disarm(struct uring_side *side, struct stream *stream, uint32_t index)
{
    stream->io.armed &= (uint8_t) ~(1U << index);
    side->receiving--;
    list_disarmed(side, stream);
}

void side_settle(struct uring_side *side)
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

void side_take_changes(struct uring_side *side)
{
    struct stream *stream;
    bool wanted;
    while ((stream = next_change(side, &wanted)) != NULL) {
        stream->io.live = wanted;
        side->stopping += !wanted;
        for (uint32_t k = 0; k < SOCKETS; k++) {
            if (wanted) {
                receive(side, stream, k);
            } else if ((stream->io.armed & 1U << k) != 0) {
                side_cancel(side, stream, k);
            }
        }
        if (stream->io.armed == 0) {
            list_disarmed(side, stream);
        }
    }
}
