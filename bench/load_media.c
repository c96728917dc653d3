/* RTP both ways. Each payload carries a magic word, its stream, its number and its
 * time of sending, four bits a byte: such bytes survive a mu-law decode and encode,
 * so loss and one-way delay are measured on every packet, not on a sample. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { HEADER = 12, STAMPED = 40, MAX_PAYLOAD = 8 * MAX_FRAME_MS, BURST = 64 };
static const uint32_t MAGIC = 0x52c0ffee;

struct stream {
    int fd;
    bool on;
    struct sockaddr_in to;
    uint16_t sequence;
    uint32_t timestamp, ssrc;
    ns_t phase;      /* place in the rotation of one frame */
    uint32_t number; /* packets sent */
    uint32_t window_sent, window_received;
    uint32_t last, repeated;
    int64_t heard; /* stream first heard on this socket, -1 for none */
};

struct histogram media_delay, media_late;
static struct stream *streams; /* [0, calls): the caller's; [calls, 2 * calls): the callee's */
static int *order;             /* streams by phase */
static int place;              /* in order */
static ns_t turn;              /* when the present rotation began */
static ns_t window_from = INT64_MAX, window_to = INT64_MAX; /* wall clock: kernel stamps are */
static uint8_t filler[MAX_PAYLOAD];
static ssize_t payload; /* bytes of one frame of G.711 */
static ns_t frame;      /* its length */
static struct media_stats totals;

static void put_nibbles(uint8_t *to, uint64_t value, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = (uint8_t)(0xa0 | (value & 15));
        value >>= 4;
    }
}

static uint64_t get_nibbles(const uint8_t *from, int count)
{
    uint64_t value = 0;
    for (int i = count; i-- > 0;) {
        value = value << 4 | (from[i] & 15);
    }
    return value;
}

static int by_phase(const void *left, const void *right)
{
    ns_t a = streams[*(const int *)left].phase;
    ns_t b = streams[*(const int *)right].phase;
    return a < b ? -1 : a > b;
}

static void open_stream(int k, int epoll)
{
    struct stream *s = &streams[k];
    bool ours = k < opt.calls;
    int i = k % opt.calls;
    struct sockaddr_in at = ours ? opt.uac : opt.uas;
    at.sin_port = htons((uint16_t)((ours ? opt.uac_rtp : opt.uas_rtp) + 2 * i));
    s->fd = udp_socket(at, 212992, true);
    s->sequence = (uint16_t)rand();
    s->timestamp = (uint32_t)rand();
    s->ssrc = (uint32_t)rand() ^ (uint32_t)k << 8;
    s->heard = -1;
    /* Evenly spread; the two directions of one call are not in step. */
    s->phase = ours ? frame * i / opt.calls
                    : frame * ((i * 7 + 3) % opt.calls) / opt.calls + frame / (2 * opt.calls);
    if (opt.quantum_us > 0) {
        s->phase -= s->phase % (opt.quantum_us * (MS / 1000));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)k};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event) < 0) {
        die("epoll_ctl");
    }
    if (!opt.signalling) {
        struct sockaddr_in to = ours ? opt.uas : opt.uac;
        to.sin_port = htons((uint16_t)((ours ? opt.uas_rtp : opt.uac_rtp) + 2 * i));
        if (strcmp(opt.mode, "direct") == 0) {
            to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            to.sin_port = htons((uint16_t)(opt.relay_base + 2 * i + (ours ? 0 : 1)));
        }
        media_start(k, &to);
    }
}

void media_open(int epoll)
{
    streams = need((size_t)opt.calls * 2, sizeof *streams);
    order = need((size_t)opt.calls * 2, sizeof *order);
    payload = 8 * opt.frame_ms;
    frame = opt.frame_ms * MS;
    for (int i = 0; i < MAX_PAYLOAD; i++) {
        filler[i] = (uint8_t)(0x80 | (rand() & 0x3f));
    }
    for (int k = 0; k < 2 * opt.calls; k++) {
        order[k] = k;
        open_stream(k, epoll);
    }
    qsort(order, (size_t)opt.calls * 2, sizeof *order, by_phase);
    turn = monotonic();
}

bool media_start(int k, const struct sockaddr_in *to)
{
    streams[k].to = *to;
    streams[k].on = true;
    return true;
}

void media_stop(int k)
{
    streams[k].on = false;
}

void media_open_window(void)
{
    memset(&media_late, 0, sizeof media_late);
    window_from = realtime();
}

void media_close_window(void)
{
    window_to = realtime();
}

