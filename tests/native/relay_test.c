/* The whole engine under the sanitizers: packets fly while another thread opens, plays, forks and
 * removes, and one more drains. What arrives must be what was sent. */
#define _GNU_SOURCE
#include "check.h"
#include "relay_api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_PORT = 42000, STREAMS = 8, ROUNDS = 30, FRAMES = 5, FRAME = 160, PHONE_PORT = 4000 };

static char relay_address[16], caller_address[16], callee_address[16];
static atomic_bool done;

static struct sockaddr_in at(const char *address, uint16_t port)
{
    struct sockaddr_in out = {.sin_family = AF_INET, .sin_port = htons(port)};
    CHECK(inet_pton(AF_INET, address, &out.sin_addr) == 1);
    return out;
}

static int phone(const char *address, uint16_t port)
{
    struct sockaddr_in local = at(address, port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&local, sizeof local) == 0);
    return fd;
}

static void *talk(void *argument)
{
    int fd = phone(argument, PHONE_PORT);
    uint8_t packet[12 + FRAME] = {0x80};
    for (uint32_t number = 0; !atomic_load(&done); number++) {
        packet[0] = number % 16 == 0 ? 0xb3 : 0x80; /* broken, now and then */
        packet[3] = (uint8_t)number;
        size_t length = number % 8 == 7 ? 0 : sizeof packet; /* an empty one ends a receive */
        for (uint16_t k = 0; k < STREAMS * 4; k++) {
            struct sockaddr_in to = at(relay_address, (uint16_t)(FIRST_PORT + k));
            sendto(fd, packet, length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
        }
    }
    close(fd);
    return NULL;
}

static void *record(void *argument)
{
    static struct relay_record records[1000];
    static uint8_t data[200000];
    while (!atomic_load(&done)) {
        uint64_t bytes, dropped;
        size_t count = relay_drain(argument, records, 1000, data, sizeof data, &bytes, &dropped);
        for (size_t k = 0; k < count; k++) {
            CHECK(records[k].length == FRAME && records[k].offset + FRAME <= bytes);
        }
        usleep(1000);
    }
    return NULL;
}

static void one_round(struct relay *relay, const struct relay_playout *playout)
{
    struct relay_playout slow = *playout;
    slow.frame_ms = 1000;
    uint64_t streams[STREAMS], playback;
    struct relay_stats stats;
    struct relay_playback_event events[4];
    int64_t instant;
    struct relay_srtp_key keys[2] = {{.suite = RELAY_AES_CM_128_HMAC_SHA1_80, .length = 30},
                                     {.suite = RELAY_AEAD_AES_256_GCM, .length = 44, .key = {1}}};
    for (uint16_t k = 0; k < STREAMS; k++) {
        uint16_t port = (uint16_t)(FIRST_PORT + 4 * k), failed;
        CHECK(relay_add(relay, relay_address, port, relay_address, (uint16_t)(port + 2),
                        &streams[k], &failed) == RELAY_OK);
        CHECK(relay_set_remote(relay, streams[k], RELAY_CALLER, caller_address, PHONE_PORT, 0,
                               RELAY_EXACT) == RELAY_OK);
        CHECK(relay_set_remote(relay, streams[k], RELAY_CALLEE, callee_address, PHONE_PORT, 9,
                               RELAY_ANY) == RELAY_OK);
        CHECK(relay_play(relay, streams[k], k % 2, playout, &playback) == RELAY_OK);
        CHECK(relay_play(relay, streams[k], 1 - k % 2, &slow, &playback) == RELAY_OK);
        CHECK(relay_play(relay, streams[k], 1 - k % 2, &slow, &playback) == RELAY_BUSY);
        CHECK(relay_set_gate(relay, streams[k], 1) == RELAY_OK);
        CHECK(relay_start_fork(relay, streams[k], 0, &instant) == RELAY_OK);
    }
    usleep(1500);
    for (uint16_t k = 0; k < STREAMS; k++) { /* keys come, change and go while packets fly */
        CHECK(relay_set_crypto(relay, streams[k], k % 2, NULL, &keys[0]) == RELAY_OK);
        CHECK(relay_set_crypto(relay, streams[k], k % 2, &keys[k / 4], &keys[1]) == RELAY_OK);
    }
    usleep(1500);
    for (uint16_t k = 0; k < STREAMS; k += 3) {
        CHECK(relay_set_crypto(relay, streams[k], k % 2, NULL, NULL) == RELAY_OK);
    }
    CHECK(relay_stop_play(relay, playback) == RELAY_OK);
    relay_poll_playbacks(relay, events, 4);
    for (uint16_t k = 0; k < STREAMS; k++) {
        CHECK(relay_stop_fork(relay, streams[k], &instant) == RELAY_OK);
        CHECK(relay_stats_of(relay, streams[k], &stats) == RELAY_OK);
        CHECK(relay_remove(relay, streams[k], &stats) == RELAY_OK);
        CHECK(relay_remove(relay, streams[k], &stats) == RELAY_NO_STREAM);
    }
}

static void under_fire(uint32_t io)
{
    static uint8_t frames[FRAMES * FRAME];
    static const uint16_t lengths[FRAMES] = {FRAME, FRAME, FRAME, FRAME, FRAME};
    struct relay_playout playout = {
        .frames = frames, .lengths = lengths, .count = FRAMES, .frame_ms = 1, .timestamp_step = 8};
    struct relay_options options = {.threads = 2, .dscp = 46, .ring_bytes = 1 << 17, .io = io};
    struct relay *relay;
    pthread_t talkers[2], recorder;
    CHECK(relay_open(&options, &relay) == RELAY_OK);
    CHECK(pthread_create(&talkers[0], NULL, talk, caller_address) == 0);
    CHECK(pthread_create(&talkers[1], NULL, talk, callee_address) == 0);
    CHECK(pthread_create(&recorder, NULL, record, relay) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        one_round(relay, &playout);
    }
    atomic_store(&done, true);
    pthread_join(talkers[0], NULL);
    pthread_join(talkers[1], NULL);
    pthread_join(recorder, NULL);
    relay_close(relay); /* with playbacks and events left */
    atomic_store(&done, false);
}

static void refusals(uint32_t io)
{
    struct relay_options options = {
        .threads = 1, .dscp = 0, .ring_bytes = RELAY_MIN_RING, .io = io};
    struct relay_options bad[] = {
        {0, 0, 1 << 16, io},  {1, 64, 1 << 16, io}, {1, 0, 1, io},
        {65, 0, 1 << 16, io}, {1, 0, 1 << 16, 3},
    };
    struct relay *relay = NULL;
    uint64_t stream = 1;
    uint16_t failed = 1;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(relay_open(&bad[k], &relay) == RELAY_BAD_ARGUMENT && relay == NULL);
    }
    relay_close(NULL);
    CHECK(relay_open(&options, &relay) == RELAY_OK);
    CHECK(relay_add(relay, "127.0.0.1", 1, "127.0.0.1", 4, &stream, &failed) == RELAY_BAD_ARGUMENT);
    CHECK(relay_add(relay, "x", 4000, "127.0.0.1", 4, &stream, &failed) == RELAY_BAD_ADDRESS);
    CHECK(relay_add(relay, "192.0.2.1", 4000, "127.0.0.1", 4, &stream, &failed) == RELAY_SYSTEM);
    CHECK(stream == 1 && failed == 4000);
    CHECK(relay_set_remote(relay, 5, 2, NULL, 0, 0, 0) == RELAY_BAD_ARGUMENT);
    CHECK(relay_set_remote(relay, 5, 0, NULL, 0, 0, 3) == RELAY_BAD_ARGUMENT);
    CHECK(relay_set_remote(relay, 5, 0, "127.0.0.1", 0, 0, 0) == RELAY_BAD_ARGUMENT);
    CHECK(relay_set_remote(relay, 5, 0, "127.0.0.1", 1, 0, 0) == RELAY_NO_STREAM);
    CHECK(relay_set_gate(relay, UINT64_MAX, 1) == RELAY_NO_STREAM);
    struct relay_srtp_key key = {.suite = RELAY_AEAD_AES_128_GCM, .length = 28};
    CHECK(relay_set_crypto(relay, 5, 0, &key, &key) == RELAY_NO_STREAM);
    CHECK(relay_set_crypto(relay, 5, 2, &key, &key) == RELAY_BAD_ARGUMENT);
    key.length = 30;
    CHECK(relay_set_crypto(relay, 5, 0, NULL, &key) == RELAY_BAD_ARGUMENT);
    key = (struct relay_srtp_key){.suite = 4, .length = 30};
    CHECK(relay_set_crypto(relay, 5, 0, &key, NULL) == RELAY_BAD_ARGUMENT);
    relay_close(relay);
}

