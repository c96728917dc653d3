/* The wait shrinks with the work, so that what both cost a packet stays within the budget. */
#define _GNU_SOURCE
#include "check.h"
#include "pace.h"
#include "relay_api.h"

#include <time.h>

static const int64_t SECOND_NS = 1000000000, DELAY_NS = PACE_DELAY_US * 1000;

/* As if the thread had worked so much of the last second. */
static void work(struct pace *pace, int64_t percent)
{
    int64_t now_ns = relay_now_ns();
    struct timespec time;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
    int64_t worked_ns = (int64_t)time.tv_sec * SECOND_NS + time.tv_nsec;
    pace->looked_ns = now_ns - SECOND_NS;
    pace->worked_ns = worked_ns - SECOND_NS / 100 * percent;
    CHECK(pace_review(pace, now_ns));
}

int main(void)
{
    /* A turn of u/(1 - u) waits, a wait, and a turn again. */
    for (int64_t percent = 0; percent <= 90; percent++) {
        int64_t wait_ns = pace_wait_ns(percent);
        int64_t turn_ns = wait_ns * percent / (100 - percent);
        CHECK(turn_ns + wait_ns + turn_ns <= DELAY_NS);
        CHECK(turn_ns + wait_ns + turn_ns >= DELAY_NS - 100);
    }
    /* A clock that says more, or less, than there can be ends neither the wait nor its end. */
    CHECK(pace_wait_ns(-5) == DELAY_NS);
    CHECK(pace_wait_ns(250) == pace_wait_ns(90) && pace_wait_ns(90) > 1000);

    struct pace pace;
    pace_begin(&pace);
    CHECK(pace.wait_ns == DELAY_NS);
    int64_t begun_ns = pace.looked_ns;
    CHECK(!pace_review(&pace, begun_ns + SECOND_NS / 10)); /* not every turn */
    CHECK(pace.looked_ns == begun_ns && pace.wait_ns == DELAY_NS);
    work(&pace, 60);
    CHECK(pace.percent >= 60 && pace.percent <= 61);
    CHECK(pace.wait_ns == pace_wait_ns(pace.percent) && pace.wait_ns < DELAY_NS / 3);
    work(&pace, 0);
    CHECK(pace.wait_ns >= pace_wait_ns(1));
    PASSED();
    return 0;
}
