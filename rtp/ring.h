/* A bounded queue of packets: one thread puts, one takes, neither ever waits for the other. */
#ifndef RECPROXY_RING_H
#define RECPROXY_RING_H

#include "pages.h"
#include "relay_api.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CACHE_LINE = 64 };

/* Payloads lie in `data`, byte after byte; a payload may run over the end and go on at the start.
 * Records lie beside it. Counters only grow; the place is the counter modulo the size. While a
 * record is in the ring its `offset` holds the low bits of the counter where its payload starts. */
struct ring {
    uint8_t *data;
    struct relay_record *records;
    uint64_t data_size; /* powers of two */
    uint64_t record_size;
    struct pages pages; /* hold both */

    /* the producer's */
    _Alignas(CACHE_LINE) _Atomic uint64_t record_head;
    _Atomic uint64_t data_head;
    _Atomic uint64_t dropped;
    uint64_t seen_record_tail; /* of the consumer's, as last read */
    uint64_t seen_data_tail;

    /* the consumer's */
    _Alignas(CACHE_LINE) _Atomic uint64_t record_tail;
    _Atomic uint64_t data_tail;
};

/* data_bytes is rounded down to a power of two. 0, or -1 with errno. */
int ring_open(struct ring *ring, uint64_t data_bytes);
void ring_close(struct ring *ring);

/* Producer. False, and counted, if it does not fit. record->offset is set by the ring. */
bool ring_put(struct ring *ring, const struct relay_record *record, const uint8_t *payload);

/* Consumer: what waits, at least. */
void ring_waiting(struct ring *ring, uint64_t *records, uint64_t *bytes);

/* Consumer: moves whole records out. Their offsets start at `base`; the payloads are written to
 * data[base ...], up to data[limit - 1]. *used is the number of payload bytes written. */
size_t ring_take(struct ring *ring, struct relay_record *records, size_t max_records, uint8_t *data,
                 uint64_t base, uint64_t limit, uint64_t *used);

#endif
