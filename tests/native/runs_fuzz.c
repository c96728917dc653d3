/* libFuzzer: whatever records say, sorting them stays inside of its arrays and loses none. */
#include "relay_api.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 8, WIRE = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static struct relay_record read(const uint8_t *wire)
{
    struct relay_record record = {0};
    record.stream = wire[0] & 3;
    record.side = wire[1] & 1;
    record.event_only = (wire[1] & 0x0e) == 0x0e;
    record.payload_type = wire[2] & 1;
    memcpy(&record.offset, wire + 3, (wire[1] & 0x80) ? 4 : 1);
    memcpy(&record.length, wire + 7, (wire[1] & 0x40) ? 2 : 1);
    memcpy(&record.sequence, wire + 9, 2);
    memcpy(&record.timestamp, wire + 11, 4);
    memcpy(&record.arrival_ns, wire + 15, 8);
    record.ssrc = wire[23] & 1;
    return record;
}

static void check_run(const struct relay_run *run, const struct relay_record *sorted, size_t bytes)
{
    uint64_t offset = run->offset;
    for (uint32_t k = 0; k < run->packets; k++) {
        const struct relay_record *record = &sorted[run->first + k];
        require(record->stream == run->stream && record->side == run->side);
        require(record->offset == offset && !record->event_only);
        offset += record->length;
        require(!run->even || (record->length == run->length && record->ssrc == run->ssrc));
    }
    require(offset == (uint64_t)run->offset + run->bytes && offset <= bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = size / WIRE < MOST ? size / WIRE : MOST, bytes = size - count * WIRE, wanted = 0;
    /* Exactly as large as told: the sanitizer sees the first byte too many. */
    struct relay_record *records = calloc(count + 1, sizeof *records);
    struct relay_record *sorted = calloc(count + 1, sizeof *sorted);
    struct relay_run *runs = calloc(count + 1, sizeof *runs);
    int64_t *swings = calloc(count + 1, sizeof *swings);
    uint32_t *scratch = malloc(6 * count * sizeof *scratch + 1);
    uint8_t *spoken = malloc(bytes + 1), *payloads = malloc(bytes + 1);
    require(records && sorted && runs && swings && scratch && spoken && payloads);
    memcpy(spoken, data + count * WIRE, bytes);
    for (size_t k = 0; k < count; k++) {
        records[k] = read(data + k * WIRE);
        wanted += !records[k].event_only;
    }
    int64_t found =
        relay_runs(records, count, spoken, bytes, scratch, sorted, payloads, swings, runs);
    require(found <= (int64_t)wanted);
    uint32_t next = 0;
    for (int64_t k = 0; k < found; k++) {
        require(runs[k].first == next && runs[k].packets > 0);
        check_run(&runs[k], sorted, bytes);
        next += runs[k].packets;
    }
    require(found < 0 || next == wanted);
    free(records);
    free(sorted);
    free(runs);
    free(swings);
    free(scratch);
    free(spoken);
    free(payloads);
    return 0;
}
