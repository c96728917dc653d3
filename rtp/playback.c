/* Playback: one thread that sends each frame when it is due. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    RTP_FIXED = 12,
    CATCH_UP_FRAMES = 3, /* later than this: move the rest back, no burst */
    SLACK_NS = 1000,     /* how late the kernel may wake us on purpose */
    FIRST_CAPACITY = 64,
    NANOSECONDS = 1000000000,
};

static const int64_t PATIENCE_NS = 500000000; /* of failing sends, before it is given up */

struct playback {
    struct relay_playout playout; /* frames and lengths are borrowed */
    struct relay_playback_event event;
    uint64_t stream;
    uint32_t side;
    uint32_t next; /* frame */
    size_t offset; /* of it */
    int64_t deadline_ns;
    int64_t frame_ns;
    int64_t failing_since_ns; /* 0 = not */
    struct playback *after;   /* in the list of the ended */
    uint32_t keyed;           /* of the stream, when the packet was made */
    size_t packet_length;     /* 0 = to be made */
    uint8_t packet[];         /* with room to grow by SRTP; sent again unchanged if it was refused:
                                 sealing it twice would be two packets of one sequence number */
};

/* ------------------------------------------------------- the heap, earliest first */

static void place(struct ticker *ticker, size_t at, struct playback *playback)
{
    ticker->heap[at] = playback;
}

static void sift_up(struct ticker *ticker, size_t at)
{
    struct playback *moving = ticker->heap[at];
    while (at > 0 && moving->deadline_ns < ticker->heap[(at - 1) / 2]->deadline_ns) {
        place(ticker, at, ticker->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(ticker, at, moving);
}

static void sift_down(struct ticker *ticker, size_t at)
{
    struct playback *moving = ticker->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= ticker->count) {
            break;
        }
        if (child + 1 < ticker->count &&
            ticker->heap[child + 1]->deadline_ns < ticker->heap[child]->deadline_ns) {
            child++;
        }
        if (moving->deadline_ns <= ticker->heap[child]->deadline_ns) {
            break;
        }
        place(ticker, at, ticker->heap[child]);
        at = child;
    }
    place(ticker, at, moving);
}

/* Takes it out of the heap and leaves its event to be polled. No allocation: it is its own node. */
static void end(struct ticker *ticker, size_t at, enum relay_playback_state state, int64_t at_ns)
{
    struct playback *ended = ticker->heap[at];
    ticker->count--;
    if (at < ticker->count) {
        place(ticker, at, ticker->heap[ticker->count]);
        sift_up(ticker, at);
        sift_down(ticker, at);
    }
    ended->event.state = (uint32_t)state;
    ended->event.at_ns = at_ns;
    ended->event.frames_sent = ended->next;
    ended->after = NULL;
    if (ticker->ended_last != NULL) {
        ticker->ended_last->after = ended;
    } else {
        ticker->ended_first = ended;
    }
    ticker->ended_last = ended;
    eventfd_write(ticker->event_fd, 1); /* cannot fail: it is polled long before 2^64 */
}

/* ------------------------------------------------------------------- sending */

static void write16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void write32(uint8_t *at, uint32_t value)
{
    write16(at, (uint16_t)(value >> 16));
    write16(at + 2, (uint16_t)value);
}

enum sending { SENT, REFUSED, NOWHERE };

/* Writes the packet of the next frame, as it leaves. False: it cannot be sealed. */
static bool make_packet(struct playback *playback, const struct stream *stream)
{
    const struct relay_playout *playout = &playback->playout;
    struct srtp_direction *outbound = stream->crypto[playback->side].outbound;
    uint16_t frame = playout->lengths[playback->next];
    uint8_t *packet = playback->packet;
    uint8_t marker = playback->next == 0 ? 0x80 : 0; /* RFC 3551 section 4.1: first of a spurt */
    packet[0] = 0x80;
    packet[1] = marker | playout->payload_type;
    write16(packet + 2, (uint16_t)(playout->sequence + playback->next));
    write32(packet + 4, playout->timestamp + playback->next * playout->timestamp_step);
    write32(packet + 8, playout->ssrc);
    memcpy(packet + RTP_FIXED, playout->frames + playback->offset, frame);
    playback->packet_length = RTP_FIXED + (size_t)frame;
    playback->keyed = stream->keyed;
    if (outbound != NULL && !srtp_seal(outbound, packet, &playback->packet_length)) {
        playback->packet_length = 0;
        return false;
    }
    return true;
}

