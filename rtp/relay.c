/* The engine as a whole: its threads, opening and closing it, draining the fork. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

static void *run(void *argument)
{
    struct worker *worker = argument;
    priority_take(&worker->priority, priority_wants_realtime());
    pace_begin(&worker->pace);
    sem_post(&worker->relay->running);
    worker->relay->io->run(worker);
    return NULL;
}

static int worker_start(struct worker *worker, uint64_t ring_bytes)
{
    if (ring_open(&worker->ring, ring_bytes) != 0) {
        return -1;
    }
    int cause = thread_start(&worker->thread, "rtp-relay", run, worker);
    worker->started = cause == 0;
    while (cause == 0 && sem_wait(&worker->relay->running) != 0) { /* a signal */
    }
    errno = cause;
    return cause == 0 ? 0 : -1;
}

/* Opens that way to read and send for all threads, or for none. */
static int io_open(struct relay *relay, const struct io *io)
{
    uint32_t opened = 0;
    while (opened < relay->threads && io->open(&relay->workers[opened]) == 0) {
        opened++;
    }
    if (opened == relay->threads) {
        relay->io = io;
        return RELAY_OK;
    }
    int cause = errno;
    for (uint32_t k = 0; k <= opened; k++) {
        io->close(&relay->workers[k]);
    }
    errno = cause;
    return RELAY_SYSTEM;
}

static int io_choose(struct relay *relay, uint32_t wish)
{
    if (wish != RELAY_IO_EPOLL) {
        if (io_open(relay, &io_uring) == RELAY_OK) {
            return RELAY_OK;
        }
        if (wish == RELAY_IO_URING) {
            return RELAY_NO_URING;
        }
    }
    return io_open(relay, &io_epoll);
}

static void worker_close(struct relay *relay, struct worker *worker)
{
    if (worker->started) {
        eventfd_write(worker->wake_fd, 1);
        pthread_join(worker->thread, NULL);
    }
    if (relay->io != NULL) {
        relay->io->close(worker);
    }
    if (worker->wake_fd >= 0) {
        close(worker->wake_fd);
    }
    ring_close(&worker->ring);
}

static bool in_range(const struct relay_options *options)
{
    return options->threads >= 1 && options->threads <= RELAY_MAX_THREADS &&
           options->dscp <= RELAY_MAX_DSCP && options->ring_bytes >= RELAY_MIN_RING &&
           options->ring_bytes <= RELAY_MAX_RING && options->io <= RELAY_IO_URING;
}

int relay_open(const struct relay_options *options, struct relay **out)
{
    if (!in_range(options)) {
        return RELAY_BAD_ARGUMENT;
    }
    int status = RELAY_SYSTEM;
    struct relay *relay = aligned_alloc(CACHE_LINE, sizeof *relay);
    if (relay == NULL) {
        return RELAY_SYSTEM;
    }
    memset(relay, 0, sizeof *relay);
    relay->threads = options->threads;
    relay->dscp = options->dscp;
    relay->ticker.event_fd = -1;
    sem_init(&relay->running, 0, 0);
    for (uint32_t k = 0; k < relay->threads; k++) {
        relay->workers[k].wake_fd = -1;
    }
    if (table_open(&relay->table) != 0) {
        goto failed;
    }
    for (uint32_t k = 0; k < relay->threads; k++) {
        relay->workers[k].relay = relay;
        relay->workers[k].wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (relay->workers[k].wake_fd < 0) {
            goto failed;
        }
    }
    status = io_choose(relay, options->io);
    if (status != RELAY_OK) {
        goto failed;
    }
    status = RELAY_SYSTEM;
    for (uint32_t k = 0; k < relay->threads; k++) {
        if (worker_start(&relay->workers[k], options->ring_bytes) != 0) {
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
    return status;
}

int relay_io(const struct relay *relay)
{
    return relay->io == &io_uring ? RELAY_IO_URING : RELAY_IO_EPOLL;
}

/* All were granted the same: they asked under the same limits. */
enum relay_scheduling relay_scheduling(const struct relay *relay)
{
    return relay->workers[0].priority.granted;
}

void relay_close(struct relay *relay)
{
    if (relay == NULL) {
        return;
    }
    ticker_close(relay);
    atomic_store(&relay->stopping, true);
    for (uint32_t k = 0; k < relay->threads; k++) {
        worker_close(relay, &relay->workers[k]);
    }
    table_close(&relay->table);
    sem_destroy(&relay->running);
    free(relay);
}

/* ------------------------------------------------------------------------- the fork */

int relay_memory_locked(const struct relay *relay)
{
    for (uint32_t k = 0; k < relay->threads; k++) {
        if (!relay->workers[k].ring.pages.locked || !relay->workers[k].io_pages.locked) {
            return 0;
        }
    }
    return 1;
}

uint64_t relay_memory_bytes(const struct relay *relay)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < relay->threads; k++) {
        bytes += relay->workers[k].ring.pages.bytes + relay->workers[k].io_pages.bytes;
    }
    return bytes;
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
