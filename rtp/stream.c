/* Streams: their table, their sockets, and what the control side sets and reads. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECEIVE_BUFFER = 512 * 1024 }; /* bytes of the kernel; it takes less if rmem_max is lower */

int table_open(struct table *table)
{
    table->free_slots = malloc(RELAY_MAX_STREAMS * sizeof *table->free_slots);
    if (table->free_slots == NULL) {
        return -1;
    }
    pthread_mutex_init(&table->lock, NULL);
    return 0;
}

static void close_sockets(const int *sockets)
{
    for (int k = 0; k < SOCKETS; k++) {
        if (sockets[k] >= 0) {
            close(sockets[k]);
        }
    }
}

/* The threads are gone: no lock is needed. */
void table_close(struct table *table)
{
    if (table->free_slots == NULL) {
        return;
    }
    for (int c = 0; c < CHUNKS; c++) {
        struct stream *chunk = atomic_load_explicit(&table->chunks[c], memory_order_relaxed);
        for (int k = 0; chunk != NULL && k < CHUNK; k++) {
            if (chunk[k].id != 0) {
                close_sockets(chunk[k].sockets);
                crypto_destroy(chunk[k].crypto);
            }
            pthread_mutex_destroy(&chunk[k].lock);
        }
        free(chunk);
    }
    pthread_mutex_destroy(&table->lock);
    free(table->free_slots);
}

struct stream *stream_at(struct relay *relay, uint64_t id)
{
    uint32_t slot = (uint32_t)(id & (RELAY_MAX_STREAMS - 1));
    struct stream *chunk =
        atomic_load_explicit(&relay->table.chunks[slot / CHUNK], memory_order_acquire);
    return chunk == NULL ? NULL : &chunk[slot % CHUNK];
}

struct stream *stream_lock(struct relay *relay, uint64_t id)
{
    struct stream *stream = stream_at(relay, id);
    if (stream == NULL || id == 0) {
        return NULL;
    }
    pthread_mutex_lock(&stream->lock);
    if (stream->id != id || stream->closing) {
        pthread_mutex_unlock(&stream->lock);
        return NULL;
    }
    return stream;
}

void stream_unlock(struct stream *stream)
{
    pthread_mutex_unlock(&stream->lock);
}

static void put_back(struct table *table, uint32_t slot)
{
    table->free_slots[(table->free_head + table->free_count) % RELAY_MAX_STREAMS] = slot;
    table->free_count++;
}

static void make_slots(struct table *table)
{
    struct stream *chunk = calloc(CHUNK, sizeof *chunk);
    if (chunk == NULL) {
        return;
    }
    for (int k = 0; k < CHUNK; k++) {
        pthread_mutex_init(&chunk[k].lock, NULL);
    }
    atomic_store_explicit(&table->chunks[table->made / CHUNK], chunk, memory_order_release);
    for (int k = 0; k < CHUNK; k++) {
        put_back(table, table->made++);
    }
}

/* Takes a slot that has no id yet, and the next id for it. */
static int reserve(struct table *table, uint64_t *id)
{
    int status = RELAY_OK;
    pthread_mutex_lock(&table->lock);
    if (table->free_count <= REST && table->made < RELAY_MAX_STREAMS) {
        make_slots(table);
    }
    if (table->free_count == 0) {
        status = table->made < RELAY_MAX_STREAMS ? RELAY_SYSTEM : RELAY_FULL;
        goto out;
    }
    uint32_t slot = table->free_slots[table->free_head];
    struct stream *chunk = atomic_load_explicit(&table->chunks[slot / CHUNK], memory_order_relaxed);
    table->free_head = (table->free_head + 1) % RELAY_MAX_STREAMS;
    table->free_count--;
    *id = ++chunk[slot % CHUNK].generation << SLOT_BITS | slot;
out:
    pthread_mutex_unlock(&table->lock);
    return status;
}

