/* SRTP and SRTCP through libsrtp2. */
#define _GNU_SOURCE
#include "srtp.h"

#include <errno.h>
#include <pthread.h>
#include <srtp2/srtp.h>
#include <stdlib.h>
#include <string.h>

enum {
    RTP_FIXED = 12,   /* RFC 3550 section 5.1 */
    RTCP_FIXED = 8,   /* RFC 3550 section 6.4: header and sender's SSRC */
    RTCP_FIRST = 192, /* RFC 5761 section 4: second octet of RTCP; SRTCP leaves it in the clear */
    RTCP_LAST = 223,
    SRTCP_INDEX = 4,      /* RFC 3711 section 3.4 */
    REPLAY_WINDOW = 1024, /* packets; RFC 3711 section 3.3.2 asks for 64 at least */
};

struct srtp_direction {
    srtp_t session;
    struct relay_srtp_key key;
    uint32_t sources; /* that the session knows */
    uint32_t ssrc[SRTP_SOURCES];
};

/* Key and salt together (RFC 4568 section 6.2, RFC 7714 section 12). */
static const uint8_t KEY_LENGTHS[] = {
    [RELAY_AES_CM_128_HMAC_SHA1_80] = 30,
    [RELAY_AES_CM_128_HMAC_SHA1_32] = 30,
    [RELAY_AEAD_AES_128_GCM] = 28,
    [RELAY_AEAD_AES_256_GCM] = 44,
};

/* Of SRTP. That of SRTCP is never shorter, see set_suite(). */
static const uint8_t TAG_LENGTHS[] = {
    [RELAY_AES_CM_128_HMAC_SHA1_80] = 10,
    [RELAY_AES_CM_128_HMAC_SHA1_32] = 4,
    [RELAY_AEAD_AES_128_GCM] = 16,
    [RELAY_AEAD_AES_256_GCM] = 16,
};

static bool is_valid(const struct relay_srtp_key *key)
{
    return key->suite < sizeof KEY_LENGTHS && key->length == KEY_LENGTHS[key->suite];
}

static void set_suite(srtp_policy_t *policy, uint32_t suite)
{
    switch (suite) {
    case RELAY_AES_CM_128_HMAC_SHA1_80:
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtcp);
        break;
    case RELAY_AES_CM_128_HMAC_SHA1_32: /* of SRTCP the tag stays long: RFC 3711 section 5.2 */
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy->rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtcp);
        break;
    case RELAY_AEAD_AES_128_GCM:
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtcp);
        break;
    default:
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtcp);
        break;
    }
}

/* Where libsrtp2 has its ciphers from NSS, the last context that goes shuts NSS down, and the next
 * one starts it again for a millisecond. One that is never used keeps it; its key is no secret. */
static void keep_ciphers(void)
{
    static srtp_t keeper;
    static uint8_t no_key[SRTP_MAX_KEY_LEN];
    if (keeper == NULL) {
        srtp_policy_t policy = {.ssrc = {.type = ssrc_any_inbound}, .key = no_key};
        set_suite(&policy, RELAY_AES_CM_128_HMAC_SHA1_80);
        if (srtp_create(&keeper, &policy) != srtp_err_status_ok) {
            keeper = NULL; /* a saving, no need */
        }
    }
}

/* The library has one state for the process, which PJSIP starts and shuts down too. */
static srtp_err_status_t create(srtp_t *session, const srtp_policy_t *policy)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    srtp_err_status_t status = srtp_create(session, policy);
    if (status != srtp_err_status_ok && srtp_init() == srtp_err_status_ok) {
        status = srtp_create(session, policy);
    }
    keep_ciphers();
    pthread_mutex_unlock(&lock);
    return status;
}

