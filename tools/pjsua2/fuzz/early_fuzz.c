/* libFuzzer: any order of what may happen to a call before it is answered.
 *
 * Each byte of the input is one event: reliable responses and their PRACK, offers in
 * PRACK and UPDATE, CANCEL, and what recproxy_call.c does to such a call.  What is told
 * of a dialog is in its messages once, and everything held can be let go at the end.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_sip.h"
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 200

enum happening {
    RING,
    SPEAK,
    RELIABLE,
    UNRELIABLE,
    TELL,
    PRACK,
    PRACK_OFFER,
    PRACK_WRONG,
    UPDATE,
    UPDATE_BARE,
    HELD,
    AGAIN,
    CANCEL,
    ACCEPT,
    REFUSE,
    ACK,
    BYE,
    TURN,
    HAPPENINGS
};

static const char sdp[] = "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
                          "s=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 97\r\n";
static const char *const told[] = {
    "X-Told:a\n", "x-told:b\nX-Told: c\n", "X-Told:d\nX-Other:\n", "", "X-Told", ":\n", "\n:\n"};

static unsigned run, serial, sequence, now_told;
static char last[2048];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    stage_start();
    stage_leave_calls();
    return 0;
}

static unsigned times(const char *text, const char *words)
{
    unsigned found = 0;

    for (const char *at = text; (at = strcasestr(at, words)) != NULL; at += strlen(words))
        found++;
    return found;
}

/* The last response, if it belongs to the call that stands. */
static void check_told(void)
{
    const char *answer = stage_answered();
    char id[64], tag[160];

    snprintf(id, sizeof(id), "\r\nCall-ID: early%u\r\n", run);
    snprintf(tag, sizeof(tag), ";tag=%s", stage_tag());
    if (!pjsua_call_is_active(stage_call()) || !strstr(answer, id) || !*stage_tag() ||
        !strstr(answer, tag))
        return;
    if (now_told < 3 && times(answer, "\r\nX-Told:") > 1)
        abort();
}

static void say(const char *method, unsigned number, int in_dialog, const char *more)
{
    int same = strcmp(method, "CANCEL") == 0; /* transaction as the INVITE */
    int size = snprintf(last, sizeof(last),
                        "%s sip:1@127.0.0.1 SIP/2.0\r\n"
                        "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKe%u-%u\r\n"
                        "Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=a\r\n"
                        "To: <sip:1@127.0.0.1>%s%s\r\nCall-ID: early%u\r\nCSeq: %u %s\r\n"
                        "Contact: <sip:a@127.0.0.1:5060>\r\nSupported: 100rel\r\n%s",
                        method, run, same ? 0 : serial++, in_dialog ? ";tag=" : "",
                        in_dialog ? stage_tag() : "", run, number, method, more);

    if (size < 0 || (size_t)size >= sizeof(last))
        abort();
    stage_receive(last, (size_t)size, "127.0.0.1");
}

/* PRACK for the last reliable response, or for one that there never was. */
static void acknowledge(int wrong, const char *more)
{
    const char *line = strstr(stage_answered(), "RSeq:");
    unsigned number = line ? (unsigned)strtoul(line + 5, NULL, 10) : 1;
    char text[1024];

    snprintf(text, sizeof(text), "RAck: %u 1 INVITE\r\n%s", number + (unsigned)wrong, more);
    say("PRACK", ++sequence, 1, text);
}

static void answer(int code)
{
    if (pjsua_call_is_active(stage_call()))
        pjsua_call_answer(stage_call(), (unsigned)code, NULL, NULL);
}

static void happens(enum happening what, unsigned with)
{
    static const int codes[] = {200, 488, 491, 603};

    switch (what) {
    case RING:
        answer(180);
        break;
    case SPEAK:
        answer(183);
        break;
    case RELIABLE:
    case UNRELIABLE:
        recproxy_call_reliable(with % 7 ? stage_call() : (int)with * 100 - 300, what == RELIABLE);
        break;
    case TELL:
        if (recproxy_call_tell(stage_call(), told[with % PJ_ARRAY_SIZE(told)]) == 0)
            now_told = with % PJ_ARRAY_SIZE(told);
        if (recproxy_call_tell(-1, "") != -1 || recproxy_call_tell(1 << 20, "") != -1)
            abort();
        break;
    case PRACK:
        acknowledge(0, "\r\n");
        break;
    case PRACK_OFFER:
        acknowledge(0, sdp);
        break;
    case PRACK_WRONG:
        acknowledge(1, with & 1 ? sdp : "\r\n");
        break;
    case UPDATE:
        say("UPDATE", ++sequence, 1, sdp);
        break;
    case UPDATE_BARE:
        say("UPDATE", ++sequence, 1, "\r\n");
        break;
    case HELD:
        recproxy_held_answer(stage_held(with), codes[with % PJ_ARRAY_SIZE(codes)]);
        break;
    case AGAIN:
        stage_receive(last, strlen(last), "127.0.0.1");
        break;
    case CANCEL:
        say("CANCEL", 1, 0, "\r\n");
        break;
    case ACCEPT:
        answer(200);
        break;
    case REFUSE:
        answer(with & 1 ? 486 : 302);
        break;
    case ACK:
        say("ACK", 1, 1, with & 1 ? sdp : "\r\n");
        break;
    case BYE:
        say("BYE", ++sequence, 1, "\r\n");
        break;
    case TURN:
    case HAPPENINGS:
        stage_turn(1);
        break;
    }
    check_told();
    stage_name_held();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const invites[] = {sdp, "\r\n", "Require: 100rel\r\n\r\n"};
    size_t first = 0;

    run++;
    serial = 0;
    sequence = 1;
    now_told = PJ_ARRAY_SIZE(told);
    say("INVITE", 1, 0, invites[size ? data[first++] % PJ_ARRAY_SIZE(invites) : 0]);
    for (; first < size && first < EVENTS_MAX; first++)
        happens(data[first] % HAPPENINGS, data[first] / HAPPENINGS + (unsigned)first);
    stage_let_go();
    return 0;
}
