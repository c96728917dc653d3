/* The native interface of the RTP engine: everything that Python may call, and all of it.
 *
 * Plain declarations only: _build.py hands this file to cffi. No function calls into Python, none
 * needs the GIL. Every function may be called from any thread, except that relay_close() must be
 * the last call on a handle, and relay_drain() belongs to one consumer at a time.
 *
 * Times are CLOCK_MONOTONIC nanoseconds. Stream and playback numbers are never used twice, so an
 * old one is refused (RELAY_NO_STREAM) and cannot hit a newer call. A function that fails leaves
 * its out-parameters untouched; after RELAY_SYSTEM errno tells why. */
#ifndef RECPROXY_RELAY_API_H
#define RECPROXY_RELAY_API_H

#include <stddef.h>
#include <stdint.h>

enum relay_status {
    RELAY_OK = 0,
    RELAY_SYSTEM = -1,       /* the operating system refused; see errno */
    RELAY_NO_STREAM = -2,    /* no such stream or playback (any more) */
    RELAY_BAD_ADDRESS = -3,  /* not a numeric address, or of another family than the socket */
    RELAY_BAD_ARGUMENT = -4, /* outside the range stated here */
    RELAY_FULL = -5,         /* the stream table (65,536) is full */
    RELAY_BUSY = -6,         /* that side of the stream is being played to already */
    RELAY_NO_URING = -7      /* io_uring was asked for and cannot be had; see errno */
};

enum relay_limits {
    RELAY_MAX_THREADS = 64,
    RELAY_MAX_DSCP = 63,
    RELAY_MAX_STREAMS = 65536,
    RELAY_MAX_DATAGRAM = 9216, /* a jumbo frame; longer datagrams are malformed, not relayed */
    RELAY_MAX_FRAME = 9000,
    RELAY_MIN_RING = 65536,
    RELAY_MAX_RING = 1073741824
};

/* io_uring needs Linux 6.12 and a system that does not forbid it. */
enum relay_io_kind {
    RELAY_IO_AUTO = 0, /* io_uring if it can be had, epoll otherwise */
    RELAY_IO_EPOLL = 1,
    RELAY_IO_URING = 2
};

enum relay_side { RELAY_CALLER = 0, RELAY_CALLEE = 1 };
enum relay_latch { RELAY_EXACT = 0, RELAY_ADDRESS = 1, RELAY_ANY = 2 };

/* ------------------------------------------------------------------ packets */

/* What a datagram on an RTP port is, told by its first bytes (RFC 7983 section 7, RFC 5761
 * section 4, RFC 3550 sections 5.1 and 5.3.1). Anything from RELAY_PACKET_SHORT on claims to be
 * RTP or RTCP but contradicts its own length. */
enum relay_packet_kind {
    RELAY_PACKET_RTP = 0,
    RELAY_PACKET_RTCP = 1,
    RELAY_PACKET_OPAQUE = 2,    /* not version 2: STUN, DTLS, T.38 UDPTL ... */
    RELAY_PACKET_SHORT = 3,     /* shorter than its fixed header */
    RELAY_PACKET_CSRC = 4,      /* contributing sources run past the end */
    RELAY_PACKET_EXTENSION = 5, /* header extension runs past the end */
    RELAY_PACKET_PADDING = 6    /* padding count is 0 or larger than what is left */
};

struct relay_packet {
    uint32_t timestamp;
    uint32_t ssrc;
    uint32_t payload_offset; /* from the start of the datagram */
    uint32_t payload_length; /* without padding; may be 0 */
    uint16_t sequence;
    uint8_t payload_type;
    uint8_t marker;
    uint8_t kind; /* enum relay_packet_kind; the other fields are 0 unless it is RTP */
    uint8_t csrc_count;
    uint8_t extended; /* 1 if a header extension is there */
    uint8_t padding;  /* octets of padding, its count octet included */
};

/* Reads one datagram; never looks past data[length - 1]. Returns packet->kind. */
int relay_parse(const uint8_t *data, size_t length, struct relay_packet *packet);

