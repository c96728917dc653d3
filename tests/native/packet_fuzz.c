/* libFuzzer: whatever comes, the payload lies inside the datagram and the numbers add up. */
#include "relay_api.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct relay_packet packet;
    memset(&packet, 0xa5, sizeof packet);
    int kind = relay_parse(data, size, &packet);
    if (kind != packet.kind || kind > RELAY_PACKET_PADDING) {
        abort();
    }
    if (kind == RELAY_PACKET_RTP) {
        size_t end = (size_t)packet.payload_offset + packet.payload_length + packet.padding;
        size_t least = 12u + 4u * packet.csrc_count + (packet.extended ? 4u : 0u);
        if (end != size || packet.payload_offset < least || packet.payload_type > 127) {
            abort();
        }
    } else if (packet.payload_length != 0 || packet.payload_offset != 0) {
        abort();
    }
    return 0;
}