int srtp_make(const struct relay_srtp_key *key, enum srtp_use use, struct srtp_direction **out)
{
    if (key == NULL) {
        *out = NULL;
        return 0;
    }
    if (!is_valid(key)) {
        errno = EINVAL;
        return -1;
    }
    struct srtp_direction *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -1;
    }
    made->key = *key;
    srtp_policy_t policy = {
        .ssrc = {.type = use == SRTP_OPEN ? ssrc_any_inbound : ssrc_any_outbound},
        .key = made->key.key,
        .window_size = REPLAY_WINDOW,
    };
    set_suite(&policy, key->suite);
    srtp_err_status_t status = create(&made->session, &policy);
    if (status != srtp_err_status_ok) {
        made->session = NULL;
        srtp_destroy(made);
        errno = status == srtp_err_status_alloc_fail ? ENOMEM : ENOTSUP;
        return -1;
    }
    *out = made;
    return 0;
}

void srtp_destroy(struct srtp_direction *direction)
{
    if (direction == NULL) {
        return;
    }
    if (direction->session != NULL) {
        srtp_dealloc(direction->session);
    }
    explicit_bzero(direction, sizeof *direction);
    free(direction);
}

bool srtp_same(const struct srtp_direction *a, const struct srtp_direction *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a->key.suite == b->key.suite && memcmp(a->key.key, b->key.key, a->key.length) == 0;
}

/* ------------------------------------------------------------------------ packets */

enum kind { NEITHER, IS_RTP, IS_RTCP };

/* What the bytes that are in the clear say. *ssrc is as it stands in the packet. */
static enum kind look(const uint8_t *data, size_t length, uint32_t *ssrc)
{
    if (length < RTCP_FIXED || data[0] >> 6 != 2) {
        return NEITHER;
    }
    bool rtcp = data[1] >= RTCP_FIRST && data[1] <= RTCP_LAST;
    if (!rtcp && length < RTP_FIXED) {
        return NEITHER;
    }
    memcpy(ssrc, data + (rtcp ? 4 : 8), sizeof *ssrc);
    return rtcp ? IS_RTCP : IS_RTP;
}

static bool knows(const struct srtp_direction *direction, uint32_t ssrc)
{
    for (uint32_t k = direction->sources; k > 0; k--) { /* the newest is the likeliest */
        if (direction->ssrc[k - 1] == ssrc) {
            return true;
        }
    }
    return false;
}

/* The library keeps each source for good. So do we: one that is forgotten could use a sequence
 * number again, under the same key. A party that changes it more often than that is not served. */
static bool has_room(const struct srtp_direction *direction, uint32_t ssrc)
{
    return direction->sources < SRTP_SOURCES || knows(direction, ssrc);
}

static void note(struct srtp_direction *direction, uint32_t ssrc)
{
    if (!knows(direction, ssrc)) {
        direction->ssrc[direction->sources++] = ssrc;
    }
}

bool srtp_open(struct srtp_direction *direction, uint8_t *data, size_t *length)
{
    uint32_t ssrc;
    int size = (int)*length;
    enum kind kind = look(data, *length, &ssrc);
    size_t least = kind == IS_RTP ? RTP_FIXED : RTCP_FIXED + SRTCP_INDEX;
    if (kind == NEITHER || *length < least + TAG_LENGTHS[direction->key.suite] ||
        !has_room(direction, ssrc)) {
        return false;
    }
    srtp_err_status_t status = kind == IS_RTP
                                   ? srtp_unprotect(direction->session, data, &size)
                                   : srtp_unprotect_rtcp(direction->session, data, &size);
    if (status != srtp_err_status_ok || size < 0) {
        return false;
    }
    note(direction, ssrc); /* the library takes it up once it is authentic */
    *length = (size_t)size;
    return true;
}

bool srtp_seal(struct srtp_direction *direction, uint8_t *data, size_t *length)
{
    uint32_t ssrc;
    int size = (int)*length;
    enum kind kind = look(data, *length, &ssrc);
    if (kind == NEITHER || !has_room(direction, ssrc)) {
        return false;
    }
    note(direction, ssrc); /* the library may have taken it up even if it then refuses */
    srtp_err_status_t status = kind == IS_RTP ? srtp_protect(direction->session, data, &size)
                                              : srtp_protect_rtcp(direction->session, data, &size);
    if (status != srtp_err_status_ok || size < 0) {
        return false;
    }
    *length = (size_t)size;
    return true;
}