static void give_back(struct table *table, uint64_t id)
{
    pthread_mutex_lock(&table->lock);
    put_back(table, (uint32_t)(id & (RELAY_MAX_STREAMS - 1)));
    pthread_mutex_unlock(&table->lock);
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* Each option is a system call, of which a call would have sixteen: of RTCP no arrival and no loss
 * is looked at, and little of it ever waits. */
static int set_options(int fd, sa_family_t family, enum component component, uint32_t dscp)
{
    int traffic_class = (int)(dscp << 2); /* RFC 2474 section 3 */
    if (component == RTP && (set_int(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER) != 0 ||
                             set_int(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) != 0 ||
                             set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1) != 0)) {
        return -1;
    }
    if (family == AF_INET6 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) {
        return -1;
    }
    if (dscp == 0) {
        return 0;
    }
    return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, traffic_class)
                              : set_int(fd, IPPROTO_IP, IP_TOS, traffic_class);
}

/* A bound socket, or -1 with errno. */
static int open_socket(const union address *address, enum component component, uint32_t dscp)
{
    sa_family_t family = address->any.sa_family;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (set_options(fd, family, component, dscp) != 0 ||
        bind(fd, &address->any, address_length(address)) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

static struct worker *idlest(struct relay *relay)
{
    struct worker *best = &relay->workers[0];
    for (uint32_t k = 1; k < relay->threads; k++) {
        struct worker *worker = &relay->workers[k];
        if (atomic_load_explicit(&worker->streams, memory_order_relaxed) <
            atomic_load_explicit(&best->streams, memory_order_relaxed)) {
            best = worker;
        }
    }
    return best;
}

static void publish(struct stream *stream, uint64_t id, const int *sockets, struct worker *worker)
{
    pthread_mutex_lock(&stream->lock);
    memcpy(stream->sockets, sockets, sizeof stream->sockets);
    stream->closing = false;
    stream->gate_open = false;
    stream->fork_on = false;
    memset(stream->events, 0, sizeof stream->events);
    memset(stream->played_until_ns, 0, sizeof stream->played_until_ns);
    stream->worker = worker;
    party_set(&stream->parties[RELAY_CALLER], NULL, 0, RELAY_EXACT);
    party_set(&stream->parties[RELAY_CALLEE], NULL, 0, RELAY_EXACT);
    memset(stream->crypto, 0, sizeof stream->crypto);
    memset(stream->stats, 0, sizeof stream->stats);
    memset(stream->socket_drops_seen, 0, sizeof stream->socket_drops_seen);
    stream->id = id;
    pthread_mutex_unlock(&stream->lock);
}

static void retract(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->id = 0;
    pthread_mutex_unlock(&stream->lock);
}

int relay_add(struct relay *relay, const char *caller_address, uint16_t caller_port,
              const char *callee_address, uint16_t callee_port, uint64_t *stream,
              uint16_t *failed_port)
{
    const char *addresses[2] = {caller_address, callee_address};
    const uint16_t ports[2] = {caller_port, callee_port};
    int sockets[SOCKETS] = {-1, -1, -1, -1};
    uint16_t port = 0;
    uint64_t id = 0;
    int cause;
    for (int side = 0; side < 2; side++) {
        if (ports[side] == 0 || ports[side] % 2 != 0) {
            return RELAY_BAD_ARGUMENT;
        }
    }
    int status = reserve(&relay->table, &id);
    if (status != RELAY_OK) {
        goto out;
    }
    for (int k = 0; k < SOCKETS; k++) {
        union address address;
        port = (uint16_t)(ports[k / 2] + k % 2);
        if (address_read(&address, addresses[k / 2], port) != 0) {
            status = RELAY_BAD_ADDRESS;
            goto out;
        }
        sockets[k] = open_socket(&address, k % 2 == 0 ? RTP : RTCP, relay->dscp);
        if (sockets[k] < 0) {
            status = RELAY_SYSTEM;
            goto out;
        }
    }
    port = 0;
    struct worker *worker = idlest(relay);
    struct stream *place = stream_at(relay, id);
    publish(place, id, sockets, worker);
    if (relay->io->watch(worker, place, id) != 0) {
        cause = errno;
        retract(place);
        errno = cause;
        status = RELAY_SYSTEM;
        goto out;
    }
    atomic_fetch_add_explicit(&worker->streams, 1, memory_order_relaxed);
    *stream = id;
    return RELAY_OK;
out:
    cause = errno;
    close_sockets(sockets);
    if (id != 0) {
        give_back(&relay->table, id);
    }
    if (status == RELAY_SYSTEM) {
        *failed_port = port;
    }
    errno = cause;
    return status;
}

int relay_set_remote(struct relay *relay, uint64_t stream, uint32_t side, const char *address,
                     uint16_t rtp_port, uint16_t rtcp_port, uint32_t latch)
{
    union address remote, local;
    socklen_t length = sizeof local;
    if (side > RELAY_CALLEE || latch > RELAY_ANY || (address != NULL && rtp_port == 0)) {
        return RELAY_BAD_ARGUMENT;
    }
    if (address != NULL && address_read(&remote, address, rtp_port) != 0) {
        return RELAY_BAD_ADDRESS;
    }
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    int status = RELAY_OK;
    if (address == NULL) {
        party_set(&found->parties[side], NULL, 0, (enum relay_latch)latch);
    } else if (getsockname(found->sockets[side * 2], &local.any, &length) != 0) {
        status = RELAY_SYSTEM;
    } else if (local.any.sa_family != remote.any.sa_family) {
        status = RELAY_BAD_ADDRESS;
    } else {
        party_set(&found->parties[side], &remote, rtcp_port, (enum relay_latch)latch);
    }
    stream_unlock(found);
    return status;
}

int relay_set_gate(struct relay *relay, uint64_t stream, int opened)
{
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    found->gate_open = opened != 0;
    stream_unlock(found);
    return RELAY_OK;
}

/* The clock is read under the lock that the relay thread reads packets under: one that the kernel
 * had before this instant is older by its stamp, one that comes after it is read after it. */
int relay_start_fork(struct relay *relay, uint64_t stream, int64_t guard_ns, int64_t *from_ns)
{
    if (guard_ns < 0 || guard_ns > INT64_MAX / 4) {
        return RELAY_BAD_ARGUMENT;
    }
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    found->fork_on = true;
    found->fork_from_ns = relay_now_ns() + guard_ns;
    found->fork_until_ns = INT64_MAX;
    *from_ns = found->fork_from_ns;
    stream_unlock(found);
    return RELAY_OK;
}

int relay_stop_fork(struct relay *relay, uint64_t stream, int64_t *until_ns)
{
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    int64_t now = relay_now_ns();
    if (found->fork_on && now < found->fork_until_ns) {
        found->fork_until_ns = now;
    }
    *until_ns = found->fork_on ? found->fork_until_ns : now;
    stream_unlock(found);
    return RELAY_OK;
}

int relay_set_events(struct relay *relay, uint64_t stream, uint32_t side, const uint64_t types[2])
{
    if (side > RELAY_CALLEE) {
        return RELAY_BAD_ARGUMENT;
    }
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    memcpy(found->events[side], types, sizeof found->events[side]);
    stream_unlock(found);
    return RELAY_OK;
}

int relay_stats_of(struct relay *relay, uint64_t stream, struct relay_stats *out)
{
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    memcpy(out->side, found->stats, sizeof out->side);
    stream_unlock(found);
    return RELAY_OK;
}

int relay_remove(struct relay *relay, uint64_t stream, struct relay_stats *out)
{
    int sockets[SOCKETS];
    struct crypto crypto[2];
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    struct worker *worker = found->worker;
    found->closing = true; /* from here on the relay thread and the ticker leave it alone */
    stream_unlock(found);
    relay->io->unwatch(worker, found);
    pthread_mutex_lock(&found->lock);
    memcpy(sockets, found->sockets, sizeof sockets);
    memcpy(out->side, found->stats, sizeof out->side);
    memcpy(crypto, found->crypto, sizeof crypto);
    memset(found->crypto, 0, sizeof found->crypto);
    found->id = 0;
    pthread_mutex_unlock(&found->lock);
    close_sockets(sockets);
    crypto_destroy(crypto);
    atomic_fetch_sub_explicit(&worker->streams, 1, memory_order_relaxed);
    give_back(&relay->table, stream);
    return RELAY_OK;
}
