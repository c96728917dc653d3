/* How soon a thread of the engine gets a processor that others want as well. */
#ifndef RECPROXY_PRIORITY_H
#define RECPROXY_PRIORITY_H

#include "relay_api.h"

#include <stdbool.h>

/* A thread's own. */
struct priority {
    enum relay_scheduling granted;
    bool reviewed; /* real time is ours to take and give back */
    bool realtime; /* now: a busy thread goes without it for a while */
    int32_t nice;  /* of before */
    uint64_t slice_ns;
};

/* Whether RLIMIT_RTPRIO asks for real time: whoever raised it wants it, a right to everything
 * (root) is no wish. */
bool priority_wants_realtime(void);

/* For the calling thread: real time if it is wanted and allowed, a short slice otherwise. One that
 * has another policy than SCHED_OTHER already keeps it. */
void priority_take(struct priority *priority, bool wants_realtime);

/* With the percentage of its time that the thread works: takes real time from one that works most
 * of it, whose turns would keep everybody else from this processor, and gives it back when the
 * thread is idle enough. */
void priority_review(struct priority *priority, int64_t percent);

#endif
