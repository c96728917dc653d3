/* The ring: bounds, wrap, drops; and two threads that must agree on every byte (TSan). */
#include "check.h"
#include "ring.h"

#include <pthread.h>
#include <string.h>

enum { PACKETS = 200000, LONGEST = 700, TAKEN = 97, DATA = 20000 };

static struct relay_record numbered(uint32_t number, uint16_t length)
{
    return (struct relay_record){.stream = 7, .timestamp = number, .length = length};
}

static uint16_t length_of(uint32_t number)
{
    return (uint16_t)((number * 2654435761u >> 16) % (LONGEST + 1));
}

static void fill(uint8_t *payload, uint32_t number, uint16_t length)
{
    for (uint16_t k = 0; k < length; k++) {
        payload[k] = (uint8_t)(number + k);
    }
}

static void check_packet(const struct relay_record *record, const uint8_t *data, uint32_t number)
{
    CHECK(record->timestamp == number);
    CHECK(record->length == length_of(number));
    for (uint16_t k = 0; k < record->length; k++) {
        CHECK(data[record->offset + k] == (uint8_t)(number + k));
    }
}

static void bounds(void)
{
    struct ring ring;
    uint8_t payload[1024] = {1}, data[1 << 16];
    struct relay_record records[600];
    uint64_t waiting, bytes, used;
    CHECK(ring_open(&ring, (1 << 17) - 1) == 0);
    CHECK(ring.data_size == 1 << 16 && ring.record_size == 512);
    struct relay_record record = numbered(0, 1024);
    for (int k = 0; k < 64; k++) {
        CHECK(ring_put(&ring, &record, payload));
    }
    CHECK(!ring_put(&ring, &record, payload)); /* the bytes are used up */
    record.length = 0;
    CHECK(ring_put(&ring, &record, payload)); /* nothing always fits */
    ring_waiting(&ring, &waiting, &bytes);
    CHECK(waiting == 65 && bytes == 1 << 16);
    CHECK(ring_take(&ring, records, 600, data, 0, 1023, &used) == 0 && used == 0);
    CHECK(ring_take(&ring, records, 3, data, 0, sizeof data, &used) == 3 && used == 3072);
    CHECK(ring_take(&ring, records, 600, data, 100, 100 + 2048, &used) == 2 && used == 2048);
    CHECK(records[0].offset == 100 && records[1].offset == 1124);
    CHECK(ring_take(&ring, records, 600, data, 0, sizeof data, &used) == 60);
    for (int k = 0; k < 512; k++) {
        CHECK(ring_put(&ring, &record, payload));
    }
    CHECK(!ring_put(&ring, &record, payload)); /* the records are used up */
    CHECK(atomic_load(&ring.dropped) == 2);
    ring_close(&ring);
    ring_close(&ring);
}

struct shared {
    struct ring ring;
    uint64_t refused;
};

static void *produce(void *argument)
{
    struct shared *shared = argument;
    uint8_t payload[LONGEST];
    for (uint32_t number = 0; number < PACKETS;) {
        struct relay_record record = numbered(number, length_of(number));
        fill(payload, number, record.length);
        if (ring_put(&shared->ring, &record, payload)) {
            number++;
        } else {
            shared->refused++;
        }
    }
    return NULL;
}

static void two_threads(void)
{
    static struct shared shared;
    static uint8_t data[DATA];
    struct relay_record records[TAKEN];
    pthread_t producer;
    uint32_t expected = 0;
    CHECK(ring_open(&shared.ring, 1 << 16) == 0);
    CHECK(pthread_create(&producer, NULL, produce, &shared) == 0);
    while (expected < PACKETS) {
        uint64_t used;
        size_t count = ring_take(&shared.ring, records, TAKEN, data, 0, DATA, &used);
        for (size_t k = 0; k < count; k++) {
            check_packet(&records[k], data, expected++);
        }
    }
    pthread_join(producer, NULL);
    CHECK(atomic_load(&shared.ring.dropped) == shared.refused);
    ring_close(&shared.ring);
}

int main(void)
{
    bounds();
    two_threads();
    PASSED();
    return 0;
}
