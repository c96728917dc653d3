/* How much a relay thread works, and how long it therefore waits for packets to come together. */
#ifndef RECPROXY_PACE_H
#define RECPROXY_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_DELAY_US = 800 }; /* most that a packet is to be held up by waiting and by its turn */

/* A thread's own. */
struct pace {
    int64_t looked_ns; /* when the thread's own time was looked at */
    int64_t worked_ns; /* what it was then */
    int64_t percent;   /* of the time between the last two looks, worked */
    int64_t wait_ns;   /* after a turn, for more to come */
};

/* For the calling thread, as if it had not worked yet. */
void pace_begin(struct pace *pace);

/* Once a turn. True if the thread's time was looked at, which is now and then; then the rest is
 * new. */
bool pace_review(struct pace *pace, int64_t now_ns);

/* The wait that fits a thread that works so much of its time.
 *
 * A packet that comes when a turn begins is held up by that turn, by the wait after it, and by the
 * next turn. With a share u of work these are PACE_DELAY_US at most if the wait is the part
 * (1 - u) / (1 + u) of it. */
int64_t pace_wait_ns(int64_t percent);

#endif
