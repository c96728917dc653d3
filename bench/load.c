/* Load generator: SIP UAC -> system under test -> SIP UAS, with PCMU both ways.
 *
 *  --mode sip     N calls set up at --rate, held, measured for --window s, ended
 *  --mode setup   call set-up rate, no media: --rate for --window s, --hold ms
 *  --mode direct  no SIP: a bare relay, the caller's leg at relay-base + 2i, the callee's at + 2i +
 * 1
 *  --mode null    no relay: either side sends straight to the other (floor of the generator)
 *
 * Loopback only. What was measured comes as one JSON object on the last line. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { EVENTS = 256 };

struct options opt = {
    .mode = "sip",
    .number = "1%06d",
    .calls = 10,
    .hold_ms = 200,
    .relay_base = 10000,
    .uac_rtp = 20000,
    .uas_rtp = 26000,
    .per_second = 20,
    .settle_s = 3,
    .window_s = 20,
    .frame_ms = 20,
};

/* ---------------------------------------------------------------- shared parts */

static ns_t clock_ns(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * SEC + at.tv_nsec;
}

ns_t monotonic(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

ns_t realtime(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void die(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (%s)\n", strerror(error));
    exit(2);
}

void *need(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        die("%zu x %zu bytes", count, size);
    }
    return memory;
}

const char *ip_text(const struct sockaddr_in *address)
{
    static char texts[4][INET_ADDRSTRLEN]; /* four may be in use in one printf */
    static int turn;
    turn = (turn + 1) % 4;
    inet_ntop(AF_INET, &address->sin_addr, texts[turn], sizeof texts[turn]);
    return texts[turn];
}

int udp_socket(struct sockaddr_in address, int receive_bytes, bool stamp)
{
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        die("socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (stamp) {
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        die("bind %s:%d", ip_text(&address), ntohs(address.sin_port));
    }
    return fd;
}

void count_us(struct histogram *histogram, ns_t duration)
{
    ns_t us = duration < 0 ? 0 : duration / 1000;
    histogram->bucket[us < HISTOGRAM ? us : HISTOGRAM - 1]++;
}

double quantile_us(const struct histogram *histogram, double q)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < HISTOGRAM; i++) {
        total += histogram->bucket[i];
    }
    if (total == 0) {
        return -1;
    }
    uint64_t wanted = (uint64_t)(q * (double)(total - 1));
    for (int i = 0; i < HISTOGRAM; i++) {
        seen += histogram->bucket[i];
        if (seen > wanted) {
            return i;
        }
    }
    return HISTOGRAM;
}

/* ---------------------------------------------------------------- options */

static struct sockaddr_in loopback_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char ip[INET_ADDRSTRLEN] = "";
    unsigned port = 0;
    errno = EINVAL;
    if (sscanf(text, "%15[0-9.]:%5u", ip, &port) != 2 || port == 0 || port > 65535 ||
        inet_pton(AF_INET, ip, &address.sin_addr) != 1) {
        die("ip:port is needed, not %s", text);
    }
    if (ntohl(address.sin_addr.s_addr) >> 24 != 127) {
        die("loopback only, not %s", text);
    }
    address.sin_port = htons((uint16_t)port);
    return address;
}

