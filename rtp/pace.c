#define _GNU_SOURCE
#include "pace.h"

#include "relay_api.h"

#include <time.h>

enum { NANOSECONDS = 1000000000, MOST_PERCENT = 90 }; /* a wait of 0 would be one without end */

static const int64_t REVIEW_NS = 200000000;

static int64_t worked_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * NANOSECONDS + time.tv_nsec;
}

int64_t pace_wait_ns(int64_t percent)
{
    int64_t share = percent < 0 ? 0 : percent > MOST_PERCENT ? MOST_PERCENT : percent;
    return PACE_DELAY_US * 1000 * (100 - share) / (100 + share);
}

void pace_begin(struct pace *pace)
{
    *pace = (struct pace){
        .looked_ns = relay_now_ns(), .worked_ns = worked_ns(), .wait_ns = pace_wait_ns(0)};
}

bool pace_review(struct pace *pace, int64_t now_ns)
{
    if (now_ns - pace->looked_ns < REVIEW_NS) {
        return false;
    }
    int64_t worked = worked_ns();
    pace->percent = (worked - pace->worked_ns) * 100 / (now_ns - pace->looked_ns);
    pace->looked_ns = now_ns;
    pace->worked_ns = worked;
    pace->wait_ns = pace_wait_ns(pace->percent);
    return true;
}