static enum sending send_frame(struct relay *relay, struct playback *playback)
{
    struct stream *stream = stream_lock(relay, playback->stream);
    if (stream == NULL) {
        return NOWHERE;
    }
    enum sending sending = NOWHERE;
    struct flow *flow = &stream->parties[playback->side].flows[RTP];
    bool made = playback->packet_length != 0 && playback->keyed == stream->keyed;
    if (flow->target_length != 0 && (made || make_packet(playback, stream))) {
        ssize_t sent =
            sendto(stream->sockets[playback->side * 2], playback->packet, playback->packet_length,
                   MSG_DONTWAIT, &flow->target.any, flow->target_length);
        sending = sent >= 0 ? SENT : REFUSED;
        if (sent >= 0) {
            stream->played_until_ns[playback->side] =
                playback->deadline_ns + playback->frame_ns + playback->frame_ns / 2;
        }
    }
    stream_unlock(stream);
    return sending;
}

/* The one at the top of the heap is due: does its step, and puts it where it belongs. */
static void step(struct relay *relay)
{
    struct ticker *ticker = &relay->ticker;
    struct playback *playback = ticker->heap[0];
    if (playback->next == playback->playout.count) {
        end(ticker, 0, RELAY_PLAYBACK_COMPLETED, playback->deadline_ns);
        return;
    }
    enum sending sending = send_frame(relay, playback);
    int64_t now = relay_now_ns();
    switch (sending) {
    case NOWHERE:
        end(ticker, 0, RELAY_PLAYBACK_FAILED, now);
        return;
    case REFUSED:
        if (playback->failing_since_ns == 0) {
            playback->failing_since_ns = now;
        }
        if (now - playback->failing_since_ns >= PATIENCE_NS) {
            end(ticker, 0, RELAY_PLAYBACK_FAILED, now);
            return;
        }
        playback->deadline_ns = now + playback->frame_ns; /* the same frame again */
        break;
    case SENT:
        playback->failing_since_ns = 0;
        playback->packet_length = 0;
        playback->offset += playback->playout.lengths[playback->next];
        playback->next++;
        if (playback->next == playback->playout.count ||
            now - playback->deadline_ns > CATCH_UP_FRAMES * playback->frame_ns) {
            playback->deadline_ns = now;
        }
        playback->deadline_ns += playback->frame_ns;
        break;
    }
    sift_down(ticker, 0);
}

static void *tick(void *argument)
{
    struct relay *relay = argument;
    struct ticker *ticker = &relay->ticker;
    struct priority priority;
    priority_take(&priority, priority_wants_realtime());
    prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0); /* of this thread alone */
    pthread_mutex_lock(&ticker->lock);
    while (!ticker->stopping) {
        if (ticker->count == 0) {
            pthread_cond_wait(&ticker->wake, &ticker->lock);
            continue;
        }
        int64_t due = ticker->heap[0]->deadline_ns;
        if (relay_now_ns() >= due) {
            step(relay);
            continue;
        }
        struct timespec until = {.tv_sec = due / NANOSECONDS, .tv_nsec = due % NANOSECONDS};
        pthread_cond_timedwait(&ticker->wake, &ticker->lock, &until);
    }
    pthread_mutex_unlock(&ticker->lock);
    return NULL;
}

/* ------------------------------------------------------------------- control */

int ticker_open(struct relay *relay)
{
    struct ticker *ticker = &relay->ticker;
    pthread_condattr_t monotonic;
    ticker->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ticker->event_fd < 0) {
        return -1;
    }
    pthread_mutex_init(&ticker->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ticker->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int cause = thread_start(&ticker->thread, "rtp-ticker", tick, relay);
    ticker->started = cause == 0;
    errno = cause;
    return cause == 0 ? 0 : -1;
}

void ticker_close(struct relay *relay)
{
    struct ticker *ticker = &relay->ticker;
    if (ticker->event_fd < 0) {
        return;
    }
    if (ticker->started) {
        pthread_mutex_lock(&ticker->lock);
        ticker->stopping = true;
        pthread_cond_signal(&ticker->wake);
        pthread_mutex_unlock(&ticker->lock);
        pthread_join(ticker->thread, NULL);
    }
    for (size_t k = 0; k < ticker->count; k++) {
        free(ticker->heap[k]);
    }
    while (ticker->ended_first != NULL) {
        struct playback *ended = ticker->ended_first;
        ticker->ended_first = ended->after;
        free(ended);
    }
    free(ticker->heap);
    pthread_cond_destroy(&ticker->wake);
    pthread_mutex_destroy(&ticker->lock);
    close(ticker->event_fd);
}

