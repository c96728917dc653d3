/* The control side of SRTP: keys of a stream come, change and go. */
#include "engine.h"

#include <errno.h>

_Static_assert((int)TAILROOM >= (int)SRTP_GROWTH,
               "a datagram of any length can be sealed in place");

/* Of both parties. */
void crypto_destroy(struct crypto *crypto)
{
    for (int side = 0; side < 2; side++) {
        srtp_destroy(crypto[side].inbound);
        srtp_destroy(crypto[side].outbound);
        crypto[side] = (struct crypto){0};
    }
}

static void exchange(struct srtp_direction **held, struct srtp_direction **given)
{
    if (!srtp_same(*held, *given)) {
        struct srtp_direction *former = *held;
        *held = *given;
        *given = former;
    }
}

/* Contexts are made before the lock is taken and destroyed after it was given back. */
int relay_set_crypto(struct relay *relay, uint64_t stream, uint32_t side,
                     const struct relay_srtp_key *inbound, const struct relay_srtp_key *outbound)
{
    struct crypto given[2] = {{0}};
    if (side > RELAY_CALLEE) {
        return RELAY_BAD_ARGUMENT;
    }
    int status = RELAY_OK, cause = 0;
    if (srtp_make(inbound, SRTP_OPEN, &given[0].inbound) != 0 ||
        srtp_make(outbound, SRTP_SEAL, &given[0].outbound) != 0) {
        cause = errno;
        status = cause == EINVAL ? RELAY_BAD_ARGUMENT : RELAY_SYSTEM;
        goto out;
    }
    struct stream *found = stream_lock(relay, stream);
    if (found == NULL) {
        status = RELAY_NO_STREAM;
        goto out;
    }
    exchange(&found->crypto[side].inbound, &given[0].inbound);
    exchange(&found->crypto[side].outbound, &given[0].outbound);
    found->keyed++;
    stream_unlock(found);
out:
    crypto_destroy(given);
    errno = cause;
    return status;
}
