/* What passes though no new calls are taken: what belongs to a call already, and
 * calls for help.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pj/string.h>
#include <stdlib.h>
#include <string.h>

static char *numbers; /* each one ended by a NUL, an empty one after the last */

int recproxy_emergency_set(const char *data, size_t size)
{
    char *list = calloc(size + 2, 1);

    if (!list)
        return -1;
    if (size)
        memcpy(list, data, size);
    for (size_t i = 0; i < size; i++) {
        if (list[i] == ',')
            list[i] = '\0';
    }
    free(numbers);
    numbers = list;
    return 0;
}

static int is_number(const pj_str_t *user)
{
    for (const char *at = numbers; at && *at; at += strlen(at) + 1) {
        if (pj_strcmp2(user, at) == 0)
            return 1;
    }
    return 0;
}

/* A service URN (RFC 5031) or one of the numbers, whatever host it names. */
int recproxy_exempt_emergency(const pjsip_rx_data *rdata)
{
    pjsip_uri *uri = pjsip_uri_get_uri(rdata->msg_info.msg->line.req.uri);
    const pj_str_t *scheme = pjsip_uri_get_scheme(uri);

    if (PJSIP_URI_SCHEME_IS_SIP(uri) || PJSIP_URI_SCHEME_IS_SIPS(uri))
        return is_number(&((const pjsip_sip_uri *)uri)->user);
    if (PJSIP_URI_SCHEME_IS_TEL(uri))
        return is_number(&((const pjsip_tel_uri *)uri)->number);
    if (pj_stricmp2(scheme, "urn") == 0) {
        static const pj_str_t sos = {"service:sos", 11};

        return pj_strnicmp(&((const pjsip_other_uri *)uri)->content, &sos, 11) == 0;
    }
    return 0;
}

/* A request of a transaction that stands: an INVITE that was sent again. */
int recproxy_exempt_repeated(pjsip_rx_data *rdata)
{
    pj_str_t key;

    return pjsip_tsx_create_key(rdata->tp_info.pool, &key, PJSIP_ROLE_UAS,
                                &rdata->msg_info.cseq->method, rdata) == PJ_SUCCESS &&
           pjsip_tsx_layer_find_tsx(&key, PJ_FALSE) != NULL;
}

void recproxy_exempt_reset(void)
{
    free(numbers);
    numbers = NULL;
}
