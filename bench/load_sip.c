/* The least of RFC 3261 that sets up and ends calls, as UAC and as UAS, over UDP.
 * Messages are read in place; whatever is copied is bounded by its buffer. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUE = 512, TARGET = 192, TAG = 80, CALL_ID = 128, BODY = 512, BURST = 64 };
static const ns_t T1 = 500 * MS;

enum call_state { IDLE, CALLING, UP, ENDING, DONE, FAILED };

struct call { /* we are UAC */
    enum call_state state;
    int cseq, code;
    ns_t invited, repeat_at, repeat_after, bye_at;
    char to_tag[TAG], target[TARGET], route[VALUE];
};

struct dialog { /* we are UAS */
    char call_id[CALL_ID];
    bool acknowledged;
    int slot;
    ns_t answered, repeat_at, repeat_after;
    struct sockaddr_in from;
    char *answer;
    size_t answer_length;
};

struct text { /* a message under construction */
    char *at;
    size_t capacity, length;
};

struct histogram sip_setup;
static struct call *calls;
static struct dialog *dialogs;
static int *hash;
static unsigned hash_mask;
static int dialog_capacity, dialog_count, slots;
static int uac_socket, uas_socket, run, started;
static struct sip_stats totals;

/* ---------------------------------------------------------------- text */

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int wanted =
        vsnprintf(text->at + text->length, text->capacity - text->length, format, arguments);
    va_end(arguments);
    if (wanted < 0 || (size_t)wanted >= text->capacity - text->length) {
        die("a message is longer than %zu bytes", text->capacity);
    }
    text->length += (size_t)wanted;
}

static void copy(char *to, size_t capacity, const char *from, size_t length)
{
    if (length >= capacity) {
        length = capacity - 1;
    }
    memcpy(to, from, length);
    to[length] = 0;
}

/* Value of the nth header of a name, or of its compact form; false if there is none. */
static bool header(const char *message, const char *name, char compact, int nth, char *value,
                   size_t capacity)
{
    size_t name_length = strlen(name);
    value[0] = 0;
    for (const char *end = strchr(message, '\n'); end != NULL; end = strchr(end + 1, '\n')) {
        const char *at = end + 1;
        if (*at == 0 || *at == '\r' || *at == '\n') {
            return false;
        }
        if (strncasecmp(at, name, name_length) == 0 &&
            (at[name_length] == ':' || at[name_length] == ' ')) {
            at += name_length;
        } else if (compact != 0 && (at[0] | 32) == compact && (at[1] == ':' || at[1] == ' ')) {
            at += 1;
        } else {
            continue;
        }
        at += strspn(at, " ");
        if (*at++ != ':' || nth-- > 0) {
            continue;
        }
        at += strspn(at, " \t");
        copy(value, capacity, at, strcspn(at, "\r\n"));
        return true;
    }
    return false;
}

static bool sdp_target(const char *message, struct sockaddr_in *to)
{
    const char *body = strstr(message, "\r\n\r\n");
    if (body == NULL) {
        return false;
    }
    const char *connection = strstr(body, "c=IN IP4 ");
    const char *audio = strstr(body, "m=audio ");
    if (connection == NULL || audio == NULL) {
        return false;
    }
    const char *own = strstr(audio, "c=IN IP4 ");
    char ip[16] = "";
    unsigned port = 0;
    if (sscanf((own != NULL ? own : connection) + 9, "%15[0-9.]", ip) != 1 ||
        sscanf(audio + 8, "%5u", &port) != 1) {
        return false;
    }
    *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, ip, &to->sin_addr) == 1 && port > 0 && port < 65536 &&
           ntohl(to->sin_addr.s_addr) >> 24 == 127;
}

static void write_sdp(struct text *body, const struct sockaddr_in *at, int port, int id)
{
    add(body,
        "v=0\r\no=load %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=ptime:%d\r\na=sendrecv\r\n",
        id, ip_text(at), ip_text(at), port, opt.frame_ms);
}

