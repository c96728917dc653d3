/* What the parts of the engine share: relay.c (threads), forward.c (one datagram), io_epoll.c and
 * io_uring.c (reading and sending), stream.c (sockets, control), playback.c (the ticker). Not part
 * of the interface.
 *
 * Locks, in the order they may be taken: ticker.lock, then table.lock or one stream.lock. No lock
 * is held across a call that can block, except by the opener of sockets, which holds none. */
#ifndef RECPROXY_ENGINE_H
#define RECPROXY_ENGINE_H

#include "pace.h"
#include "pages.h"
#include "party.h"
#include "priority.h"
#include "relay_api.h"
#include "ring.h"
#include "srtp.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SLOT_BITS = 16,
    CHUNK = 256, /* streams allocated at a time, never freed before the end */
    REST = 128,  /* other slots are used before one is used again, while there is memory */
    CHUNKS = RELAY_MAX_STREAMS / CHUNK,
    SOCKETS = 4,    /* side * 2 + component */
    TAILROOM = 160, /* bytes that a datagram of any length may grow by in place */
};

/* SRTP between one party and us; NULL is plain RTP. */
struct crypto {
    struct srtp_direction *inbound, *outbound;
};

/* What the io keeps about a stream. */
struct stream_io {
    /* of the relay thread */
    uint8_t armed; /* a bit for each socket that a request receives from */
    bool live;     /* to be received from */
    bool listed;
    struct stream *next;
    /* between it and the control side, under the lock of the io */
    uint64_t id;
    bool wanted, queued, released;
    struct stream *next_changed;
};

/* A call's media. `id` is generation << SLOT_BITS | slot while it is open, 0 otherwise: whoever
 * comes with an old number finds another one here. Everything else is guarded by the lock. */
struct stream {
    pthread_mutex_t lock;
    uint64_t id;
    bool closing; /* has an id still, but for its worker alone */
    int sockets[SOCKETS];
    bool gate_open;
    bool fork_on;
    int64_t fork_from_ns;
    int64_t fork_until_ns;
    int64_t played_until_ns[2]; /* to each side: what it hears of us, it hears alone */
    uint64_t events[2][2];      /* of each side, a bit for each payload type */
    struct worker *worker;
    struct party parties[2];
    struct crypto crypto[2];
    uint32_t keyed; /* counts the changes of crypto */
    struct relay_side_stats stats[2];
    uint32_t socket_drops_seen[2]; /* SO_RXQ_OVFL as last told */
    struct stream_io io;
    uint64_t generation; /* of the slot; guarded by table.lock */
};

struct table {
    pthread_mutex_t lock;
    _Atomic(struct stream *) chunks[CHUNKS];
    uint32_t made;        /* slots that have memory: what calls need at once, not each a new one */
    uint32_t *free_slots; /* of these; a queue, so that a slot rests before it is used again */
    uint32_t free_head, free_count;
};

struct playback;

/* Playbacks that run are a heap by deadline; those that ended wait in a list to be polled. */
struct ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool started, stopping;
    struct playback **heap;
    size_t count, capacity;
    struct playback *ended_first, *ended_last;
    uint64_t last_id;
    int event_fd;
};

struct worker;

/* A way to read and send. The functions but run() are called by the control side. */
struct io {
    int (*open)(struct worker *worker);   /* before the thread starts; 0, or -1 with errno */
    void (*close)(struct worker *worker); /* after it has ended, or after a failed open */
    void (*run)(struct worker *worker);   /* the thread; returns once wake_fd says `stopping` */
    /* From now on what comes to the sockets is handled. 0, or -1 with errno. */
    int (*watch)(struct worker *worker, struct stream *stream, uint64_t id);
    /* Returns once nothing of the worker refers to the sockets: they may be closed. */
    void (*unwatch)(struct worker *worker, struct stream *stream);
};

extern const struct io io_epoll, io_uring;

struct worker {
    struct relay *relay;
    pthread_t thread;
    bool started;
    int wake_fd;
    struct priority priority; /* of the thread */
    struct pace pace;         /* of the thread */
    struct ring ring;
    struct pages io_pages; /* holds what the io keeps, packets in transit among it */
    void *io_side;
    _Atomic uint32_t streams;
};

struct relay {
    struct table table;
    struct ticker ticker;
    const struct io *io;
    atomic_bool stopping;
    uint32_t dscp;
    uint32_t threads;
    sem_t running; /* posted by each relay thread once it has its priority */
    struct worker workers[RELAY_MAX_THREADS];
};

/* stream.c: finds a stream and locks it; NULL if the number is not in use (any more). */
struct stream *stream_lock(struct relay *relay, uint64_t id);
void stream_unlock(struct stream *stream);

/* The place that a number stands for, whoever has it now; NULL if it never was in use. */
struct stream *stream_at(struct relay *relay, uint64_t id);
int table_open(struct table *table);
void table_close(struct table *table);

/* crypto.c */
void crypto_destroy(struct crypto *crypto);

/* playback.c */
int ticker_open(struct relay *relay);
void ticker_close(struct relay *relay);

/* relay.c: starts a thread that takes no signals. 0 or an errno. */
int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

#endif
