/* What the parts of the load generator share. One process, one thread. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t ns_t;

#define MS INT64_C(1000000)
#define SEC INT64_C(1000000000)

enum {
    MAX_CALLS = 2900,     /* two UDP ports a call on each side, from uac_rtp and uas_rtp up */
    HISTOGRAM = 200000,   /* buckets of 1 us, the last one holds everything slower */
    MAX_FRAME_MS = 200,   /* of G.711 in one packet */
    MESSAGE_BYTES = 8192, /* of one SIP message that is built here */
};

/* Options, set once by main. */
struct options {
    const char *mode;          /* sip, setup, direct, null */
    const char *number;        /* printf format of the called number, one %d */
    struct sockaddr_in sut;    /* system under test, SIP */
    struct sockaddr_in uac;    /* where we call from */
    struct sockaddr_in uas;    /* where we answer */
    int calls;                 /* at once; in setup mode the number to make */
    int hold_ms;               /* setup mode: from answer to BYE */
    int relay_base;            /* direct mode: first port of the relay */
    int uac_rtp, uas_rtp;      /* first RTP port on either side */
    int quantum_us;            /* 0: every packet at its own instant */
    int frame_ms;              /* of G.711 in one packet */
    double per_second;         /* calls set up a second */
    double settle_s, window_s; /* after the last answer; measured */
    bool media;                /* streams are sent */
    bool signalling;           /* SIP is spoken */
    bool setup;                /* calls end by themselves, hold_ms after the answer */
};

struct histogram {
    uint32_t bucket[HISTOGRAM];
};

extern struct options opt;

ns_t monotonic(void);
ns_t realtime(void);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *need(size_t count, size_t size);
const char *ip_text(const struct sockaddr_in *address);
int udp_socket(struct sockaddr_in address, int receive_bytes, bool stamp);
void count_us(struct histogram *histogram, ns_t duration);
double quantile_us(const struct histogram *histogram, double q);

/* ---- load_media.c: the streams, one for each direction of each call. */

struct media_stats {
    uint64_t sent, received; /* inside the window, by the moment of sending */
    uint64_t repeated;       /* duplicates and reordered */
    uint64_t alien;          /* not a packet of ours: an announcement is alien */
    uint64_t window_alien;   /* of these, what came inside the window */
    uint64_t altered;        /* ours, but its audio was changed on its way */
    uint64_t crosstalk;      /* heard where it does not belong */
    uint64_t send_errors;
    int dead;     /* streams of which nothing arrived */
    int bypassed; /* streams that went past the system under test */
};

void media_open(int epoll);
void media_receive(uint32_t stream);
ns_t media_send_due(ns_t now);
bool media_start(int stream, const struct sockaddr_in *to);
void media_stop(int stream);
void media_open_window(void);
void media_close_window(void);
struct media_stats media_stats(void);
extern struct histogram media_delay; /* one way, window only */
extern struct histogram media_late;  /* how late we sent, window only */

/* ---- load_sip.c: the calls, as UAC and as UAS. */

struct sip_stats {
    int answered, failed, up, done;
    int last_failure; /* status; 996 no answer to BYE, 997 BYE from the other side, */
                      /* 998 no usable SDP in the answer, 999 no answer to INVITE */
    int repeated_invites, repeated_answers, repeated_byes, unexpected_byes;
};

enum { SIP_UAC_EVENT = 1 << 30, SIP_UAS_EVENT = (int)(1u << 31) };

void sip_open(int epoll);
void sip_receive(bool uas);
void sip_start_call(int call, ns_t now);
void sip_end_call(int call, ns_t at);
void sip_timers(ns_t now);
int sip_started(void);
struct sip_stats sip_stats(void);
extern struct histogram sip_setup; /* INVITE to 200 */

#endif
