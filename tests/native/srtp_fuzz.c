/* libFuzzer: any bytes as SRTP, and any bytes to be sealed. Each packet lies at the end of a heap
 * block with just the room that is promised, so ASan sees what goes past it. What was sealed must
 * open to what it was, once. */
#include "check.h"
#include "srtp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t LENGTHS[] = {30, 30, 28, 44};

static uint8_t *copy(const uint8_t *data, size_t size)
{
    uint8_t *block = malloc(size + SRTP_GROWTH);
    CHECK(block != NULL);
    if (size > 0) {
        memcpy(block, data, size);
    }
    return block;
}

static void open_strange(const struct relay_srtp_key *key, const uint8_t *data, size_t size)
{
    struct srtp_direction *inbound = NULL;
    uint8_t *block = malloc(size > 0 ? size : 1); /* no room: opening never grows */
    CHECK(block != NULL && srtp_make(key, SRTP_OPEN, &inbound) == 0);
    if (size > 0) {
        memcpy(block, data, size);
    }
    size_t length = size;
    CHECK(!srtp_open(inbound, block, &length) || length < size);
    srtp_destroy(inbound);
    free(block);
}

static void seal_and_open(const struct relay_srtp_key *key, const uint8_t *data, size_t size)
{
    struct srtp_direction *inbound = NULL, *outbound = NULL;
    uint8_t *block = copy(data, size);
    size_t length = size;
    CHECK(srtp_make(key, SRTP_OPEN, &inbound) == 0 && srtp_make(key, SRTP_SEAL, &outbound) == 0);
    if (srtp_seal(outbound, block, &length)) {
        CHECK(length > size && length <= size + SRTP_GROWTH);
        uint8_t *again = copy(block, length), *twice = copy(data, size);
        size_t again_length = length, twice_length = size;
        CHECK(srtp_open(inbound, block, &length));
        CHECK(length == size && memcmp(block, data, size) == 0);
        CHECK(!srtp_open(inbound, again, &again_length));
        bool rtcp = data[1] >= 192 && data[1] <= 223; /* of which each has an index of its own */
        CHECK(rtcp || !srtp_seal(outbound, twice, &twice_length));
        free(again);
        free(twice);
    }
    srtp_destroy(inbound);
    srtp_destroy(outbound);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct relay_srtp_key key = {.suite = data[0] % 4, .length = LENGTHS[data[0] % 4]};
    for (uint32_t k = 0; k < key.length; k++) {
        key.key[k] = (uint8_t)(k * 7 + 1);
    }
    open_strange(&key, data + 1, size - 1);
    seal_and_open(&key, data + 1, size - 1);
    return 0;
}
