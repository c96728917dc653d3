/* The relay threads: read what is there, check its source, send it on, copy it to the ring.
 * Nothing here allocates, blocks on anything but epoll, or costs more the more calls there are. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 8,    /* datagrams read from one socket at a time */
    EVENTS = 256, /* sockets told ready at a time */
    NANOSECONDS = 1000000000,
    CLOCK_TRIES = 4,
};

static const int64_t CLOCK_PAIR_NS = 2000;          /* two clocks read this close will do */
static const int64_t STAMP_TRUST_NS = 2000000000LL; /* a stamp further off is not believed */

/* Room for SCM_TIMESTAMPNS and SO_RXQ_OVFL. */
union control {
    char bytes[CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t))];
    struct cmsghdr aligned;
};

struct batch {
    struct mmsghdr in[BATCH];
    struct mmsghdr out[BATCH];
    struct iovec in_parts[BATCH];
    struct iovec out_parts[BATCH];
    union address sources[BATCH];
    union control controls[BATCH];
    struct relay_record records[BATCH]; /* of what goes to the ring; offset = place in `data` */
    uint8_t data[BATCH][RELAY_MAX_DATAGRAM];
};

/* Taken once for each return of epoll_wait. */
struct instant {
    int64_t now_ns;
    int64_t realtime_ahead_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * NANOSECONDS + time.tv_nsec;
}

int64_t relay_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* The kernel stamps with CLOCK_REALTIME. The monotonic clock is read before the other, so an error
 * makes packets look older by at most the time between the two reads, never newer. */
static struct instant take_instant(void)
{
    struct instant best = {0};
    int64_t best_ns = INT64_MAX;
    for (int k = 0; k < CLOCK_TRIES && best_ns > CLOCK_PAIR_NS; k++) {
        int64_t before = relay_now_ns();
        int64_t real = read_clock(CLOCK_REALTIME);
        int64_t took_ns = relay_now_ns() - before;
        if (took_ns < best_ns) {
            best = (struct instant){.now_ns = before, .realtime_ahead_ns = real - before};
            best_ns = took_ns;
        }
    }
    return best;
}

/* ------------------------------------------------------------------- one datagram */

struct arrival {
    int64_t ns;
    uint32_t socket_drops; /* cumulative; 0 = not told */
};

/* A stamp may be newer than the instant: packets come while we work through the ready ones. One
 * that is far off means that the wall clock was set in between; then "late" is never assumed. */
static int64_t trusted(int64_t stamp_ns, int64_t now_ns)
{
    if (stamp_ns > now_ns + STAMP_TRUST_NS) {
        return now_ns;
    }
    return stamp_ns < now_ns - STAMP_TRUST_NS ? now_ns - STAMP_TRUST_NS : stamp_ns;
}

static struct arrival read_control(struct msghdr *message, const struct instant *instant)
{
    struct arrival arrival = {.ns = instant->now_ns};
    for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL;
         item = CMSG_NXTHDR(message, item)) {
        if (item->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (item->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(item), sizeof stamp);
            int64_t ns =
                (int64_t)stamp.tv_sec * NANOSECONDS + stamp.tv_nsec - instant->realtime_ahead_ns;
            arrival.ns = trusted(ns, instant->now_ns);
        } else if (item->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&arrival.socket_drops, CMSG_DATA(item), sizeof arrival.socket_drops);
        }
    }
    return arrival;
}

static bool in_fork(const struct stream *stream, int64_t arrival_ns)
{
    return stream->fork_on && arrival_ns >= stream->fork_from_ns &&
           arrival_ns < stream->fork_until_ns;
}

/* Counts a datagram of an RTP port. True if it is RTP to be forked; then *record describes it. */
static bool take_rtp(struct stream *stream, uint32_t side, const uint8_t *data, size_t length,
                     const struct arrival *arrival, struct relay_record *record, bool *is_rtcp)
{
    struct relay_side_stats *stats = &stream->stats[side];
    struct relay_packet packet;
    *is_rtcp = false;
    stats->last_packet_ns = arrival->ns;
    if (arrival->socket_drops != 0) { /* wraps with uint32_t, as the kernel's does */
        stats->socket_dropped += arrival->socket_drops - stream->socket_drops_seen[side];
        stream->socket_drops_seen[side] = arrival->socket_drops;
    }
    switch (relay_parse(data, length, &packet)) {
    case RELAY_PACKET_RTP:
        break;
    case RELAY_PACKET_RTCP:
        *is_rtcp = true;
        stats->rtcp_received++;
        return false;
    case RELAY_PACKET_OPAQUE:
        stats->opaque++;
        stats->received++;
        stats->received_bytes += length;
        return false;
    default:
        stats->malformed++;
        stats->received++;
        stats->received_bytes += length;
        return false;
    }
    stats->received++;
    stats->received_bytes += length;
    stats->ssrc = packet.ssrc;
    if (!in_fork(stream, arrival->ns)) {
        return false;
    }
    *record = (struct relay_record){
        .stream = stream->id,
        .arrival_ns = arrival->ns,
        .timestamp = packet.timestamp,
        .ssrc = packet.ssrc,
        .offset = packet.payload_offset,
        .sequence = packet.sequence,
        .length = (uint16_t)packet.payload_length,
        .side = (uint8_t)side,
        .payload_type = packet.payload_type,
        .marker = packet.marker,
    };
    return true;
}