/* ------------------------------------------------------------------- engine */

struct relay;

struct relay_options {
    uint32_t threads;    /* relay threads, 1..64; a stream stays on one */
    uint32_t dscp;       /* 0..63, RFC 2474; 46 = expedited forwarding */
    uint64_t ring_bytes; /* payload bytes of the ring of each thread, 65,536..1 GiB; rounded down
                            to a power of two; the record table takes 40/128 of it on top */
    uint32_t io;         /* enum relay_io_kind */
};

/* Starts the relay threads and the playback thread. */
int relay_open(const struct relay_options *options, struct relay **out);

/* How packets are read and sent: RELAY_IO_EPOLL or RELAY_IO_URING. */
int relay_io(const struct relay *relay);

enum relay_scheduling {
    RELAY_SCHEDULING_DEFAULT = 0,
    RELAY_SCHEDULING_SHORT_SLICE = 1, /* SCHED_OTHER with slices of 0.1 ms; Linux 6.12 */
    RELAY_SCHEDULING_REALTIME = 2     /* SCHED_FIFO, lowest priority; RLIMIT_RTPRIO 1 or more */
};

/* What the relay threads and the playback thread were granted. */
enum relay_scheduling relay_scheduling(const struct relay *relay);

/* Stops and joins the threads, closes every socket, frees everything. NULL is allowed. */
void relay_close(struct relay *relay);

/* Readable while playback events wait; relay_poll_playbacks() makes it unreadable again. */
int relay_event_fd(const struct relay *relay);

/* 1 if all memory that holds speech is locked, 0 if RLIMIT_MEMLOCK is too low: it could be swapped.
 * The other one tells how much it is: the rings and the packets in transit. */
int relay_memory_locked(const struct relay *relay);
uint64_t relay_memory_bytes(const struct relay *relay);

int64_t relay_now_ns(void);

/* ------------------------------------------------------------------ streams */

/* Opens four sockets: RTP on each port, RTCP on the port after it; the caller's pair is the one
 * that faces the caller. Ports are even and not 0. The gate starts shut, both remotes unset.
 * On RELAY_SYSTEM *failed_port tells which port could not be had, 0 if it was not about one. */
int relay_add(struct relay *relay, const char *caller_address, uint16_t caller_port,
              const char *callee_address, uint16_t callee_port, uint64_t *stream,
              uint16_t *failed_port);

/* Where that party receives, and by that which sources are its own. address NULL: the party sends
 * and receives nothing. rtcp_port 0: no RTCP goes to it. Forgets a latched source. */
int relay_set_remote(struct relay *relay, uint64_t stream, uint32_t side, const char *address,
                     uint16_t rtp_port, uint16_t rtcp_port, uint32_t latch);

enum relay_suite {
    RELAY_AES_CM_128_HMAC_SHA1_80 = 0, /* RFC 4568 section 6.2; key and salt: 30 bytes */
    RELAY_AES_CM_128_HMAC_SHA1_32 = 1,
    RELAY_AEAD_AES_128_GCM = 2, /* RFC 7714 section 14.2; 28 bytes */
    RELAY_AEAD_AES_256_GCM = 3  /* 44 bytes */
};

struct relay_srtp_key {
    uint32_t suite;  /* enum relay_suite */
    uint32_t length; /* of the key with its salt */
    uint8_t key[48]; /* key, then salt */
};

/* SRTP (RFC 3711) between that party and us. inbound is the key of what it sends: what is not
 * authentic, or a replay, is counted and dropped. outbound is the key of all that goes to it, the
 * announcement too. NULL: plain RTP that way. A key that is in use already stays as it is, with
 * its rollover counter (RFC 3711 section 3.2.1); another one replaces it at once. The keys are
 * copied. RELAY_SYSTEM with ENOTSUP: the library cannot do that suite. */
int relay_set_crypto(struct relay *relay, uint64_t stream, uint32_t side,
                     const struct relay_srtp_key *inbound, const struct relay_srtp_key *outbound);

