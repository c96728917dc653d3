/* recproxy's own PJSIP module: opaque SDP and the door.
 *
 * Everything in here belongs to the thread that polls PJSIP; nothing is locked.
 * The functions are reachable from Python as attributes of `pjsua2`.
 *
 * Opaque SDP.  PJSIP never sees a peer's SDP: each received body is replaced by
 * a fixed, inactive one before PJSIP's own layers run, while the bytes as
 * received stay readable in SipRxData.wholeMsg.  In the other direction each
 * SDP that PJSIP sends carries a token in its s= line (see
 * recproxy_sdp_placeholder); the module replaces that body by the bytes
 * registered for the token while the message is printed, and takes it back
 * afterwards.  The token travels through PJSIP's offer/answer machine with the
 * SDP it stands for, so a rejected offer can never surface in a later refresh.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_SIP_H
#define RECPROXY_SIP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when Python and this module must change together. */
#define RECPROXY_SIP_ABI 6

enum recproxy_admission {
    RECPROXY_ADMIT = 0,          /* new calls are taken; OPTIONS is answered 200 */
    RECPROXY_REFUSE = 1,         /* new calls and OPTIONS are answered 503 */
    RECPROXY_EMERGENCY_ONLY = 2, /* the same, but for calls to an emergency number */
};

enum recproxy_counter {
    RECPROXY_REFUSED_ADDRESS,   /* requests from outside the access list */
    RECPROXY_REFUSED_ADMISSION, /* INVITE answered 503 */
    RECPROXY_REFUSED_METHOD,    /* 405, 415, 489; 400 if two readers would differ; 488 */
    RECPROXY_REFUSED_EXTENSION, /* 420 */
    RECPROXY_REFUSED_HOPS,      /* 483 */
    RECPROXY_OPTIONS_ANSWERED,
    RECPROXY_BODIES_MASKED,
    RECPROXY_BODIES_SENT,
    RECPROXY_BODIES_LOST,   /* a token without bytes: must stay 0 */
    RECPROXY_CHALLENGED,    /* INVITE answered 407 without a call */
    RECPROXY_LOCKED_OUT,    /* INVITE answered 403: too many wrong passwords */
    RECPROXY_LINKS_REFUSED, /* connections of strangers, or one too many */
    RECPROXY_LINKS_CLOSED,  /* connections with a message that never ended, or too long */
    RECPROXY_COUNTERS
};

/* No messages of PJSIP on standard output from now on; before Endpoint.libCreate,
 * which would print some.  Endpoint.libInit sets the level again. */
void recproxy_log_off(void);

/* Register with the endpoint made by Endpoint.libInit.  0, or a pj_status_t. */
int recproxy_sip_start(void);

/* Access list: replace it as a whole, once all of it has been understood.
 * `nets` holds `count` CIDR texts, separated by commas.  Returns -1, or the
 * index of the first one that is wrong (the old list then stays).  The list is
 * empty at first: nobody is let in. */
int recproxy_acl_set(const char *nets, size_t size);

/* Drop refused requests without an answer (1) or answer 403 (0, the default). */
void recproxy_acl_set_silent(int silent);

/* Recording clients (RFC 7866), as for recproxy_acl_set: they alone may require siprec,
 * and are told that it is supported. */
int recproxy_fork_clients(const char *nets, size_t size);

/* Digest authentication.  An INVITE from `nets` (as for recproxy_acl_set) that has
 * no Proxy-Authorization is answered 407 with these challenges, without state and
 * without a call; one that has is let in, and must be verified there.  So is one
 * to a number as short as those that recproxy_auth_short sets, or to a URN: it may
 * be an emergency call, which nothing may hold up.  _add returns the number of the
 * group, or -1 - the index of the network that is wrong.  A group without a
 * challenge answers 503. */
#define RECPROXY_SHORT_NUMBER 8
void recproxy_auth_short(unsigned digits);
void recproxy_auth_clear(void);
int recproxy_auth_add(const char *nets, size_t size);
void recproxy_auth_challenge(int group, const char *first, const char *second);

/* INVITEs from these addresses get 403, short numbers as above; replaced as a
 * whole.  Returns as recproxy_acl_set. */
int recproxy_auth_lock(const char *nets, size_t size);

/* Connections that one address may have open to us at once, unfinished TLS handshakes
 * included; 0 for any number. */