static void end_headers(struct text *out, const struct text *body)
{
    add(out, "%sContent-Length: %zu\r\n\r\n%s",
        body->length > 0 ? "Content-Type: application/sdp\r\n" : "", body->length,
        body->length > 0 ? body->at : "");
}

static void transmit(int fd, const char *data, size_t length, const struct sockaddr_in *to)
{
    /* A full socket buffer is loss; retransmission mends it as it mends the network's. */
    (void)!sendto(fd, data, length, 0, (const struct sockaddr *)to, sizeof *to);
}

/* ---------------------------------------------------------------- UAC */

static void send_request(int i, const char *method)
{
    struct call *call = &calls[i];
    char storage[MESSAGE_BYTES], body_storage[BODY], number[32];
    struct text out = {storage, sizeof storage, 0}, body = {body_storage, sizeof body_storage, 0};
    bool invite = strcmp(method, "INVITE") == 0, bye = strcmp(method, "BYE") == 0;
    /* ACK of a failure belongs to the INVITE's transaction, ACK of a 200 is its own
     * (17.1.1.3, 13.2.2.4). */
    char kind = invite || (!bye && call->code >= 300) ? 'i' : bye ? 'b' : 'a';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* checked by main: one %d */
    snprintf(number, sizeof number, opt.number, i);
#pragma GCC diagnostic pop
    if (invite) {
        write_sdp(&body, &opt.uac, opt.uac_rtp + 2 * (opt.media ? i : 0), i + 1);
    }
    if (call->target[0] != 0) {
        add(&out, "%s %s SIP/2.0\r\n", method, call->target);
    } else {
        add(&out, "%s sip:%s@%s:%d SIP/2.0\r\n", method, number, ip_text(&opt.sut),
            ntohs(opt.sut.sin_port));
    }
    const char *us = ip_text(&opt.uac);
    int port = ntohs(opt.uac.sin_port);
    add(&out, "Via: SIP/2.0/UDP %s:%d;branch=z9hG4bK%c%d-%d-%d;rport\r\nMax-Forwards: 70\r\n", us,
        port, kind, run, i, call->cseq);
    add(&out, "%sFrom: <sip:load@%s:%d>;tag=a%d-%d\r\n", call->route, us, port, run, i);
    add(&out, "To: <sip:%s@%s:%d>%s%s\r\n", number, ip_text(&opt.sut), ntohs(opt.sut.sin_port),
        call->to_tag[0] != 0 ? ";tag=" : "", call->to_tag);
    add(&out, "Call-ID: c%d-%d@%s\r\nCSeq: %d %s\r\nContact: <sip:load@%s:%d>\r\n", i, run, us,
        call->cseq, method, us, port);
    add(&out, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n");
    end_headers(&out, &body);
    transmit(uac_socket, out.at, out.length, &opt.sut);
}

static void fail(int i, int code)
{
    struct call *call = &calls[i];
    if (call->state < CALLING || call->state > ENDING) {
        return;
    }
    if (call->state != CALLING) {
        totals.up--;
    }
    call->state = FAILED;
    call->repeat_at = 0;
    totals.last_failure = code;
    totals.failed++;
    if (opt.media) {
        media_stop(i);
    }
}

void sip_start_call(int i, ns_t now)
{
    struct call *call = &calls[i];
    call->state = CALLING;
    call->cseq = 1;
    call->invited = monotonic();
    call->repeat_after = T1;
    call->repeat_at = now + T1;
    send_request(i, "INVITE");
    started = i + 1;
}

void sip_end_call(int i, ns_t at)
{
    if (calls[i].state == UP) {
        calls[i].bye_at = at;
    }
}

int sip_started(void)
{
    return started;
}

static void take_dialog(struct call *call, const char *message)
{
    char value[VALUE];
    header(message, "Contact", 'm', 0, value, sizeof value);
    const char *open = strchr(value, '<');
    const char *from = open != NULL ? open + 1 : value;
    copy(call->target, sizeof call->target, from, strcspn(from, open != NULL ? ">" : "; "));
    int count = 0;
    while (header(message, "Record-Route", 0, count, value, sizeof value)) {
        count++;
    }
    struct text route = {call->route, sizeof call->route, 0};
    while (count-- > 0) {
        header(message, "Record-Route", 0, count, value, sizeof value);
        add(&route, "Route: %s\r\n", value);
    }
}

static void answered(int i, const char *message)
{
    struct call *call = &calls[i];
    take_dialog(call, message);
    ns_t now = monotonic();
    call->state = UP;
    totals.answered++;
    totals.up++;
    count_us(&sip_setup, now - call->invited);
    send_request(i, "ACK");
    struct sockaddr_in to;
    if (opt.media && sdp_target(message, &to)) {
        media_start(i, &to);
    } else if (opt.media) {
        totals.answered--;
        fail(i, 998);
    }
    if (opt.setup) {
        call->bye_at = now + opt.hold_ms * MS;
    }
}

static void take_invite_response(int i, int code, int cseq, const char *message)
{
    struct call *call = &calls[i];
    if (code < 200) {
        call->repeat_at = 0;
        return;
    }
    if (call->state != CALLING) {
        if (call->state >= UP && cseq == 1) {
            send_request(i, "ACK"); /* the 200 was repeated: our ACK was lost */
        }
        return;
    }
    char value[VALUE];
    call->code = code;
    call->repeat_at = 0;
    header(message, "To", 't', 0, value, sizeof value);
    const char *tag = strstr(value, ";tag=");
    if (tag != NULL) {
        copy(call->to_tag, sizeof call->to_tag, tag + 5, strcspn(tag + 5, ";> "));
    }
    if (code >= 300) {
        send_request(i, "ACK");
        fail(i, code);
        return;
    }
    answered(i, message);
}

static bool own_call(const char *call_id, int *i)
{
    int its_run;
    return sscanf(call_id, "c%d-%d@", i, &its_run) == 2 && its_run == run && *i >= 0 &&
           *i < opt.calls;
}

static void take_response(const char *message)
{
    char value[VALUE], method[16];
    int i, cseq, code = atoi(message + 8);
    header(message, "Call-ID", 'i', 0, value, sizeof value);
    if (!own_call(value, &i)) {
        return;
    }
    header(message, "CSeq", 0, 0, value, sizeof value);
    if (sscanf(value, "%d %15s", &cseq, method) != 2) {
        return;
    }
    if (strcmp(method, "INVITE") == 0) {
        take_invite_response(i, code, cseq, message);
    } else if (strcmp(method, "BYE") == 0 && code >= 200 && calls[i].state == ENDING) {
        calls[i].state = DONE;
        calls[i].repeat_at = 0;
        totals.up--;
        totals.done++;
        if (code >= 300) {
            totals.failed++;
            totals.last_failure = code;
        }
    }
}

/* ---------------------------------------------------------------- UAS */

static struct dialog *find_dialog(const char *call_id, bool make)
{
    unsigned at = 2166136261u; /* FNV-1a */
    for (const char *c = call_id; *c != 0; c++) {
        at = (at ^ (uint8_t)*c) * 16777619u;
    }
    for (at &= hash_mask; hash[at] != 0; at = (at + 1) & hash_mask) {
        if (strcmp(dialogs[hash[at]].call_id, call_id) == 0) {
            return &dialogs[hash[at]];
        }
    }
    if (!make || dialog_count + 1 >= dialog_capacity) {
        return NULL;
    }
    hash[at] = ++dialog_count;
    struct dialog *dialog = &dialogs[dialog_count];
    copy(dialog->call_id, sizeof dialog->call_id, call_id, strlen(call_id));
    dialog->slot = slots++;
    return dialog;
}

static void write_response(struct text *out, const char *message, const char *status,
                           const char *tag, const struct sockaddr_in *us, const struct text *body)
{
    char value[VALUE];
    add(out, "SIP/2.0 %s\r\n", status);
    for (int k = 0; header(message, "Via", 'v', k, value, sizeof value); k++) {
        add(out, "Via: %s\r\n", value);
    }
    for (int k = 0; header(message, "Record-Route", 0, k, value, sizeof value); k++) {
        add(out, "Record-Route: %s\r\n", value);
    }
    header(message, "From", 'f', 0, value, sizeof value);
    add(out, "From: %s\r\n", value);
    header(message, "To", 't', 0, value, sizeof value);
    bool tagged = strstr(value, ";tag=") != NULL;
    add(out, "To: %s%s%s\r\n", value, tagged ? "" : ";tag=", tagged ? "" : tag);
    header(message, "Call-ID", 'i', 0, value, sizeof value);
    add(out, "Call-ID: %s\r\n", value);
    header(message, "CSeq", 0, 0, value, sizeof value);
    add(out, "CSeq: %s\r\nContact: <sip:load@%s:%d>\r\n", value, ip_text(us), ntohs(us->sin_port));
    add(out, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n");
    end_headers(out, body);
}

static void respond(int fd, const char *message, const char *status, const char *tag,
                    const struct text *body, const struct sockaddr_in *to)
{
    char storage[MESSAGE_BYTES];
    struct text out = {storage, sizeof storage, 0};
    write_response(&out, message, status, tag, fd == uas_socket ? &opt.uas : &opt.uac, body);
    transmit(fd, out.at, out.length, to);
}

static void repeat_answer(const struct dialog *dialog)
{
    transmit(uas_socket, dialog->answer, dialog->answer_length, &dialog->from);
}

static void take_invite(const char *message, const char *call_id, const struct sockaddr_in *from)
{
    static const struct text empty = {NULL, 0, 0};
    struct dialog *dialog = find_dialog(call_id, false);
    if (dialog != NULL && !dialog->acknowledged && dialog->answer != NULL) {
        repeat_answer(dialog);
        return;
    }
    bool fresh = dialog == NULL;
    if (fresh && !(opt.media && slots >= opt.calls)) {
        dialog = find_dialog(call_id, true);
    }
    if (dialog == NULL) {
        respond(uas_socket, message, "486 Busy Here", "b", &empty, from);
        return;
    }
    char tag[40], storage[MESSAGE_BYTES], body_storage[BODY];
    snprintf(tag, sizeof tag, "b%d-%d", run, dialog->slot);
    if (opt.media) {
        struct sockaddr_in to;
        if (!sdp_target(message, &to)) {
            respond(uas_socket, message, "488 Not Acceptable Here", tag, &empty, from);
            return;
        }
        media_start(opt.calls + dialog->slot, &to);
    }
    if (fresh) {
        respond(uas_socket, message, "180 Ringing", tag, &empty, from);
    }
    struct text body = {body_storage, sizeof body_storage, 0}, out = {storage, sizeof storage, 0};
    write_sdp(&body, &opt.uas, opt.uas_rtp + 2 * (opt.media ? dialog->slot : 0), dialog->slot + 1);
    write_response(&out, message, "200 OK", tag, &opt.uas, &body);
    free(dialog->answer);
    dialog->answer = need(out.length, 1);
    memcpy(dialog->answer, out.at, out.length);
    dialog->answer_length = out.length;
    dialog->from = *from;
    dialog->acknowledged = false;
    dialog->answered = monotonic();
    dialog->repeat_after = T1;
    dialog->repeat_at = dialog->answered + T1;
    repeat_answer(dialog);
}

static void take_request(int fd, const char *message, const struct sockaddr_in *from)
{
    char call_id[CALL_ID], body_storage[BODY];
    struct text body = {body_storage, sizeof body_storage, 0};
    header(message, "Call-ID", 'i', 0, call_id, sizeof call_id);
    bool uas = fd == uas_socket, bye = strncmp(message, "BYE ", 4) == 0;
    bool invite = strncmp(message, "INVITE ", 7) == 0;
    struct dialog *dialog = uas ? find_dialog(call_id, false) : NULL;
    int i;
    if (strncmp(message, "ACK ", 4) == 0) {
        if (dialog != NULL) {
            dialog->acknowledged = true;
            dialog->repeat_at = 0;
            free(dialog->answer);
            dialog->answer = NULL;
        }
        return;
    }
    if (uas && invite) {
        take_invite(message, call_id, from);
        return;
    }
    if (bye && opt.media && dialog != NULL) {
        media_stop(opt.calls + dialog->slot);
    }
    if (!uas && own_call(call_id, &i)) {
        struct sockaddr_in to;
        if (bye) {
            totals.unexpected_byes++;
            fail(i, 997);
        }
        if (invite) { /* a re-INVITE: answer with what we offered, send where it says */
            if (opt.media && sdp_target(message, &to)) {
                media_start(i, &to);
            }
            write_sdp(&body, &opt.uac, opt.uac_rtp + 2 * (opt.media ? i : 0), i + 1);
        }
    }
    respond(fd, message, "200 OK", "x", &body, from);
}

/* ---------------------------------------------------------------- both */

void sip_open(int epoll)
{
    run = (int)getpid();
    calls = need((size_t)opt.calls + 1, sizeof *calls);
    dialog_capacity = 2 * opt.calls + 16;
    dialogs = need((size_t)dialog_capacity + 1, sizeof *dialogs);
    unsigned size = 1;
    while (size < 4u * (unsigned)dialog_capacity) {
        size *= 2;
    }
    hash = need(size, sizeof *hash);
    hash_mask = size - 1;
    uac_socket = udp_socket(opt.uac, 4 << 20, false);
    uas_socket = udp_socket(opt.uas, 4 << 20, false);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)SIP_UAC_EVENT};
    epoll_ctl(epoll, EPOLL_CTL_ADD, uac_socket, &event);
    event.data.u32 = (uint32_t)SIP_UAS_EVENT;
    epoll_ctl(epoll, EPOLL_CTL_ADD, uas_socket, &event);
}