/* Open: packets of each party go to the other. Shut: they are dropped and counted. */
int relay_set_gate(struct relay *relay, uint64_t stream, int opened);

/* Packets that arrive at or after now + guard_ns are copied to the ring. *from_ns is that instant:
 * exact, by the arrival time in the record. A second start replaces the first. */
int relay_start_fork(struct relay *relay, uint64_t stream, int64_t guard_ns, int64_t *from_ns);

/* No packet that arrives at or after *until_ns is copied. One that arrived before it and still
 * waits in the socket is copied when it is read. */
int relay_stop_fork(struct relay *relay, uint64_t stream, int64_t *until_ns);

/* Telephone-events (RFC 4733) of that party are copied outside of the fork's window too, so that
 * keys are heard while nothing is recorded: packets whose payload type is in the set (bit n of
 * types[n / 64]) and whose payload is one event block, of a key or of the hook flash (0..16).
 * Nothing else is, whatever payload type it claims. An empty set ends it. A new stream has one. */
int relay_set_events(struct relay *relay, uint64_t stream, uint32_t side, const uint64_t types[2]);

/* Counters of the packets that came from one side. */
struct relay_side_stats {
    uint64_t received;       /* datagrams of the party on its RTP port */
    uint64_t received_bytes; /* their payload as UDP sees it */
    uint64_t relayed;        /* of those, sent on to the other party */
    uint64_t foreign;        /* from another source, on either port; neither relayed nor forked */
    uint64_t malformed;      /* claim to be RTP or RTCP and are broken; relayed, not forked */
    uint64_t opaque;         /* neither RTP nor RTCP; relayed, not forked */
    uint64_t gated;          /* dropped by the shut gate, RTP and RTCP */
    uint64_t unroutable;     /* dropped because the other party has no remote (port) */
    uint64_t send_errors;    /* refused by the operating system when sent on */
    uint64_t forked;         /* copied to the ring, within the fork's window */
    uint64_t fork_dropped;   /* to be copied, but the ring was full */
    uint64_t socket_dropped; /* lost in the kernel before we read them, as far as it told us */
    uint64_t rtcp_received;  /* on the RTCP port, or multiplexed on the RTP port */
    uint64_t rtcp_relayed;
    uint64_t unauthentic;   /* of a party with SRTP: not authentic or a replay; neither relayed nor
                               forked, in no other counter */
    uint64_t unsealed;      /* not relayed, because SRTP to the other party cannot carry it: no RTP,
                               or a sequence number that was used already */
    uint64_t events;        /* copied to the ring outside of the window, see relay_set_events() */
    int64_t last_packet_ns; /* arrival of the last accepted one on the RTP port; 0 = none */
    uint32_t ssrc;          /* of the last RTP packet */
    uint32_t reserved;
};

struct relay_stats {
    struct relay_side_stats side[2];
};

int relay_stats_of(struct relay *relay, uint64_t stream, struct relay_stats *out);

/* Closes the sockets; out holds the final counters. Playbacks of the stream end as FAILED. */
int relay_remove(struct relay *relay, uint64_t stream, struct relay_stats *out);

/* ----------------------------------------------------------------- playback */

struct relay_playout {
    const uint8_t *frames;   /* encoded frames, one after the other */
    const uint16_t *lengths; /* bytes of each, 1..9000; both arrays are borrowed until the event of
                                this playback was polled or the relay was closed */
    uint32_t count;          /* frames, at least 1 */
    uint32_t frame_ms;       /* 1..1000 */
    uint32_t timestamp_step; /* RTP timestamp units of a frame */
    uint32_t ssrc;
    uint32_t timestamp;   /* of the first frame */
    uint16_t sequence;    /* of the first frame */
    uint8_t payload_type; /* 0..127 */
    uint8_t reserved;
};