/* ----------------------------------------------------------------------- one batch */

/* One that the system refuses is counted and the rest goes on. Returns how many left. */
static uint32_t send_all(int fd, struct mmsghdr *out, uint32_t count, uint64_t *errors)
{
    uint32_t done = 0, sent = 0;
    while (done < count) {
        int accepted = sendmmsg(fd, out + done, count - done, MSG_DONTWAIT);
        if (accepted > 0) {
            done += (uint32_t)accepted;
            sent += (uint32_t)accepted;
        } else {
            done++;
            ++*errors;
        }
    }
    return sent;
}

static int receive(int fd, struct batch *batch)
{
    for (uint32_t k = 0; k < BATCH; k++) {
        batch->in[k].msg_hdr.msg_namelen = sizeof batch->sources[k];
        batch->in[k].msg_hdr.msg_controllen = sizeof batch->controls[k];
    }
    return recvmmsg(fd, batch->in, BATCH, MSG_DONTWAIT, NULL);
}

/* Reads and handles what one socket holds, at most BATCH datagrams; epoll tells of the rest. */
static void serve(struct worker *worker, struct stream *stream, uint32_t index,
                  const struct instant *instant)
{
    struct batch *batch = worker->batch;
    uint32_t side = index / 2, far = 1 - side, outgoing = 0, forked = 0, rtcp = 0;
    enum component component = index % 2 == 0 ? RTP : RTCP;
    struct party *party = &stream->parties[side];
    struct flow *out = &stream->parties[far].flows[component];
    struct relay_side_stats *stats = &stream->stats[side];
    uint8_t places[BATCH];

    int count = receive(stream->sockets[index], batch);
    for (int k = 0; k < count; k++) {
        struct msghdr *message = &batch->in[k].msg_hdr;
        size_t length = batch->in[k].msg_len;
        if (!party_accepts(party, component, &batch->sources[k])) {
            stats->foreign++;
            continue;
        }
        bool is_rtcp = component == RTCP;
        if (message->msg_flags & MSG_TRUNC) {
            stats->malformed++;
            continue;
        }
        if (is_rtcp) {
            stats->rtcp_received++;
        } else {
            struct arrival arrival = read_control(message, instant);
            if (take_rtp(stream, side, batch->data[k], length, &arrival, &batch->records[forked],
                         &is_rtcp)) {
                places[forked++] = (uint8_t)k;
            }
        }
        if (!stream->gate_open) {
            stats->gated++;
        } else if (out->target_length == 0) {
            stats->unroutable++;
        } else {
            batch->out_parts[outgoing] =
                (struct iovec){.iov_base = batch->data[k], .iov_len = length};
            batch->out[outgoing].msg_hdr.msg_name = &out->target;
            batch->out[outgoing].msg_hdr.msg_namelen = out->target_length;
            outgoing++;
            rtcp += is_rtcp;
        }
    }
    if (outgoing > 0) { /* sent first: the copy never delays the call */
        uint32_t sent = send_all(stream->sockets[far * 2 + (uint32_t)component], batch->out,
                                 outgoing, &stats->send_errors);
        /* Which of a mixed batch was refused is not known; RTCP is counted first. */
        uint32_t rtcp_sent = rtcp < sent ? rtcp : sent;
        stats->rtcp_relayed += rtcp_sent;
        stats->relayed += sent - rtcp_sent;
    }
    for (uint32_t k = 0; k < forked; k++) {
        if (ring_put(&worker->ring, &batch->records[k],
                     batch->data[places[k]] + batch->records[k].offset)) {
            stats->forked++;
        } else {
            stats->fork_dropped++;
        }
    }
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(worker->epoll_fd, events, EVENTS, -1);
        struct instant instant = take_instant();
        for (int k = 0; k < count; k++) {
            uint64_t number = events[k].data.u64;
            if (number == 0) {
                return NULL; /* stop_fd */
            }
            struct stream *stream = stream_lock(worker->relay, number / SOCKETS);
            if (stream != NULL) { /* else removed since epoll told of it */
                serve(worker, stream, (uint32_t)(number % SOCKETS), &instant);
                stream_unlock(stream);
            }
        }
    }
}

/* ------------------------------------------------------------------ opening, closing */

int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument)
{
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former); /* inherited: signals are the program's business */
    int cause = pthread_create(thread, NULL, body, argument);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (cause == 0) {
        pthread_setname_np(*thread, name);
    }
    return cause;
}

