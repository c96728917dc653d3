/* Every header that fits into its length, and every length one too short, from an exact heap copy.
 */
#include "check.h"
#include "relay_api.h"

#include <string.h>

static int parse_copy(const uint8_t *data, size_t length, struct relay_packet *packet)
{
    uint8_t *copy = malloc(length);
    CHECK(copy != NULL || length == 0);
    if (length > 0) {
        memcpy(copy, data, length);
    }
    int kind = relay_parse(copy, length, packet);
    free(copy);
    CHECK(kind == packet->kind);
    return kind;
}

static void every_header(void)
{
    uint8_t data[256] = {0};
    for (unsigned csrc = 0; csrc < 16; csrc++) {
        for (unsigned words = 0; words < 6; words++) { /* 0: no extension; else words - 1 */
            for (unsigned padding = 0; padding < 9; padding++) {
                size_t header = 12 + 4 * csrc + (words > 0 ? 4 + 4 * (words - 1) : 0);
                size_t payload = 5, length = header + payload + padding;
                memset(data, 0xee, sizeof data);
                data[0] =
                    (uint8_t)(0x80 | (padding > 0 ? 0x20 : 0) | (words > 0 ? 0x10 : 0) | csrc);
                data[1] = 0x80 | 0x60;
                if (words > 0) {
                    size_t at = 12 + 4 * csrc;
                    data[at + 2] = 0;
                    data[at + 3] = (uint8_t)(words - 1);
                }
                if (padding > 0) {
                    data[length - 1] = (uint8_t)padding;
                }
                struct relay_packet packet;
                CHECK(parse_copy(data, length, &packet) == RELAY_PACKET_RTP);
                CHECK(packet.payload_offset == header);
                CHECK(packet.payload_length == payload);
                CHECK(packet.csrc_count == csrc && packet.padding == padding);
                CHECK(packet.extended == (words > 0));
                CHECK(packet.marker == 1 && packet.payload_type == 0x60);
                CHECK(packet.sequence == 0xeeee && packet.timestamp == 0xeeeeeeee);
                for (size_t cut = 0; cut < header; cut++) {
                    int kind = parse_copy(data, cut, &packet);
                    CHECK(kind >= RELAY_PACKET_SHORT);
                    CHECK(packet.payload_length == 0 && packet.ssrc == 0);
                }
            }
        }
    }
}

static void every_second_octet(void)
{
    uint8_t data[12] = {0x80};
    struct relay_packet packet;
    for (unsigned second = 0; second < 256; second++) {
        data[1] = (uint8_t)second;
        int kind = parse_copy(data, sizeof data, &packet);
        CHECK(kind == (second >= 192 && second <= 223 ? RELAY_PACKET_RTCP : RELAY_PACKET_RTP));
    }
}

static void every_version(void)
{
    uint8_t data[12] = {0};
    struct relay_packet packet;
    for (unsigned first = 0; first < 256; first++) {
        data[0] = (uint8_t)first;
        CHECK((parse_copy(data, sizeof data, &packet) == RELAY_PACKET_OPAQUE) == (first >> 6 != 2));
    }
}

int main(void)
{
    every_header();
    every_second_octet();
    every_version();
    PASSED();
    return 0;
}
