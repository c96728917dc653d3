/* A thread in real time that works too much goes without it until it is idle again. */
#define _GNU_SOURCE
#include "check.h"
#include "priority.h"

#include <sched.h>
#include <time.h>

static const int64_t SECOND_NS = 1000000000;

/* As if the thread had worked so much of the last second. */
static void review_after(struct priority *priority, int64_t percent)
{
    int64_t now_ns = relay_now_ns();
    struct timespec time;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
    int64_t worked_ns = (int64_t)time.tv_sec * SECOND_NS + time.tv_nsec;
    priority->looked_ns = now_ns - SECOND_NS;
    priority->worked_ns = worked_ns - SECOND_NS / 100 * percent;
    priority_review(priority, now_ns);
}

int main(void)
{
    struct priority priority;
    priority_take(&priority, false);
    CHECK(priority.granted != RELAY_SCHEDULING_REALTIME && sched_getscheduler(0) == SCHED_OTHER);
    review_after(&priority, 10); /* not wanted, so never taken */
    CHECK(sched_getscheduler(0) == SCHED_OTHER);

    priority_take(&priority, true);
    if (priority.granted != RELAY_SCHEDULING_REALTIME) {
        puts("skip priority_test.c: real time may not be had here");
        return 0;
    }
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    review_after(&priority, 70);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    review_after(&priority, 80);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    review_after(&priority, 60);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    review_after(&priority, 40);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    priority_take(&priority, true); /* what somebody chose is left as it is */
    CHECK(priority.granted == RELAY_SCHEDULING_REALTIME);
    review_after(&priority, 100);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    PASSED();
    return 0;
}