/* False, with errno, where the system does not allow it. */
static bool has_uring(void)
{
    struct relay_options options = {
        .threads = 1, .ring_bytes = RELAY_MIN_RING, .io = RELAY_IO_URING};
    struct relay *relay;
    int status = relay_open(&options, &relay);
    if (status != RELAY_OK) {
        CHECK(status == RELAY_NO_URING);
        return false;
    }
    CHECK(relay_io(relay) == RELAY_IO_URING);
    relay_close(relay);
    return true;
}

int main(void)
{
    /* Addresses of this process alone, so that runs beside each other do not meet. */
    unsigned number = (unsigned)getpid();
    snprintf(relay_address, sizeof relay_address, "127.%u.%u.1", 128 + number % 64,
             number / 64 % 256);
    snprintf(caller_address, sizeof caller_address, "127.%u.%u.2", 128 + number % 64,
             number / 64 % 256);
    snprintf(callee_address, sizeof callee_address, "127.%u.%u.3", 128 + number % 64,
             number / 64 % 256);
    refusals(RELAY_IO_EPOLL);
    under_fire(RELAY_IO_EPOLL);
    if (has_uring()) {
        refusals(RELAY_IO_URING);
        under_fire(RELAY_IO_URING);
        PASSED();
    } else {
        printf("ok   %s, without io_uring: %s\n", __FILE__, strerror(errno));
    }
    return 0;
}