enum relay_playback_state {
    RELAY_PLAYBACK_COMPLETED = 0, /* one frame time after the last frame left */
    RELAY_PLAYBACK_FAILED = 1,    /* sending failed for 500 ms, or no remote, or no stream */
    RELAY_PLAYBACK_STOPPED = 2
};

struct relay_playback_event {
    uint64_t playback;
    int64_t at_ns;
    uint32_t frames_sent;
    uint32_t state;
};

/* While it lasts the party gets no RTP of the other: two sources at once are noise to a telephone.
 * Sends a frame each frame_ms to that side, from the port facing it, starting now. Deadlines are
 * absolute, so the pace does not drift; after a stall of more than three frames the rest is moved
 * back instead of sent in a burst. A frame that could not be sent is tried again a frame later. */
int relay_play(struct relay *relay, uint64_t stream, uint32_t side,
               const struct relay_playout *playout, uint64_t *playback);

/* Ends it with a STOPPED event; one that has already ended stays as it ended (RELAY_OK). */
int relay_stop_play(struct relay *relay, uint64_t playback);

/* Each playback has exactly one event. Returns how many were written. */
size_t relay_poll_playbacks(struct relay *relay, struct relay_playback_event *out, size_t capacity);

/* --------------------------------------------------------------------- fork */

struct relay_record {
    uint64_t stream;
    int64_t arrival_ns; /* when the kernel had the packet, never later than the truth */
    uint32_t timestamp;
    uint32_t ssrc;
    uint32_t offset; /* of the payload in the data of the batch */
    uint16_t sequence;
    uint16_t length;
    uint8_t side;
    uint8_t payload_type;
    uint8_t marker;
    uint8_t event_only; /* 1: a telephone-event outside of the fork's window, not to be recorded */
    uint8_t reserved[4];
};

/* What waits in all rings at this moment. */
void relay_waiting(struct relay *relay, uint64_t *records, uint64_t *bytes);

/* Moves whole records out, ring by ring, each ring in the order it was filled. max_bytes is at
 * least 9,216, so that every packet fits. *bytes is what was written to data; *dropped is the
 * number of packets lost to full rings since the relay was opened. Returns the records written. */
size_t relay_drain(struct relay *relay, struct relay_record *records, size_t max_records,
                   uint8_t *data, size_t max_bytes, uint64_t *bytes, uint64_t *dropped);

/* The packets of one side of a stream in a batch. Where `even` is 1 they are an unbroken run: one
 * SSRC, payload type and length, which is not 0, sequence numbers one after the other, and
 * timestamps that count a unit for each byte, as G.711 does; the fields below are then the first
 * packet's and those of all. `least_ns` and `most_ns` are of arrival less 125 us for each byte
 * before: how early and how late packets came, of a codec with 8,000 bytes a second. */
struct relay_run {
    uint64_t stream;
    int64_t first_ns; /* arrivals */
    int64_t last_ns;
    int64_t least_ns;
    int64_t most_ns;
    uint32_t first; /* their records are sorted[first] to sorted[first + packets - 1] */
    uint32_t packets;
    uint32_t offset; /* their payloads lie in one piece */
    uint32_t bytes;
    uint32_t timestamp;
    uint32_t ssrc;
    uint16_t sequence;
    uint16_t length;
    uint8_t side;
    uint8_t payload_type;
    uint8_t even;
    uint8_t reserved;
};

/* Sorts the records of a batch by stream and side, each side's in the order in which they are, and
 * its payloads with them; telephone-events outside of the fork's window are left out. scratch has
 * 6 * count entries, sorted, swings and runs count of them, payloads `bytes`. swings tells of each
 * packet but the first of its side by how much its distance to the one before is not that of an
 * even run, in ns. Returns how many runs there are, -1 if payloads are not where records say, or
 * overlap. */
int64_t relay_runs(const struct relay_record *records, size_t count, const uint8_t *data,
                   size_t bytes, uint32_t *scratch, struct relay_record *sorted, uint8_t *payloads,
                   int64_t *swings, struct relay_run *runs);

#endif
