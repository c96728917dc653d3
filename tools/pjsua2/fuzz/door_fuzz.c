/* libFuzzer: datagrams through PJSIP's parser, recproxy's module and PJSUA.
 *
 * The input holds one or more messages, separated by a line "====".  "~TAG~" in
 * a message becomes the tag that we gave to the last dialog, so that requests
 * inside a dialog can be reached.  A first line "!letters" sets the door: r no new
 * calls, e only emergency calls, a with passwords, l locked out, s strangers get no
 * answer, x the sender is one, f the sender may fork calls to us (SIPREC).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_sip.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    stage_start();
    return 0;
}

static int has(const pj_str_t *letters, char letter)
{
    return memchr(letters->ptr, letter, (size_t)letters->slen) != NULL;
}

static const char *set_door(const pj_str_t *letters)
{
    static const char us[] = "127.0.0.0/8,::1", numbers[] = "112,144";
    int group;

    recproxy_admission_set(has(letters, 'r')   ? RECPROXY_REFUSE
                           : has(letters, 'e') ? RECPROXY_EMERGENCY_ONLY
                                               : RECPROXY_ADMIT,
                           5);
    recproxy_emergency_set(numbers, sizeof(numbers) - 1);
    recproxy_acl_set_silent(has(letters, 's'));
    recproxy_auth_clear();
    recproxy_auth_lock(us, has(letters, 'l') ? sizeof(us) - 1 : 0);
    recproxy_fork_clients(us, has(letters, 'f') ? sizeof(us) - 1 : 0);
    if (has(letters, 'a')) {
        group = recproxy_auth_add(us, sizeof(us) - 1);
        if (group < 0)
            abort();
        recproxy_auth_challenge(group, "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256", "");
    }
    return has(letters, 'x') ? "192.0.2.1" : "127.0.0.1";
}

/* With the tag in the place of its mark. */
static size_t fill(char *to, size_t room, const char *text, size_t size)
{
    static const char mark[] = "~TAG~";
    size_t used = 0, tag = strlen(stage_tag());

    for (size_t i = 0; i < size;) {
        if (size - i >= sizeof(mark) - 1 && memcmp(text + i, mark, sizeof(mark) - 1) == 0) {
            if (room - used < tag)
                break;
            memcpy(to + used, stage_tag(), tag);
            used += tag;
            i += sizeof(mark) - 1;
        } else {
            if (room - used < 1)
                break;
            to[used++] = text[i++];
        }
    }
    return used;
}

static void settle_held(int code)
{
    unsigned token;

    while ((token = recproxy_held_next()) != 0) {
        const char *message = recproxy_held_message(token);

        /* Into the dialog that it came from: the transport discards it. */
        if (strncmp(message, "INFO", 4) == 0 || strncmp(message, "REFER", 5) == 0)
            recproxy_held_pass_on(token, "c1", stage_tag(), "a", "Event:refer\nX-A:b\n");
        else
            recproxy_held_answer(token, code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char line[] = "====\n";
    static char message[PJSIP_MAX_PKT_LEN];
    const char *text = (const char *)data, *end = text + size, *from;
    unsigned calls = pjsua_call_get_count();
    pj_str_t letters = {"", 0};

    if (size && *text == '!')
        letters = stage_line(&text, end);
    from = set_door(&letters);
    while (text < end) {
        const char *next = memmem(text, (size_t)(end - text), line, sizeof(line) - 1);
        size_t here = (size_t)((next ? next : end) - text);

        stage_receive(message, fill(message, sizeof(message) - 1, text, here), from);
        settle_held(size & 1 ? 200 : 488);
        pjsua_handle_events(0);
        text = next ? next + sizeof(line) - 1 : end;
    }
    if (has(&letters, 'x') && pjsua_call_get_count() > calls)
        abort();
    pjsua_call_hangup_all();
    stage_turn(5);
    return 0;
}
