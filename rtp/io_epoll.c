/* Reading and sending by epoll, recvmmsg and sendmmsg: works on every Linux. */
#define _GNU_SOURCE
#include "forward.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 8,    /* datagrams read from one socket at a time */
    ROUNDS = 4,   /* batches of one socket before the others have their turn */
    EVENTS = 256, /* sockets told ready at a time */
    NANOSECONDS = 1000000000,
};

struct epoll_side {
    int fd;
    struct mmsghdr in[BATCH];
    struct mmsghdr out[BATCH];
    struct iovec in_parts[BATCH];
    struct iovec out_parts[BATCH];
    union address sources[BATCH];
    union control controls[BATCH];
    bool rtcp[BATCH]; /* of what goes out */
    struct epoll_event events[EVENTS];
    uint8_t data[BATCH][RELAY_MAX_DATAGRAM + TAILROOM];
};

/* One that the system refuses is counted and the rest goes on. */
static void send_all(struct stream *stream, uint32_t index, struct epoll_side *side, int fd,
                     uint32_t count)
{
    uint32_t done = 0;
    while (done < count) {
        int accepted = sendmmsg(fd, side->out + done, count - done, MSG_DONTWAIT);
        if (accepted > 0) {
            done += (uint32_t)accepted;
        } else {
            forward_refused(stream, index, side->rtcp[done++]);
        }
    }
}

static int receive(int fd, struct epoll_side *side)
{
    for (uint32_t k = 0; k < BATCH; k++) {
        side->in[k].msg_hdr.msg_namelen = sizeof side->sources[k];
        side->in[k].msg_hdr.msg_controllen = sizeof side->controls[k];
    }
    return recvmmsg(fd, side->in, BATCH, MSG_DONTWAIT, NULL);
}

/* Reads and handles at most BATCH datagrams of one socket. True if there may be more. */
static bool serve(struct epoll_side *side, struct stream *stream, uint32_t index,
                  const struct instant *instant)
{
    uint32_t outgoing = 0;
    int fd = -1;
    int count = receive(stream->sockets[index], side);
    for (int k = 0; k < count; k++) {
        struct msghdr *message = &side->in[k].msg_hdr;
        struct onward onward;
        struct datagram datagram = {
            .data = side->data[k],
            .length = side->in[k].msg_len,
            .source = &side->sources[k],
            .cut = (message->msg_flags & MSG_TRUNC) != 0,
        };
        datagram_stamp(&datagram, message, instant);
        if (!forward(stream, index, &datagram, &onward)) {
            continue;
        }
        struct msghdr *out = &side->out[outgoing].msg_hdr;
        /* sendmsg writes to neither */
        side->out_parts[outgoing] =
            (struct iovec){.iov_base = (void *)(uintptr_t)onward.data, .iov_len = onward.length};
        out->msg_name = (void *)(uintptr_t)&onward.flow->target;
        out->msg_namelen = onward.flow->target_length;
        side->rtcp[outgoing++] = onward.rtcp;
        fd = onward.fd;
    }
    if (outgoing > 0) {
        send_all(stream, index, side, fd, outgoing);
    }
    return count == BATCH;
}

/* A socket is told ready once, when something comes: whoever leaves something in it must ask for
 * it to be told again. */
static void serve_ready(struct worker *worker, uint64_t number, const struct instant *instant)
{
    struct epoll_side *side = worker->io_side;
    uint32_t index = (uint32_t)(number % SOCKETS);
    for (int round = 0; round < ROUNDS; round++) {
        struct stream *stream = stream_lock(worker->relay, number / SOCKETS);
        if (stream == NULL) { /* removed since epoll told of it */
            return;
        }
        bool more = serve(side, stream, index, instant);
        if (more && round == ROUNDS - 1) {
            struct epoll_event again = {.events = EPOLLIN | EPOLLET, .data.u64 = number};
            epoll_ctl(side->fd, EPOLL_CTL_MOD, stream->sockets[index], &again);
        }
        stream_unlock(stream);
        if (!more) {
            return;
        }
    }
}

/* Waking up costs more than a packet: while turns follow closely, what comes within a wait after
 * each is gathered. A packet after a quiet moment is handled at once. */
static void gather(int64_t wait_ns, int64_t last_ns, int64_t turn_ns)
{
    if (turn_ns - last_ns < 2 * wait_ns) {
        int64_t until_ns = relay_now_ns() + wait_ns;
        struct timespec until = {.tv_sec = until_ns / NANOSECONDS,
                                 .tv_nsec = until_ns % NANOSECONDS};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

static void run(struct worker *worker)
{
    struct epoll_side *side = worker->io_side;
    int64_t last_ns = INT64_MIN / 2;
    for (;;) {
        int count = epoll_wait(side->fd, side->events, EVENTS, -1);
        struct instant instant = take_instant();
        for (int k = 0; k < count; k++) {
            uint64_t number = side->events[k].data.u64;
            if (number == 0) {
                return; /* wake_fd: the worker has to go */
            }
            serve_ready(worker, number, &instant);
        }
        if (pace_review(&worker->pace, instant.now_ns)) {
            priority_review(&worker->priority, worker->pace.percent);
        }
        gather(worker->pace.wait_ns, last_ns, instant.now_ns);
        last_ns = instant.now_ns;
    }
}

static int open_side(struct worker *worker)
{
    struct epoll_event stop = {.events = EPOLLIN, .data.u64 = 0};
    if (pages_open(&worker->io_pages, sizeof(struct epoll_side)) != 0) {
        return -1;
    }
    struct epoll_side *side = worker->io_side = worker->io_pages.start;
    side->fd = epoll_create1(EPOLL_CLOEXEC);
    if (side->fd < 0 || epoll_ctl(side->fd, EPOLL_CTL_ADD, worker->wake_fd, &stop) != 0) {
        return -1;
    }
    for (uint32_t k = 0; k < BATCH; k++) {
        side->in_parts[k] =
            (struct iovec){.iov_base = side->data[k], .iov_len = RELAY_MAX_DATAGRAM};
        side->in[k].msg_hdr.msg_iov = &side->in_parts[k];
        side->in[k].msg_hdr.msg_iovlen = 1;
        side->in[k].msg_hdr.msg_name = &side->sources[k];
        side->in[k].msg_hdr.msg_control = &side->controls[k];
        side->out[k].msg_hdr.msg_iov = &side->out_parts[k];
        side->out[k].msg_hdr.msg_iovlen = 1;
    }
    return 0;
}

static void close_side(struct worker *worker)
{
    struct epoll_side *side = worker->io_side;
    if (side != NULL && side->fd >= 0) {
        close(side->fd);
    }
    pages_close(&worker->io_pages);
    worker->io_side = NULL;
}

static int watch(struct worker *worker, struct stream *stream, uint64_t id)
{
    struct epoll_side *side = worker->io_side;
    for (uint32_t k = 0; k < SOCKETS; k++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = id * SOCKETS + k};
        if (epoll_ctl(side->fd, EPOLL_CTL_ADD, stream->sockets[k], &event) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Closing alone would do, were the sockets not shared with a child between fork and exec. */
static void unwatch(struct worker *worker, struct stream *stream)
{
    struct epoll_side *side = worker->io_side;
    for (int k = 0; k < SOCKETS; k++) {
        epoll_ctl(side->fd, EPOLL_CTL_DEL, stream->sockets[k], NULL);
    }
}

const struct io io_epoll = {
    .open = open_side, .close = close_side, .run = run, .watch = watch, .unwatch = unwatch};
