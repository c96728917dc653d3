/* Sorts a batch of the fork by stream and side, and sums up what is an unbroken run. */
#include "relay_api.h"

#include <string.h>

enum { NOBODY = 0xffffffffu };

/* Of the payload bytes of G.711, one a sample, 8,000 a second. */
static const uint64_t BYTE_NS = 125000;

static uint64_t mixed(uint64_t stream, uint8_t side)
{
    return (stream * 2 + side) * 0x9e3779b97f4a7c15u >> 32;
}

/* Gives the run of a stream's side, a new one at the end of `runs` if there is none. */
static uint32_t run_of(const struct relay_record *record, uint32_t *table, uint64_t mask,
                       struct relay_run *runs, uint32_t *total)
{
    uint64_t place = mixed(record->stream, record->side) & mask;
    while (table[place] != NOBODY) {
        const struct relay_run *run = &runs[table[place]];
        if (run->stream == record->stream && run->side == record->side) {
            return table[place];
        }
        place = (place + 1) & mask;
    }
    table[place] = *total;
    memset(&runs[*total], 0, sizeof *runs);
    runs[*total].stream = record->stream;
    runs[*total].side = record->side;
    return (*total)++;
}

static void begin(struct relay_run *run, const struct relay_record *record)
{
    run->first_ns = run->last_ns = run->least_ns = run->most_ns = record->arrival_ns;
    run->timestamp = record->timestamp;
    run->ssrc = record->ssrc;
    run->sequence = record->sequence;
    run->length = record->length;
    run->payload_type = record->payload_type;
    run->even = record->length > 0;
}

/* Times wrap instead of overflowing: whatever a record holds, nothing is undefined. */
static int64_t add(struct relay_run *run, const struct relay_record *record)
{
    uint64_t step = run->length * BYTE_NS;
    run->even = run->even && record->length == run->length && record->ssrc == run->ssrc &&
                record->payload_type == run->payload_type &&
                record->sequence == (uint16_t)(run->sequence + run->packets) &&
                record->timestamp == (uint32_t)(run->timestamp + run->packets * run->length);
    int64_t level = (int64_t)((uint64_t)record->arrival_ns - run->packets * step);
    run->least_ns = level < run->least_ns ? level : run->least_ns;
    run->most_ns = level > run->most_ns ? level : run->most_ns;
    uint64_t swing = (uint64_t)record->arrival_ns - (uint64_t)run->last_ns - step;
    run->last_ns = record->arrival_ns;
    return (int64_t)((int64_t)swing < 0 ? 0 - swing : swing);
}

int64_t relay_runs(const struct relay_record *records, size_t count, const uint8_t *data,
                   size_t bytes, uint32_t *scratch, struct relay_record *sorted, uint8_t *payloads,
                   int64_t *swings, struct relay_run *runs)
{
    uint32_t *owners = scratch, *sizes = scratch + count, *table = scratch + 2 * count;
    uint32_t total = 0;
    uint64_t slots = 1, used = 0;
    if (count >= NOBODY || bytes > UINT32_MAX) {
        return -1;
    }
    while (slots * 2 <= 4 * count) {
        slots *= 2;
    }
    memset(table, 0xff, (count > 0 ? slots : 0) * sizeof *table);
    for (size_t k = 0; k < count; k++) {
        const struct relay_record *record = &records[k];
        owners[k] = NOBODY;
        if (record->event_only) {
            continue;
        }
        used += record->length;
        if (record->offset > bytes || record->length > bytes - record->offset || used > bytes) {
            return -1;
        }
        uint32_t known = total, owner = run_of(record, table, slots - 1, runs, &total);
        owners[k] = owner;
        sizes[owner] = owner == known ? 1 : sizes[owner] + 1;
        runs[owner].bytes += record->length;
    }
    uint32_t first = 0;
    uint64_t offset = 0;
    for (uint32_t owner = 0; owner < total; owner++) {
        runs[owner].first = first;
        runs[owner].offset = (uint32_t)offset;
        first += sizes[owner];
        offset += runs[owner].bytes;
        runs[owner].bytes = 0;
    }
    for (size_t k = 0; k < count; k++) {
        if (owners[k] == NOBODY) {
            continue;
        }
        struct relay_run *run = &runs[owners[k]];
        const struct relay_record *record = &records[k];
        uint32_t place = run->first + run->packets;
        if (run->packets == 0) {
            begin(run, record);
            swings[place] = 0;
        } else {
            swings[place] = add(run, record);
        }
        sorted[place] = *record;
        sorted[place].offset = run->offset + run->bytes;
        memcpy(payloads + sorted[place].offset, data + record->offset, record->length);
        run->bytes += record->length;
        run->packets++;
    }
    return total;
}
