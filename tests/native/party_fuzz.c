/* libFuzzer: whatever the order of sources, a latch moves at most as often as its mode allows. */
#include "party.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union address signalled, source;
    struct party party;
    uint16_t last = 0, moves = 0;
    if (size < 1 || address_read(&signalled, "192.0.2.1", 4) != 0 ||
        address_read(&source, "192.0.2.1", 0) != 0) {
        return 0;
    }
    enum relay_latch latch = (enum relay_latch)(data[0] % 3);
    party_set(&party, &signalled, 5, latch);
    for (size_t k = 1; k < size; k++) {
        uint16_t port = data[k] & 0x0f;
        source.v4.sin_port = htons(port);
        source.v4.sin_addr.s_addr = htonl(0xc0000201u + (data[k] >> 4 & 1));
        if (!party_accepts(&party, RTP, &source)) {
            continue;
        }
        if (latch != RELAY_ANY && source.v4.sin_addr.s_addr != signalled.v4.sin_addr.s_addr) {
            abort();
        }
        uint16_t key = (uint16_t)(port | (data[k] & 0x10) | 0x100);
        moves = (uint16_t)(moves + (key != last));
        last = key;
    }
    uint16_t allowed = latch == RELAY_ADDRESS ? 2 : 1;
    if (moves > allowed) {
        abort();
    }
    return 0;
}
