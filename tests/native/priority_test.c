/* A thread in real time that works too much goes without it until it is idle again. */
#define _GNU_SOURCE
#include "check.h"
#include "priority.h"

#include <sched.h>

int main(void)
{
    struct priority priority;
    priority_take(&priority, false);
    CHECK(priority.granted != RELAY_SCHEDULING_REALTIME && sched_getscheduler(0) == SCHED_OTHER);
    priority_review(&priority, 10); /* not wanted, so never taken */
    CHECK(sched_getscheduler(0) == SCHED_OTHER);

    priority_take(&priority, true);
    if (priority.granted != RELAY_SCHEDULING_REALTIME) {
        puts("skip priority_test.c: real time may not be had here");
        return 0;
    }
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    priority_review(&priority, 70);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    priority_review(&priority, 80);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    priority_review(&priority, 60);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    priority_review(&priority, 40);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    priority_take(&priority, true); /* what somebody chose is left as it is */
    CHECK(priority.granted == RELAY_SCHEDULING_REALTIME);
    priority_review(&priority, 100);
    CHECK(sched_getscheduler(0) == SCHED_FIFO);
    PASSED();
    return 0;
}
