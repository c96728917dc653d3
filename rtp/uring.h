/* As much of io_uring(7) as the relay needs: one thread submits and reaps, every request is handed
 * over by io_uring_enter(2). Our own, since what we need (a wait for a batch, Linux 6.12) is newer
 * than the headers and the liburing of the systems that we build on. */
#ifndef RECPROXY_URING_H
#define RECPROXY_URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
    int fd; /* -1 = none */
    uint32_t enter_flags;
    void *rings; /* submission and completion queue, one mapping */
    size_t rings_bytes;
    struct io_uring_sqe *sqes;
    size_t sqes_bytes;
    struct io_uring_cqe *cqes;
    uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail; /* shared with the kernel */
    uint32_t sq_entries, sq_mask, cq_mask;
    uint32_t tail; /* ours: requests up to it are filled in */
    uint32_t head; /* ours: completions up to it are read */
};

/* Entries are powers of two. The ring is asleep until uring_enable() is called by the thread that
 * will use it, and that one alone. 0, or -1 with errno: ENOSYS if the kernel is older than 6.12. */
int uring_open(struct uring *uring, uint32_t sq_entries, uint32_t cq_entries);
int uring_enable(struct uring *uring);
void uring_close(struct uring *uring);

/* Hands `entries` (a power of two, page-aligned memory) to the kernel as buffer group `group`. */
int uring_share_buffers(struct uring *uring, const struct io_uring_buf *buffers, uint32_t entries,
                        uint16_t group);

/* The next request, zeroed; NULL if the queue is full. *place tells which entry it is. */
struct io_uring_sqe *uring_next(struct uring *uring, uint32_t *place);

/* Requests that the kernel has not taken yet. */
uint32_t uring_unsent(const struct uring *uring);

/* Submits what is filled in; then, if wait_for is not 0, waits until so many completions are there,
 * or one after min_wait_us, at most some seconds. Errors pass: whoever calls looks at what the
 * queues hold and calls again. */
void uring_enter(struct uring *uring, uint32_t wait_for, uint32_t min_wait_us);

/* Copies the next completion out; false if there is none. uring_seen() gives the places back. */
bool uring_read(struct uring *uring, struct io_uring_cqe *out);
void uring_seen(struct uring *uring);

#endif