static bool is_valid(const struct relay_playout *playout)
{
    if (playout->count == 0 || playout->frame_ms < 1 || playout->frame_ms > 1000 ||
        playout->payload_type > 127) {
        return false;
    }
    for (uint32_t k = 0; k < playout->count; k++) {
        if (playout->lengths[k] == 0 || playout->lengths[k] > RELAY_MAX_FRAME) {
            return false;
        }
    }
    return true;
}

static size_t longest_frame(const struct relay_playout *playout)
{
    size_t longest = 0;
    for (uint32_t k = 0; k < playout->count; k++) {
        longest = playout->lengths[k] > longest ? playout->lengths[k] : longest;
    }
    return longest;
}

/* Room for one more; only ever called by the control side, so the ticker never allocates. */
static int make_room(struct ticker *ticker)
{
    if (ticker->count < ticker->capacity) {
        return 0;
    }
    size_t capacity = ticker->capacity == 0 ? FIRST_CAPACITY : ticker->capacity * 2;
    struct playback **heap = realloc(ticker->heap, capacity * sizeof *heap);
    if (heap == NULL) {
        return -1;
    }
    ticker->heap = heap;
    ticker->capacity = capacity;
    return 0;
}

static bool plays_to(const struct ticker *ticker, uint64_t stream, uint32_t side)
{
    for (size_t k = 0; k < ticker->count; k++) {
        if (ticker->heap[k]->stream == stream && ticker->heap[k]->side == side) {
            return true;
        }
    }
    return false;
}

int relay_play(struct relay *relay, uint64_t stream, uint32_t side,
               const struct relay_playout *playout, uint64_t *playback)
{
    struct ticker *ticker = &relay->ticker;
    if (side > RELAY_CALLEE || !is_valid(playout)) {
        return RELAY_BAD_ARGUMENT;
    }
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        return RELAY_NO_STREAM;
    }
    stream_unlock(found);
    struct playback *added =
        calloc(1, sizeof *added + RTP_FIXED + longest_frame(playout) + SRTP_GROWTH);
    if (added == NULL) {
        return RELAY_SYSTEM;
    }
    added->playout = *playout;
    added->stream = stream;
    added->side = side;
    added->frame_ns = (int64_t)playout->frame_ms * 1000000;
    int status = RELAY_OK;
    pthread_mutex_lock(&ticker->lock);
    if (plays_to(ticker, stream, side)) {
        status = RELAY_BUSY;
    } else if (make_room(ticker) != 0) {
        status = RELAY_SYSTEM;
    } else {
        added->deadline_ns = relay_now_ns();
        added->event.playback = ++ticker->last_id;
        place(ticker, ticker->count++, added);
        sift_up(ticker, ticker->count - 1);
        pthread_cond_signal(&ticker->wake);
        *playback = added->event.playback;
        added = NULL;
    }
    pthread_mutex_unlock(&ticker->lock);
    free(added);
    return status;
}

static void let_others_be_heard(struct relay *relay, const struct playback *playback)
{
    struct stream *stream = stream_lock(relay, playback->stream);
    if (stream != NULL) {
        stream->played_until_ns[playback->side] = 0;
        stream_unlock(stream);
    }
}

int relay_stop_play(struct relay *relay, uint64_t playback)
{
    struct ticker *ticker = &relay->ticker;
    pthread_mutex_lock(&ticker->lock);
    int status = playback == 0 || playback > ticker->last_id ? RELAY_NO_STREAM : RELAY_OK;
    for (size_t k = 0; k < ticker->count; k++) {
        if (ticker->heap[k]->event.playback == playback) {
            let_others_be_heard(relay, ticker->heap[k]);
            end(ticker, k, RELAY_PLAYBACK_STOPPED, relay_now_ns());
            break;
        }
    }
    pthread_mutex_unlock(&ticker->lock);
    return status;
}

size_t relay_poll_playbacks(struct relay *relay, struct relay_playback_event *out, size_t capacity)
{
    struct ticker *ticker = &relay->ticker;
    size_t count = 0;
    pthread_mutex_lock(&ticker->lock);
    while (count < capacity && ticker->ended_first != NULL) {
        struct playback *ended = ticker->ended_first;
        ticker->ended_first = ended->after;
        out[count++] = ended->event;
        free(ended);
    }
    if (ticker->ended_first == NULL) {
        eventfd_t waiting;
        ticker->ended_last = NULL;
        eventfd_read(ticker->event_fd, &waiting); /* EAGAIN: it was not readable */
    }
    pthread_mutex_unlock(&ticker->lock);
    return count;
}

int relay_event_fd(const struct relay *relay)
{
    return relay->ticker.event_fd;
}