static void send_frame(int k)
{
    struct stream *s = &streams[k];
    uint8_t packet[HEADER + MAX_PAYLOAD] = {0x80, s->number == 0 ? 0x80 : 0};
    uint16_t sequence = htons(s->sequence++);
    uint32_t timestamp = htonl(s->timestamp);
    memcpy(packet + 2, &sequence, sizeof sequence);
    memcpy(packet + 4, &timestamp, sizeof timestamp);
    memcpy(packet + 8, &s->ssrc, sizeof s->ssrc);
    s->timestamp += (uint32_t)payload;
    memcpy(packet + HEADER, filler, (size_t)payload);
    put_nibbles(packet + HEADER, MAGIC, 8);
    put_nibbles(packet + HEADER + 8, (uint64_t)k, 8);
    put_nibbles(packet + HEADER + 16, s->number, 8);
    ns_t now = realtime();
    put_nibbles(packet + HEADER + 24, (uint64_t)now, 16);
    s->number++;
    if (now >= window_from && now < window_to) {
        s->window_sent++;
    }
    if (sendto(s->fd, packet, (size_t)(HEADER + payload), 0, (const struct sockaddr *)&s->to,
               sizeof s->to) < 0) {
        totals.send_errors++;
    }
}

/* Send what is due, a burst at most; returns when the next frame is due. */
ns_t media_send_due(ns_t now)
{
    ns_t due = now + 2 * MS;
    for (int sent = 0; sent < BURST; sent++) {
        int k = order[place];
        due = turn + streams[k].phase;
        now = monotonic();
        if (due > now) {
            break;
        }
        if (window_from != INT64_MAX && window_to == INT64_MAX) {
            count_us(&media_late, now - due);
        }
        if (streams[k].on) {
            send_frame(k);
        }
        if (++place == 2 * opt.calls) {
            place = 0;
            turn += frame;
        }
    }
    return due;
}

static ns_t stamp_of(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(c), sizeof at);
            return at.tv_sec * SEC + at.tv_nsec;
        }
    }
    return realtime();
}

void media_receive(uint32_t socket)
{
    uint8_t packet[2048];
    _Alignas(struct cmsghdr) char control[128];
    struct iovec place_for = {packet, sizeof packet};
    struct msghdr message = {.msg_iov = &place_for,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t length = recvmsg(streams[socket].fd, &message, MSG_DONTWAIT);
    if (length < 0) {
        return;
    }
    ns_t at = stamp_of(&message);
    bool inside = at >= window_from && at < window_to;
    if (length != HEADER + payload || get_nibbles(packet + HEADER, 8) != MAGIC) {
        totals.alien++;
        totals.window_alien += inside;
        return;
    }
    uint64_t from = get_nibbles(packet + HEADER + 8, 8);
    uint32_t number = (uint32_t)get_nibbles(packet + HEADER + 16, 8);
    ns_t sent = (ns_t)get_nibbles(packet + HEADER + 24, 16);
    if (from >= 2 * (uint64_t)opt.calls) {
        totals.alien++;
        totals.window_alien += inside;
        return;
    }
    totals.altered +=
        memcmp(packet + HEADER + STAMPED, filler + STAMPED, (size_t)(payload - STAMPED)) != 0;
    struct stream *here = &streams[socket];
    if (here->heard < 0) {
        here->heard = (int64_t)from;
    }
    bool both_ours = (from < (uint64_t)opt.calls) == (socket < (uint32_t)opt.calls);
    if (here->heard != (int64_t)from || both_ours) {
        totals.crosstalk++;
    }
    struct stream *s = &streams[from];
    if (number <= s->last && number != 0) {
        s->repeated++;
    }
    s->last = number;
    if (sent < window_from || sent >= window_to) {
        return;
    }
    s->window_received++;
    count_us(&media_delay, at - sent);
}

struct media_stats media_stats(void)
{
    struct media_stats sum = totals;
    for (int k = 0; opt.media && k < 2 * opt.calls; k++) {
        const struct stream *s = &streams[k];
        sum.sent += s->window_sent;
        sum.received += s->window_received;
        sum.repeated += s->repeated;
        if (s->window_sent > 0 && s->window_received == 0) {
            sum.dead++;
        }
        bool past = s->to.sin_addr.s_addr == opt.uac.sin_addr.s_addr ||
                    s->to.sin_addr.s_addr == opt.uas.sin_addr.s_addr;
        if (opt.signalling && s->window_sent > 0 && past) {
            sum.bypassed++;
        }
    }
    return sum;
}
