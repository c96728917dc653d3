/* The RTP header reader. rtp/packet.py is the same in Python; a test holds them together. */
#include "relay_api.h"

#include <string.h>

enum {
    RTP_FIXED = 12,   /* RFC 3550 section 5.1 */
    RTCP_FIXED = 8,   /* RFC 3550 section 6.4: header and sender's SSRC */
    RTCP_FIRST = 192, /* RFC 5761 section 4: second octet of RTCP */
    RTCP_LAST = 223,
    VERSION = 2,
};

static uint16_t read16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t read32(const uint8_t *at)
{
    return (uint32_t)read16(at) << 16 | read16(at + 2);
}

static int broken(struct relay_packet *packet, enum relay_packet_kind kind)
{
    memset(packet, 0, sizeof *packet);
    packet->kind = (uint8_t)kind;
    return (int)kind;
}

/* Lengths are only ever compared with what is left, so nothing can wrap. */
int relay_parse(const uint8_t *data, size_t length, struct relay_packet *packet)
{
    if (length == 0) {
        return broken(packet, RELAY_PACKET_SHORT);
    }
    if (data[0] >> 6 != VERSION) {
        return broken(packet, RELAY_PACKET_OPAQUE);
    }
    if (length >= 2 && data[1] >= RTCP_FIRST && data[1] <= RTCP_LAST) {
        return broken(packet, length < RTCP_FIXED ? RELAY_PACKET_SHORT : RELAY_PACKET_RTCP);
    }
    if (length < RTP_FIXED) {
        return broken(packet, RELAY_PACKET_SHORT);
    }
    size_t offset = RTP_FIXED, left = length - RTP_FIXED;
    size_t csrc = data[0] & 0x0f;
    if (csrc * 4 > left) {
        return broken(packet, RELAY_PACKET_CSRC);
    }
    offset += csrc * 4;
    left -= csrc * 4;
    uint8_t extended = data[0] >> 4 & 1;
    if (extended) {
        if (left < 4) {
            return broken(packet, RELAY_PACKET_EXTENSION);
        }
        size_t words = read16(data + offset + 2);
        offset += 4;
        left -= 4;
        if (words * 4 > left) {
            return broken(packet, RELAY_PACKET_EXTENSION);
        }
        offset += words * 4;
        left -= words * 4;
    }
    uint8_t padding = 0;
    if (data[0] >> 5 & 1) {
        padding = left > 0 ? data[length - 1] : 0;
        if (padding == 0 || padding > left) {
            return broken(packet, RELAY_PACKET_PADDING);
        }
        left -= padding;
    }
    *packet = (struct relay_packet){
        .timestamp = read32(data + 4),
        .ssrc = read32(data + 8),
        .payload_offset = (uint32_t)offset,
        .payload_length = (uint32_t)left,
        .sequence = read16(data + 2),
        .payload_type = data[1] & 0x7f,
        .marker = data[1] >> 7,
        .kind = RELAY_PACKET_RTP,
        .csrc_count = (uint8_t)csrc,
        .extended = extended,
        .padding = padding,
    };
    return RELAY_PACKET_RTP;
}