void recproxy_links_limit(unsigned per_address);
unsigned recproxy_links_count(void);

/* Where to find the server that a name stands for, for the request that is sent
 * next: the name stays in the request, and a TLS certificate must be made out to
 * it.  -1 if the address is not numeric.  An empty name forgets it. */
int recproxy_resolve_pin(const char *name, const char *address);

/* Other names that a request goes to: a peer's Contact, Record-Route or Via may hold
 * one.  _next names each question once (0: none new), _question gives it as
 * "NAME PORT TRANSPORT", port 0 if the peer gave none, and _answer sends the request
 * to the address, or lets it fail if that is empty.  -1: there is no such question. */
unsigned recproxy_resolve_next(void);
const char *recproxy_resolve_question(unsigned id);
int recproxy_resolve_answer(unsigned id, const char *address);

/* Begin a TLS listener anew: its files are read again, connections stay.  `transport`
 * is what Endpoint.transportCreate returned.  0, or a pj_status_t. */
int recproxy_tls_restart(int transport, const char *address, int port);

/* Headers, each "Name:value\n", that every message of a call's dialog has from now on
 * in the place of those of the same name; "" for none.  `call` is PJSUA's number of it.
 * -1: there is no such call, or they are more than 512 characters. */
int recproxy_call_tell(int call, const char *headers);

/* Whether provisional responses to a call's INVITE are sent reliably (RFC 3262) from now
 * on; its caller must know 100rel.  -1: there is no such call, or it is answered. */
int recproxy_call_reliable(int call, int on);

/* What a new INVITE and OPTIONS get; retry_after in seconds, 0 for none. */
void recproxy_admission_set(int admission, int retry_after);

/* OPTIONS from these networks get 503 as well, whatever the admission is: their trunk
 * is full.  Replaced as a whole; returns as recproxy_acl_set. */
int recproxy_options_full(const char *nets, size_t size);

/* Numbers that RECPROXY_EMERGENCY_ONLY lets in, as dialled, separated by commas;
 * service URNs always are.  -1: no memory, and the old ones stay. */
int recproxy_emergency_set(const char *data, size_t size);

/* Bodies to send.  A token is never 0 and never used twice. */
unsigned long long recproxy_body_new(void);

/* Set or replace the bytes behind a token; size 0 sends no body at all.  An
 * empty content type means application/sdp.  0, -1 for an unknown token, -2 for
 * a body or type that is too long. */
int recproxy_body_set(unsigned long long token, const char *data, size_t size,
                      const char *content_type);

void recproxy_body_free(unsigned long long token);

/* Bodies now registered. */
unsigned recproxy_body_count(void);

/* The SDP text to hand to PJSIP for a token; valid until the next call. */
const char *recproxy_sdp_placeholder(unsigned long long token);

/* Name of the header that attaches a token's body to a response that PJSIP
 * sends without one (180 and 181).  It never reaches the wire. */
const char *recproxy_body_header(void);

/* The CANCEL received last, as it came, if its Call-ID is this one; else "".
 * PJSIP reports the end of the call before it reports the CANCEL, whose Reason
 * header must go on to the other side (RFC 3326). */
const char *recproxy_cancel_message(const char *call_id);

/* What is held until the other leg has answered: an UPDATE or PRACK with an offer, a
 * re-INVITE without one and then its ACK, the 200 to such a re-INVITE of ours, and
 * INFO, REFER, NOTIFY, MESSAGE inside a call.  _next names each one once (0: none
 * new), _message gives it as it came, and _answer gives it to PJSIP (code 2xx;
 * onCallSdpCreated then names the body) or refuses it.  -1: there is no such. */
unsigned recproxy_held_next(void);
const char *recproxy_held_message(unsigned id);
int recproxy_held_answer(unsigned id, int code);

/* Send an INFO, REFER, NOTIFY or MESSAGE on in the dialog that these three name,
 * with the body as it came and these headers, each "Name:value\n"; its answer goes
 * back by itself.  -1: there is no such. */
int recproxy_held_pass_on(unsigned id, const char *call_id, const char *local_tag,
                          const char *remote_tag, const char *headers);

unsigned long long recproxy_counter_get(int counter);

/* Give free memory back to the system (malloc_trim). */
void recproxy_memory_trim(void);

int recproxy_max_calls(void);
int recproxy_abi(void);
const char *recproxy_tls_library(void);

#ifdef __cplusplus
}
#endif
#endif
