#include "ring.h"

#include <string.h>

/* One record for each 128 payload bytes: packets of 160 bytes (G.711, 20 ms) fill both alike. */
enum { BYTES_PER_RECORD = 128 };

_Static_assert(sizeof(struct relay_record) == 40, "FORK_DTYPE in fork.py says 40");

int ring_open(struct ring *ring, uint64_t data_bytes)
{
    uint64_t size = RELAY_MIN_RING;
    while (size * 2 <= data_bytes) {
        size *= 2;
    }
    uint64_t count = size / BYTES_PER_RECORD;
    struct pages pages;
    if (pages_open(&pages, size + count * sizeof(struct relay_record)) != 0) {
        return -1;
    }
    uint8_t *memory = pages.start;
    memset(ring, 0, sizeof *ring);
    ring->data = memory;
    ring->records = (struct relay_record *)(void *)(memory + size);
    ring->data_size = size;
    ring->record_size = count;
    ring->pages = pages;
    return 0;
}

void ring_close(struct ring *ring)
{
    pages_close(&ring->pages);
}

bool ring_put(struct ring *ring, const struct relay_record *record, const uint8_t *payload)
{
    uint64_t record_head = atomic_load_explicit(&ring->record_head, memory_order_relaxed);
    uint64_t data_head = atomic_load_explicit(&ring->data_head, memory_order_relaxed);
    size_t length = record->length;
    if (record_head - ring->seen_record_tail >= ring->record_size ||
        data_head - ring->seen_data_tail + length > ring->data_size) {
        ring->seen_record_tail = atomic_load_explicit(&ring->record_tail, memory_order_acquire);
        ring->seen_data_tail = atomic_load_explicit(&ring->data_tail, memory_order_acquire);
        if (record_head - ring->seen_record_tail >= ring->record_size ||
            data_head - ring->seen_data_tail + length > ring->data_size) {
            uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);
            atomic_store_explicit(&ring->dropped, dropped + 1, memory_order_relaxed);
            return false;
        }
    }
    uint64_t start = data_head & (ring->data_size - 1);
    size_t first = ring->data_size - start < length ? (size_t)(ring->data_size - start) : length;
    memcpy(ring->data + start, payload, first);
    memcpy(ring->data, payload + first, length - first);
    struct relay_record *place = &ring->records[record_head & (ring->record_size - 1)];
    *place = *record;
    place->offset = (uint32_t)data_head;
    atomic_store_explicit(&ring->data_head, data_head + length, memory_order_relaxed);
    atomic_store_explicit(&ring->record_head, record_head + 1, memory_order_release);
    return true;
}

void ring_waiting(struct ring *ring, uint64_t *records, uint64_t *bytes)
{
    uint64_t record_head = atomic_load_explicit(&ring->record_head, memory_order_acquire);
    uint64_t data_head = atomic_load_explicit(&ring->data_head, memory_order_relaxed);
    *records = record_head - atomic_load_explicit(&ring->record_tail, memory_order_relaxed);
    *bytes = data_head - atomic_load_explicit(&ring->data_tail, memory_order_relaxed);
}

size_t ring_take(struct ring *ring, struct relay_record *records, size_t max_records, uint8_t *data,
                 uint64_t base, uint64_t limit, uint64_t *used)
{
    uint64_t record_head = atomic_load_explicit(&ring->record_head, memory_order_acquire);
    uint64_t record_tail = atomic_load_explicit(&ring->record_tail, memory_order_relaxed);
    uint64_t data_tail = atomic_load_explicit(&ring->data_tail, memory_order_relaxed);
    uint64_t waiting = record_head - record_tail, bytes = 0;
    size_t count = 0;
    while (count < waiting && count < max_records) {
        struct relay_record *record = &records[count];
        *record = ring->records[(record_tail + count) & (ring->record_size - 1)];
        if (record->length > limit - base - bytes) {
            break;
        }
        record->offset = (uint32_t)(base + bytes);
        bytes += record->length;
        count++;
    }
    uint64_t start = data_tail & (ring->data_size - 1);
    uint64_t first = ring->data_size - start < bytes ? ring->data_size - start : bytes;
    if (bytes > 0) {
        memcpy(data + base, ring->data + start, (size_t)first);
        memcpy(data + base + first, ring->data, (size_t)(bytes - first));
    }
    atomic_store_explicit(&ring->data_tail, data_tail + bytes, memory_order_release);
    atomic_store_explicit(&ring->record_tail, record_tail + count, memory_order_release);
    *used = bytes;
    return count;
}