void sip_receive(bool uas)
{
    static char message[65536];
    int fd = uas ? uas_socket : uac_socket;
    for (int k = 0; k < BURST; k++) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(fd, message, sizeof message - 1, MSG_DONTWAIT,
                                  (struct sockaddr *)&from, &size);
        if (length <= 0) {
            return;
        }
        message[length] = 0;
        if (length < 12) {
            continue;
        }
        if (strncmp(message, "SIP/2.0 ", 8) != 0) {
            take_request(fd, message, &from);
        } else if (!uas) {
            take_response(message);
        }
    }
}

static void call_timer(int i, ns_t now)
{
    struct call *call = &calls[i];
    if (call->state == CALLING && now - call->invited > 10 * SEC) {
        fail(i, 999);
    } else if (call->state == CALLING && call->repeat_at != 0 && now >= call->repeat_at) {
        totals.repeated_invites++;
        send_request(i, "INVITE");
        call->repeat_after *= 2;
        call->repeat_at = now + call->repeat_after;
    } else if (call->state == UP && call->bye_at != 0 && now >= call->bye_at) {
        call->state = ENDING;
        call->bye_at = now;
        call->cseq++;
        send_request(i, "BYE");
        call->repeat_after = T1;
        call->repeat_at = now + T1;
        if (opt.media) {
            media_stop(i);
        }
    } else if (call->state == ENDING && now - call->bye_at > 8 * SEC) {
        fail(i, 996);
    } else if (call->state == ENDING && now >= call->repeat_at) {
        totals.repeated_byes++;
        send_request(i, "BYE");
        call->repeat_after *= 2;
        call->repeat_at = now + call->repeat_after;
    }
}

void sip_timers(ns_t now)
{
    static int first_call, first_dialog = 1; /* everything before is over */
    for (int i = first_call; i < started; i++) {
        if (calls[i].state >= DONE) {
            first_call += i == first_call;
        } else {
            call_timer(i, now);
        }
    }
    for (int k = first_dialog; k <= dialog_count; k++) {
        struct dialog *dialog = &dialogs[k];
        if (dialog->repeat_at == 0) {
            first_dialog += k == first_dialog;
        } else if (now - dialog->answered > 10 * SEC) {
            dialog->repeat_at = 0;
        } else if (now >= dialog->repeat_at) {
            totals.repeated_answers++;
            repeat_answer(dialog);
            dialog->repeat_after *= 2;
            dialog->repeat_at = now + dialog->repeat_after;
        }
    }
}

struct sip_stats sip_stats(void)
{
    return totals;
}
