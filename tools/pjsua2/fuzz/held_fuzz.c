/* libFuzzer: any order of what may happen to a call while messages of it are held.
 *
 * Each byte of the input is one event.  Whatever the order, everything that was
 * held can be let go at the end.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_sip.h"
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 200

enum happening {
    UPDATE,
    REINVITE_BARE,
    REINVITE,
    INFO,
    REFER,
    NOTIFY,
    MESSAGE,
    ACK,
    AGAIN,
    BYE,
    ANSWER,
    PASS_ON,
    PEER_ANSWERS,
    TURN,
    HAPPENINGS
};

static const char sdp[] = "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
                          "s=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 97\r\n";
static const int codes[] = {200, 202, 404, 481, 488, 491, 500, 603};

static unsigned run, serial, sequence, invited;
static char last[2048];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    stage_start();
    return 0;
}

static void say(const char *method, unsigned number, int in_dialog, const char *rest)
{
    int size = snprintf(last, sizeof(last),
                        "%s sip:1@127.0.0.1 SIP/2.0\r\n"
                        "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK%u-%u\r\n"
                        "Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=a\r\n"
                        "To: <sip:1@127.0.0.1>%s%s\r\nCall-ID: held%u\r\nCSeq: %u %s\r\n"
                        "Contact: <sip:a@127.0.0.1:5060>\r\n%s",
                        method, run, ++serial, in_dialog ? ";tag=" : "",
                        in_dialog ? stage_tag() : "", run, number, method, rest);

    if (size < 0 || (size_t)size >= sizeof(last))
        abort();
    stage_receive(last, (size_t)size, "127.0.0.1");
}

/* An answer to what we passed on, made of the request's own header. */
static void peer_answers(int code)
{
    static const char *const copied[] = {"Via:", "From:", "To:", "Call-ID:", "CSeq:"};
    char text[4096];
    int size = snprintf(text, sizeof(text), "SIP/2.0 %d X\r\nRetry-After: 1\r\n", code);

    for (size_t i = 0; i < PJ_ARRAY_SIZE(copied); i++) {
        const char *line = strstr(stage_sent(), copied[i]);
        const char *stop = line ? strstr(line, "\r\n") : NULL;

        if (!stop || (size_t)size + (size_t)(stop - line) + 8 > sizeof(text))
            return;
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%.*s\r\n", (int)(stop - line),
                         line);
    }
    size += snprintf(text + size, sizeof(text) - (size_t)size, "\r\n");
    stage_receive(text, (size_t)size, "127.0.0.1");
}

static void happens(enum happening what, unsigned with)
{
    static const char *const passed[] = {"INFO", "REFER", "NOTIFY", "MESSAGE"};
    unsigned token = stage_held(with);
    int code = codes[with % PJ_ARRAY_SIZE(codes)];

    switch (what) {
    case UPDATE:
        say("UPDATE", ++sequence, 1, sdp);
        break;
    case REINVITE_BARE:
        invited = ++sequence;
        say("INVITE", invited, 1, "\r\n");
        break;
    case REINVITE:
        invited = ++sequence;
        say("INVITE", invited, 1, sdp);
        break;
    case INFO:
    case REFER:
    case NOTIFY:
    case MESSAGE:
        say(passed[what - INFO], ++sequence, 1,
            "Event: refer\r\nSubscription-State: active\r\nRefer-To: <sip:2@127.0.0.1>\r\n"
            "Content-Type: text/plain\r\n\r\nx");
        break;
    case ACK:
        say("ACK", invited, 1, with & 1 ? sdp : "\r\n");
        break;
    case AGAIN:
        stage_receive(last, strlen(last), "127.0.0.1");
        break;
    case BYE:
        say("BYE", ++sequence, 1, "\r\n");
        break;
    case ANSWER:
        recproxy_held_answer(token, code);
        break;
    case PASS_ON: {
        char call_id[32];

        snprintf(call_id, sizeof(call_id), "held%u", with & 8 ? 0 : run);
        recproxy_held_pass_on(token, call_id, stage_tag(), "a", with & 16 ? "X-A:b\nX-C:d" : "");
        break;
    }
    case PEER_ANSWERS:
        peer_answers(code);
        break;
    case TURN:
    case HAPPENINGS:
        stage_turn(1);
        break;
    }
    stage_name_held();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run++;
    sequence = invited = 1;
    say("INVITE", 1, 0, sdp);
    say("ACK", 1, 1, "\r\n");
    for (size_t i = 0; i < size && i < EVENTS_MAX; i++)
        happens(data[i] % HAPPENINGS, data[i] / HAPPENINGS + (unsigned)i);
    stage_let_go();
    return 0;
}
