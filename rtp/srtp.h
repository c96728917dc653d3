/* SRTP and SRTCP of one party (RFC 3711), through libsrtp2. No lock and no I/O: the caller holds
 * the lock of the stream. Contexts are made and destroyed outside of it. */
#ifndef RECPROXY_SRTP_H
#define RECPROXY_SRTP_H

#include "relay_api.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SRTP_GROWTH = 148, /* bytes that a packet may grow by: libsrtp2's trailer and SRTCP's index */
    SRTP_SOURCES = 32, /* synchronisation sources of one direction, ever */
};

/* One direction of one party. NULL stands for plain RTP. */
struct srtp_direction;

enum srtp_use { SRTP_OPEN, SRTP_SEAL };

/* 0, or -1 with errno: EINVAL for a suite or key length that is none, ENOMEM, ENOTSUP if the
 * library cannot do the suite. A NULL key makes a NULL direction. */
int srtp_make(const struct relay_srtp_key *key, enum srtp_use use, struct srtp_direction **out);

/* Wipes the key. NULL is allowed. */
void srtp_destroy(struct srtp_direction *direction);

/* Whether both stand for the same key: such a one is kept, with its rollover counter and its memory
 * of what was sent. Starting a key anew would send two packets under one key stream. */
bool srtp_same(const struct srtp_direction *a, const struct srtp_direction *b);

/* Authenticates and decrypts in place. False: not authentic, a replay, or of too many sources. */
bool srtp_open(struct srtp_direction *direction, uint8_t *data, size_t *length);

/* Encrypts in place; there is room for SRTP_GROWTH bytes behind the packet. False: neither RTP nor
 * RTCP, a sequence number that was used already, or of too many sources. */
bool srtp_seal(struct srtp_direction *direction, uint8_t *data, size_t *length);

#endif
