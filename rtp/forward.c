#define _GNU_SOURCE
#include "forward.h"

#include <string.h>
#include <time.h>

enum { NANOSECONDS = 1000000000, CLOCK_TRIES = 4 };
enum { EVENT_BYTES = 4, LAST_EVENT = 16 };

static const int64_t CLOCK_PAIR_NS = 2000;          /* two clocks read this close will do */
static const int64_t STAMP_TRUST_NS = 2000000000LL; /* a stamp further off is not believed */

/* ------------------------------------------------------------------------- time */

static int64_t read_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * NANOSECONDS + time.tv_nsec;
}

int64_t relay_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* The kernel stamps with CLOCK_REALTIME. The monotonic clock is read before the other, so an error
 * makes packets look older by at most the time between the two reads, never newer. */
struct instant take_instant(void)
{
    struct instant best = {0};
    int64_t best_ns = INT64_MAX;
    for (int k = 0; k < CLOCK_TRIES && best_ns > CLOCK_PAIR_NS; k++) {
        int64_t before = relay_now_ns();
        int64_t real = read_clock(CLOCK_REALTIME);
        int64_t took_ns = relay_now_ns() - before;
        if (took_ns < best_ns) {
            best = (struct instant){.now_ns = before, .realtime_ahead_ns = real - before};
            best_ns = took_ns;
        }
    }
    return best;
}

/* A stamp may be newer than the instant: packets come while we work through the ready ones. One
 * that is far off means that the wall clock was set in between; then "late" is never assumed. */
static int64_t trusted(int64_t stamp_ns, int64_t now_ns)
{
    if (stamp_ns > now_ns + STAMP_TRUST_NS) {
        return now_ns;
    }
    return stamp_ns < now_ns - STAMP_TRUST_NS ? now_ns - STAMP_TRUST_NS : stamp_ns;
}

void datagram_stamp(struct datagram *datagram, struct msghdr *control,
                    const struct instant *instant)
{
    datagram->arrival_ns = instant->now_ns;
    datagram->socket_drops = 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(control); item != NULL;
         item = CMSG_NXTHDR(control, item)) {
        if (item->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (item->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(item), sizeof stamp);
            int64_t ns =
                (int64_t)stamp.tv_sec * NANOSECONDS + stamp.tv_nsec - instant->realtime_ahead_ns;
            datagram->arrival_ns = trusted(ns, instant->now_ns);
        } else if (item->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&datagram->socket_drops, CMSG_DATA(item), sizeof datagram->socket_drops);
        }
    }
}

/* -------------------------------------------------------------------- one datagram */

static bool in_fork(const struct stream *stream, int64_t arrival_ns)
{
    return stream->fork_on && arrival_ns >= stream->fork_from_ns &&
           arrival_ns < stream->fork_until_ns;
}

/* One block of a key or the hook flash, RFC 4733 sections 2.3 and 3.2. Speech under that payload
 * type is longer; what is as short and begins like one is let in, four bytes of it. */
static bool is_event(const struct stream *stream, uint32_t side, const struct datagram *datagram,
                     const struct relay_packet *packet)
{
    uint64_t types = stream->events[side][packet->payload_type / 64];
    return (types >> packet->payload_type % 64 & 1) != 0 && packet->payload_length == EVENT_BYTES &&
           datagram->data[packet->payload_offset] <= LAST_EVENT;
}

static void copy_to_ring(struct stream *stream, uint32_t side, const struct datagram *datagram,
                         const struct relay_packet *packet, bool event_only)
{
    struct relay_side_stats *stats = &stream->stats[side];
    struct relay_record record = {
        .stream = stream->id,
        .arrival_ns = datagram->arrival_ns,
        .timestamp = packet->timestamp,
        .ssrc = packet->ssrc,
        .sequence = packet->sequence,
        .length = (uint16_t)packet->payload_length,
        .side = (uint8_t)side,
        .payload_type = packet->payload_type,
        .marker = packet->marker,
        .event_only = event_only,
    };
    if (ring_put(&stream->worker->ring, &record, datagram->data + packet->payload_offset)) {
        *(event_only ? &stats->events : &stats->forked) += 1;
    } else {
        stats->fork_dropped++;
    }
}

/* Counts and forks a datagram of an RTP port. Tells whether it is multiplexed RTCP. */
static bool take_rtp(struct stream *stream, uint32_t side, const struct datagram *datagram)
{
    struct relay_side_stats *stats = &stream->stats[side];
    struct relay_packet packet;
    stats->last_packet_ns = datagram->arrival_ns;
    if (datagram->socket_drops != 0) { /* wraps with uint32_t, as the kernel's does */
        stats->socket_dropped += datagram->socket_drops - stream->socket_drops_seen[side];
        stream->socket_drops_seen[side] = datagram->socket_drops;
    }
    int kind = relay_parse(datagram->data, datagram->length, &packet);
    if (kind == RELAY_PACKET_RTCP) {
        stats->rtcp_received++;
        return true;
    }
    stats->received++;
    stats->received_bytes += datagram->length;
    if (kind == RELAY_PACKET_RTP) {
        stats->ssrc = packet.ssrc;
        if (in_fork(stream, datagram->arrival_ns)) {
            copy_to_ring(stream, side, datagram, &packet, false);
        } else if (is_event(stream, side, datagram, &packet)) {
            copy_to_ring(stream, side, datagram, &packet, true);
        }
    } else if (kind == RELAY_PACKET_OPAQUE) {
        stats->opaque++;
    } else {
        stats->malformed++;
    }
    return false;
}

bool forward(struct stream *stream, uint32_t index, struct datagram *datagram,
             struct onward *onward)
{
    uint32_t side = index / 2, far = 1 - side;
    enum component component = index % 2 == 0 ? RTP : RTCP;
    struct relay_side_stats *stats = &stream->stats[side];
    const struct flow *flow = &stream->parties[far].flows[component];
    bool rtcp = component == RTCP;
    struct srtp_direction *inbound = stream->crypto[side].inbound;
    struct party before;
    if (inbound != NULL) {
        before = stream->parties[side];
    }
    if (!party_accepts(&stream->parties[side], component, datagram->source)) {
        stats->foreign++;
        return false;
    }
    if (datagram->cut) {
        stats->malformed++;
        return false;
    }
    if (inbound != NULL && !srtp_open(inbound, datagram->data, &datagram->length)) {
        stream->parties[side] = before; /* a source is latched by what is authentic alone */
        stats->unauthentic++;
        return false;
    }
    if (rtcp) {
        stats->rtcp_received++;
    } else {
        rtcp = take_rtp(stream, side, datagram);
    }
    if (!stream->gate_open || (!rtcp && datagram->arrival_ns < stream->played_until_ns[far])) {
        stats->gated++;
        return false;
    }
    if (flow->target_length == 0) {
        stats->unroutable++;
        return false;
    }
    if (stream->crypto[far].outbound != NULL &&
        !srtp_seal(stream->crypto[far].outbound, datagram->data, &datagram->length)) {
        stats->unsealed++;
        return false;
    }
    *(rtcp ? &stats->rtcp_relayed : &stats->relayed) += 1;
    *onward = (struct onward){
        .data = datagram->data,
        .length = datagram->length,
        .flow = flow,
        .fd = stream->sockets[far * 2 + (uint32_t)component],
        .rtcp = rtcp,
    };
    return true;
}

void forward_refused(struct stream *stream, uint32_t index, bool rtcp)
{
    struct relay_side_stats *stats = &stream->stats[index / 2];
    *(rtcp ? &stats->rtcp_relayed : &stats->relayed) -= 1;
    stats->send_errors++;
}
