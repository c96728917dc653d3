#define _GNU_SOURCE
#include "priority.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOWEST = 1 }; /* real-time priority: above all that has none */

/* Linux 6.12 takes 0.1 ms to 100 ms. A turn takes less; what counts is that a thread which asks for
 * little gets it at once, and not when the one that runs has had its 3 ms. */
static const uint64_t SLICE_NS = 100000;

static const int64_t BUSY_PERCENT = 75, IDLE_PERCENT = 50;

/* struct sched_attr of include/uapi/linux/sched/types.h, as of Linux 3.14; glibc 2.36 has none. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

_Static_assert(sizeof(struct attributes) == 48, "SCHED_ATTR_SIZE_VER0");

static bool read_attributes(struct attributes *attributes)
{
    return syscall(SYS_sched_getattr, 0, attributes, sizeof *attributes, 0) == 0;
}

static bool set_ordinary(int32_t nice, uint64_t slice_ns)
{
    struct attributes wish = {
        .size = sizeof wish, .policy = SCHED_OTHER, .nice = nice, .runtime_ns = slice_ns};
    return syscall(SYS_sched_setattr, 0, &wish, 0) == 0;
}

static bool set_realtime(void)
{
    struct attributes wish = {.size = sizeof wish, .policy = SCHED_FIFO, .priority = LOWEST};
    return syscall(SYS_sched_setattr, 0, &wish, 0) == 0;
}

bool priority_wants_realtime(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_RTPRIO, &limit) == 0 && limit.rlim_cur >= LOWEST;
}

void priority_take(struct priority *priority, bool wants_realtime)
{
    struct attributes now;
    *priority = (struct priority){.granted = RELAY_SCHEDULING_DEFAULT};
    if (!read_attributes(&now)) {
        return;
    }
    if (now.policy != SCHED_OTHER) {
        bool realtime = now.policy == SCHED_FIFO || now.policy == SCHED_RR;
        priority->granted = realtime ? RELAY_SCHEDULING_REALTIME : RELAY_SCHEDULING_DEFAULT;
        return;
    }
    priority->nice = now.nice;
    /* An older kernel takes the wish and forgets it. */
    if (set_ordinary(now.nice, SLICE_NS) && read_attributes(&now) && now.runtime_ns == SLICE_NS) {
        priority->slice_ns = SLICE_NS;
        priority->granted = RELAY_SCHEDULING_SHORT_SLICE;
    }
    if (wants_realtime && set_realtime()) {
        priority->reviewed = priority->realtime = true;
        priority->granted = RELAY_SCHEDULING_REALTIME;
    }
}

void priority_review(struct priority *priority, int64_t percent)
{
    if (!priority->reviewed) {
        return;
    }
    if (priority->realtime && percent > BUSY_PERCENT) {
        priority->realtime = !set_ordinary(priority->nice, priority->slice_ns);
    } else if (!priority->realtime && percent < IDLE_PERCENT) {
        priority->realtime = set_realtime();
    }
}
