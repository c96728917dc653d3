/* libFuzzer: address lists and body tokens, without PJSIP.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_bodies.h"
#include "recproxy_net.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t tokens[16];
    struct recproxy_net net = {{0}, 0, 4};
    char *text = malloc(size + 1);

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (recproxy_net_parse(text, size, &net) == 0) {
        if (net.bits > net.len * 8 || !recproxy_net_match(&net, net.addr, net.len))
            abort();
    }
    if (size >= 17) {
        uint64_t *token = &tokens[data[0] % 16];

        recproxy_net_match(&net, data + 1, 16);
        switch (data[0] >> 4) {
        case 0:
            recproxy_bodies_free(*token);
            *token = 0;
            break;
        case 1:
            if (!*token)
                *token = recproxy_bodies_new();
            break;
        case 2:
            if (recproxy_bodies_set(*token, text, size, size > 40 ? text + 20 : NULL) == 0 &&
                (!recproxy_bodies_find(*token) || recproxy_bodies_find(*token)->size > size))
                abort();
            break;
        case 3:
            recproxy_bodies_clear();
            memset(tokens, 0, sizeof(tokens));
            break;
        default:
            recproxy_bodies_find((uint64_t)data[1] << 32 | data[2]);
        }
    }
    recproxy_bodies_token(text, size);
    free(text);
    return 0;
}