/* The number is a printf format: nothing but one %d, padded or not, may be in it. */
static const char *checked_number(const char *text)
{
    const char *at = strchr(text, '%');
    errno = EINVAL;
    if (at == NULL || strlen(text) > 24) {
        die("--number needs one %%d and at most 24 characters, not %s", text);
    }
    at += 1 + strspn(at + 1, "0123456789");
    if (*at != 'd' || strchr(at, '%') != NULL || at - strchr(text, '%') > 3) {
        die("--number needs one %%d (up to %%09d), not %s", text);
    }
    return text;
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {{"mode", 1, 0, 'm'},     {"sut", 1, 0, 's'},
                                          {"uac", 1, 0, 'c'},      {"uas", 1, 0, 'u'},
                                          {"n", 1, 0, 'n'},        {"rate", 1, 0, 'r'},
                                          {"settle", 1, 0, 't'},   {"window", 1, 0, 'w'},
                                          {"hold", 1, 0, 'h'},     {"relay-base", 1, 0, 'b'},
                                          {"uac-rtp", 1, 0, 'x'},  {"uas-rtp", 1, 0, 'y'},
                                          {"number", 1, 0, 'f'},   {"quantum", 1, 0, 'q'},
                                          {"frame-ms", 1, 0, 'l'}, {0, 0, 0, 0}};
    opt.sut = loopback_address("127.0.0.1:5060");
    opt.uac = loopback_address("127.0.0.2:5060");
    opt.uas = loopback_address("127.0.0.3:5060");
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'm':
            opt.mode = optarg;
            break;
        case 's':
            opt.sut = loopback_address(optarg);
            break;
        case 'c':
            opt.uac = loopback_address(optarg);
            break;
        case 'u':
            opt.uas = loopback_address(optarg);
            break;
        case 'n':
            opt.calls = atoi(optarg);
            break;
        case 'r':
            opt.per_second = atof(optarg);
            break;
        case 't':
            opt.settle_s = atof(optarg);
            break;
        case 'w':
            opt.window_s = atof(optarg);
            break;
        case 'h':
            opt.hold_ms = atoi(optarg);
            break;
        case 'b':
            opt.relay_base = atoi(optarg);
            break;
        case 'x':
            opt.uac_rtp = atoi(optarg);
            break;
        case 'y':
            opt.uas_rtp = atoi(optarg);
            break;
        case 'f':
            opt.number = checked_number(optarg);
            break;
        case 'q':
            opt.quantum_us = atoi(optarg);
            break;
        case 'l':
            opt.frame_ms = atoi(optarg);
            break;
        default:
            exit(2);
        }
    }
    opt.setup = strcmp(opt.mode, "setup") == 0;
    opt.signalling = opt.setup || strcmp(opt.mode, "sip") == 0;
    opt.media = !opt.setup;
    errno = EINVAL;
    if (!opt.signalling && strcmp(opt.mode, "direct") != 0 && strcmp(opt.mode, "null") != 0) {
        die("--mode is sip, setup, direct or null, not %s", opt.mode);
    }
    if (opt.calls < 1 || opt.calls > MAX_CALLS || !(opt.window_s > 0 && opt.window_s <= 300) ||
        !(opt.per_second > 0 && opt.per_second <= 5000) ||
        !(opt.settle_s >= 0 && opt.settle_s <= 120)) {
        die("at most %d calls, 300 s of window, 120 s to settle, 5000 calls a second", MAX_CALLS);
    }
    if (opt.frame_ms < 10 || opt.frame_ms > MAX_FRAME_MS || opt.quantum_us < 0) {
        die("--frame-ms is 10 to %d, --quantum at least 0", MAX_FRAME_MS);
    }
    int last = (opt.uac_rtp > opt.uas_rtp ? opt.uac_rtp : opt.uas_rtp) + 2 * opt.calls;
    if (opt.uac_rtp < 1024 || opt.uas_rtp < 1024 || last > 65535) {
        die("RTP ports must lie between 1024 and 65535");
    }
    if (opt.setup) {
        opt.calls = (int)(opt.per_second * opt.window_s);
    }
}

/* ---------------------------------------------------------------- the run */

enum phase { STARTING, SETTLING, MEASURING, TRAILING, ENDING };

struct course {
    enum phase phase;
    ns_t begun, gap, next_call, next_tick, next_bye, established, window_from, window_to;
    int ending;
    struct rusage before, after;
};

static void start_calls(struct course *course, ns_t now)
{
    for (int burst = 0; sip_started() < opt.calls && now >= course->next_call && burst < 32;
         burst++) {
        sip_start_call(sip_started(), now);
        course->next_call += course->gap;
    }
}

/* Go on to the next phase if it is time; returns false when the run is over. */
static bool advance(struct course *course, ns_t now)
{
    struct sip_stats sip = sip_stats();
    switch (course->phase) {
    case STARTING:
        if (sip_started() < opt.calls ||
            (opt.setup ? sip.done : sip.answered) + sip.failed < opt.calls) {
            return true;
        }
        printf("EVENT established %d %d\n", sip.answered, sip.failed);
        course->phase = SETTLING;
        course->established = now;
        return !opt.setup && sip.answered > 0;
    case SETTLING:
        if (now >= course->established + (ns_t)(opt.settle_s * SEC)) {
            course->phase = MEASURING;
            course->window_from = now;
            getrusage(RUSAGE_SELF, &course->before);
            media_open_window();
            printf("EVENT window_start\n");
        }
        return true;
    case MEASURING:
        if (now >= course->window_from + (ns_t)(opt.window_s * SEC)) {
            course->phase = TRAILING;
            course->window_to = now;
            getrusage(RUSAGE_SELF, &course->after);
            media_close_window();
            printf("EVENT window_end\n");
        }
        return true;
    case TRAILING: /* what is under way still arrives */
        if (now >= course->window_to + SEC) {
            course->phase = ENDING;
            course->next_bye = now;
            return opt.signalling;
        }
        return true;
    case ENDING:
        while (course->ending < opt.calls && now >= course->next_bye) {
            sip_end_call(course->ending++, now);
            course->next_bye += course->gap / 2;
        }
        return !(course->ending >= opt.calls && sip.up == 0) && now < course->window_to + 40 * SEC;
    }
    return false;
}