/* The buffers hold speech like the ring: not in a core dump. */
static struct batch *batch_open(void)
{
    struct batch *batch = mmap(NULL, sizeof *batch, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (batch == MAP_FAILED) {
        return NULL;
    }
    if (madvise(batch, sizeof *batch, MADV_DONTDUMP) != 0) {
        int cause = errno;
        munmap(batch, sizeof *batch);
        errno = cause;
        return NULL;
    }
    for (uint32_t k = 0; k < BATCH; k++) {
        batch->in_parts[k] =
            (struct iovec){.iov_base = batch->data[k], .iov_len = RELAY_MAX_DATAGRAM};
        batch->in[k].msg_hdr.msg_iov = &batch->in_parts[k];
        batch->in[k].msg_hdr.msg_iovlen = 1;
        batch->in[k].msg_hdr.msg_name = &batch->sources[k];
        batch->in[k].msg_hdr.msg_control = &batch->controls[k];
        batch->out[k].msg_hdr.msg_iov = &batch->out_parts[k];
        batch->out[k].msg_hdr.msg_iovlen = 1;
    }
    return batch;
}

static int worker_open(struct relay *relay, struct worker *worker, uint64_t ring_bytes)
{
    struct epoll_event stop = {.events = EPOLLIN, .data.u64 = 0};
    worker->relay = relay;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, relay->stop_fd, &stop) != 0 ||
        ring_open(&worker->ring, ring_bytes) != 0) {
        return -1;
    }
    worker->batch = batch_open();
    if (worker->batch == NULL) {
        return -1;
    }
    int cause = thread_start(&worker->thread, "rtp-relay", run, worker);
    worker->started = cause == 0;
    errno = cause;
    return cause == 0 ? 0 : -1;
}

static void worker_close(struct worker *worker)
{
    if (worker->started) {
        pthread_join(worker->thread, NULL);
    }
    if (worker->epoll_fd >= 0) {
        close(worker->epoll_fd);
    }
    if (worker->batch != NULL) {
        munmap(worker->batch, sizeof *worker->batch);
    }
    ring_close(&worker->ring);
}

static bool in_range(const struct relay_options *options)
{
    return options->threads >= 1 && options->threads <= RELAY_MAX_THREADS &&
           options->dscp <= RELAY_MAX_DSCP && options->ring_bytes >= RELAY_MIN_RING &&
           options->ring_bytes <= RELAY_MAX_RING;
}

int relay_open(const struct relay_options *options, struct relay **out)
{
    if (!in_range(options)) {
        return RELAY_BAD_ARGUMENT;
    }
    struct relay *relay = aligned_alloc(CACHE_LINE, sizeof *relay);
    if (relay == NULL) {
        return RELAY_SYSTEM;
    }
    memset(relay, 0, sizeof *relay);
    relay->threads = options->threads;
    relay->dscp = options->dscp;
    relay->ticker.event_fd = -1;
    for (uint32_t k = 0; k < relay->threads; k++) {
        relay->workers[k].epoll_fd = -1;
    }
    relay->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (relay->stop_fd < 0 || table_open(&relay->table) != 0) {
        goto failed;
    }
    for (uint32_t k = 0; k < relay->threads; k++) {
        if (worker_open(relay, &relay->workers[k], options->ring_bytes) != 0) {
            goto failed;
        }
    }
    if (ticker_open(relay) != 0) {
        goto failed;
    }
    *out = relay;
    return RELAY_OK;
failed:;
    int cause = errno;
    relay_close(relay);
    errno = cause;
    return RELAY_SYSTEM;
}

void relay_close(struct relay *relay)
{
    if (relay == NULL) {
        return;
    }
    ticker_close(relay);
    if (relay->stop_fd >= 0) {
        eventfd_write(relay->stop_fd, 1);
    }
    for (uint32_t k = 0; k < relay->threads; k++) {
        worker_close(&relay->workers[k]);
    }
    table_close(&relay->table);
    if (relay->stop_fd >= 0) {
        close(relay->stop_fd);
    }
    free(relay);
}

/* ------------------------------------------------------------------------- the fork */

int relay_memory_locked(const struct relay *relay)
{
    for (uint32_t k = 0; k < relay->threads; k++) {
        if (!relay->workers[k].ring.locked) {
            return 0;
        }
    }
    return 1;
}

void relay_waiting(struct relay *relay, uint64_t *records, uint64_t *bytes)
{
    *records = *bytes = 0;
    for (uint32_t k = 0; k < relay->threads; k++) {
        uint64_t ring_records, ring_bytes;
        ring_waiting(&relay->workers[k].ring, &ring_records, &ring_bytes);
        *records += ring_records;
        *bytes += ring_bytes;
    }
}

size_t relay_drain(struct relay *relay, struct relay_record *records, size_t max_records,
                   uint8_t *data, size_t max_bytes, uint64_t *bytes, uint64_t *dropped)
{
    size_t count = 0;
    uint64_t filled = 0, lost = 0;
    for (uint32_t k = 0; k < relay->threads; k++) {
        struct ring *ring = &relay->workers[k].ring;
        uint64_t used;
        count +=
            ring_take(ring, records + count, max_records - count, data, filled, max_bytes, &used);
        filled += used;
        lost += atomic_load_explicit(&ring->dropped, memory_order_relaxed);
    }
    *bytes = filled;
    *dropped = lost;
    return count;
}
