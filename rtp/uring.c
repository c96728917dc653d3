#define _GNU_SOURCE
#include "uring.h"

#include <errno.h>
#include <linux/time_types.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of include/uapi/linux/io_uring.h, newer than the headers of Linux 6.1. */
enum {
    SETUP_NO_SQARRAY = 1 << 16,    /* 6.6 */
    FEATURE_MIN_TIMEOUT = 1 << 15, /* 6.12 */
    FEATURE_NO_IOWAIT = 1 << 17,   /* 6.15 */
    ENTER_NO_IOWAIT = 1 << 7,
};

/* struct io_uring_getevents_arg since 6.12 */
struct wait_argument {
    uint64_t sigmask;
    uint32_t sigmask_bytes;
    uint32_t min_wait_us;
    uint64_t timeout;
};

_Static_assert(sizeof(struct wait_argument) == sizeof(struct io_uring_getevents_arg), "argsz");

static const struct __kernel_timespec PATIENCE = {.tv_sec = 10};

static const uint32_t SETUP = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
                              IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                              IORING_SETUP_R_DISABLED | SETUP_NO_SQARRAY;

/* The newest one, 6.12, means that everything else is there: multishot receive (6.0), buffer rings
 * (5.19), send to an address (6.2). */
static const uint32_t FEATURES = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                                 IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP | FEATURE_MIN_TIMEOUT;

static int give_up(struct uring *uring, int cause)
{
    uring_close(uring);
    errno = cause;
    return -1;
}

int uring_open(struct uring *uring, uint32_t sq_entries, uint32_t cq_entries)
{
    struct io_uring_params params = {.flags = SETUP, .cq_entries = cq_entries};
    *uring = (struct uring){.fd = -1};
    long fd = syscall(SYS_io_uring_setup, sq_entries, &params); /* close-on-exec */
    if (fd < 0) {
        return give_up(uring,
                       errno == EINVAL ? ENOSYS : errno); /* EINVAL: flags it does not know */
    }
    uring->fd = (int)fd;
    if ((params.features & FEATURES) != FEATURES) {
        return give_up(uring, ENOSYS);
    }
    uring->enter_flags = params.features & FEATURE_NO_IOWAIT ? ENTER_NO_IOWAIT : 0;
    size_t bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    void *rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring->fd,
                       IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED) {
        return give_up(uring, errno);
    }
    uring->rings = rings;
    uring->rings_bytes = bytes;
    bytes = params.sq_entries * sizeof(struct io_uring_sqe);
    void *sqes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring->fd,
                      IORING_OFF_SQES);
    if (sqes == MAP_FAILED) {
        return give_up(uring, errno);
    }
    uring->sqes = sqes;
    uring->sqes_bytes = bytes;
    uint8_t *base = rings;
    uring->sq_head = (uint32_t *)(void *)(base + params.sq_off.head);
    uring->sq_tail = (uint32_t *)(void *)(base + params.sq_off.tail);
    uring->cq_head = (uint32_t *)(void *)(base + params.cq_off.head);
    uring->cq_tail = (uint32_t *)(void *)(base + params.cq_off.tail);
    uring->cqes = (struct io_uring_cqe *)(void *)(base + params.cq_off.cqes);
    uring->sq_entries = params.sq_entries;
    uring->sq_mask = params.sq_entries - 1;
    uring->cq_mask = params.cq_entries - 1;
    return 0;
}

int uring_enable(struct uring *uring)
{
    return (int)syscall(SYS_io_uring_register, uring->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

void uring_close(struct uring *uring)
{
    if (uring->sqes != NULL) {
        munmap(uring->sqes, uring->sqes_bytes);
    }
    if (uring->rings != NULL) {
        munmap(uring->rings, uring->rings_bytes);
    }
    if (uring->fd >= 0) {
        close(uring->fd);
    }
    *uring = (struct uring){.fd = -1};
}

int uring_share_buffers(struct uring *uring, const struct io_uring_buf *buffers, uint32_t entries,
                        uint16_t group)
{
    struct io_uring_buf_reg shared = {
        .ring_addr = (uint64_t)(uintptr_t)buffers, .ring_entries = entries, .bgid = group};
    return (int)syscall(SYS_io_uring_register, uring->fd, IORING_REGISTER_PBUF_RING, &shared, 1);
}

uint32_t uring_unsent(const struct uring *uring)
{
    return uring->tail - __atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE);
}

struct io_uring_sqe *uring_next(struct uring *uring, uint32_t *place)
{
    if (uring_unsent(uring) == uring->sq_entries) {
        return NULL;
    }
    *place = uring->tail++ & uring->sq_mask;
    struct io_uring_sqe *sqe = &uring->sqes[*place];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

void uring_enter(struct uring *uring, uint32_t wait_for, uint32_t min_wait_us)
{
    struct wait_argument argument = {.min_wait_us = min_wait_us,
                                     .timeout = (uint64_t)(uintptr_t)&PATIENCE};
    __atomic_store_n(uring->sq_tail, uring->tail, __ATOMIC_RELEASE);
    uint32_t flags = IORING_ENTER_EXT_ARG | uring->enter_flags;
    if (wait_for > 0) {
        flags |= IORING_ENTER_GETEVENTS;
    }
    syscall(SYS_io_uring_enter, uring->fd, uring_unsent(uring), wait_for, flags, &argument,
            sizeof argument);
}

bool uring_read(struct uring *uring, struct io_uring_cqe *out)
{
    if (uring->head == __atomic_load_n(uring->cq_tail, __ATOMIC_ACQUIRE)) {
        return false;
    }
    /* Field by field: the entry ends in an array that only other set-ups have. */
    const struct io_uring_cqe *cqe = &uring->cqes[uring->head++ & uring->cq_mask];
    out->user_data = cqe->user_data;
    out->res = cqe->res;
    out->flags = cqe->flags;
    return true;
}

void uring_seen(struct uring *uring)
{
    __atomic_store_n(uring->cq_head, uring->head, __ATOMIC_RELEASE);
}