static void wait_and_receive(int epoll, ns_t due)
{
    struct epoll_event events[EVENTS];
    ns_t wait = due - monotonic(), most = opt.setup ? MS / 5 : 2 * MS;
    struct timespec timeout = {.tv_nsec = wait < 0 ? 0 : wait > most ? most : wait};
    int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        uint32_t from = events[i].data.u32;
        if (from == (uint32_t)SIP_UAC_EVENT || from == (uint32_t)SIP_UAS_EVENT) {
            sip_receive(from == (uint32_t)SIP_UAS_EVENT);
        } else {
            media_receive(from);
        }
    }
}

static double cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static void report(const struct course *course)
{
    struct sip_stats sip = sip_stats();
    struct media_stats media = media_stats();
    int good = opt.signalling ? sip.answered : opt.calls;
    printf(
        "RESULT {\"mode\":\"%s\",\"calls\":%d,\"answered\":%d,\"failed\":%d,\"last_failure\":%d,",
        opt.mode, opt.calls, good, sip.failed, sip.last_failure);
    printf("\"repeated_invites\":%d,\"repeated_answers\":%d,\"repeated_byes\":%d,\"unexpected_"
           "byes\":%d,",
           sip.repeated_invites, sip.repeated_answers, sip.repeated_byes, sip.unexpected_byes);
    printf("\"setup_us_p50\":%.0f,\"setup_us_p99\":%.0f,", quantile_us(&sip_setup, 0.5),
           quantile_us(&sip_setup, 0.99));
    printf("\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRId64 ",", media.sent,
           media.received, (int64_t)(media.sent - media.received));
    printf("\"dead_streams\":%d,\"bypassed\":%d,\"repeated\":%" PRIu64 ",\"alien\":%" PRIu64 ",",
           media.dead, media.bypassed, media.repeated, media.alien);
    printf("\"window_alien\":%" PRIu64 ",\"altered\":%" PRIu64 ",\"frame_ms\":%d,",
           media.window_alien, media.altered, opt.frame_ms);
    printf("\"crosstalk\":%" PRIu64 ",\"send_errors\":%" PRIu64 ",", media.crosstalk,
           media.send_errors);
    printf(
        "\"delay_us_p50\":%.0f,\"delay_us_p99\":%.0f,\"delay_us_p999\":%.0f,\"delay_us_max\":%.0f,",
        quantile_us(&media_delay, 0.5), quantile_us(&media_delay, 0.99),
        quantile_us(&media_delay, 0.999), quantile_us(&media_delay, 1.0));
    printf("\"late_us_p50\":%.0f,\"late_us_p99\":%.0f,\"late_us_max\":%.0f,",
           quantile_us(&media_late, 0.5), quantile_us(&media_late, 0.99),
           quantile_us(&media_late, 1.0));
    printf("\"generator_cpu_s\":%.3f,\"window_s\":%.3f,\"wall_s\":%.3f}\n",
           cpu_seconds(&course->after) - cpu_seconds(&course->before),
           (double)(course->window_to - course->window_from) / SEC,
           (double)(monotonic() - course->begun) / SEC);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_TIMERSLACK, 1);
    struct rlimit descriptors;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    descriptors.rlim_cur = descriptors.rlim_max;
    setrlimit(RLIMIT_NOFILE, &descriptors);
    srand(1);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (opt.media) {
        media_open(epoll);
    }
    if (opt.signalling) {
        sip_open(epoll);
    }
    ns_t now = monotonic();
    struct course course = {.begun = now, .gap = (ns_t)(SEC / opt.per_second), .next_call = now};
    if (!opt.signalling) {
        course.phase = SETTLING;
        course.established = now;
        printf("EVENT established %d 0\n", opt.calls);
    }
    do {
        now = monotonic();
        if (now > course.begun + 400 * SEC) {
            fprintf(stderr, "not over after 400 s\n");
            break;
        }
        if (opt.signalling && course.phase == STARTING) {
            start_calls(&course, now);
        }
        if (opt.signalling && now >= course.next_tick) {
            sip_timers(now);
            course.next_tick = now + (opt.setup ? 5 : 20) * MS;
        }
        wait_and_receive(epoll, opt.media ? media_send_due(now) : now + 2 * MS);
    } while (advance(&course, monotonic()));
    report(&course);
    return sip_stats().failed > 0 ? 1 : 0;
}
