/* urn: as a Request-URI, for emergency calls by service name (RFC 5031).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

#include <pj/except.h>
#include <pjsip.h>

/* PJSIP's own parser of unknown schemes leaves the space behind the URI, which the
 * parser of the request line then takes for a fault: the call would be lost. */
static void *parse_urn(pj_scanner *scanner, pj_pool_t *pool, pj_bool_t parse_params)
{
    const pjsip_parser_const_t *spec = pjsip_parser_const();
    pjsip_other_uri *uri = pjsip_other_uri_create(pool);
    int skip_ws = scanner->skip_ws;

    PJ_UNUSED_ARG(parse_params);
    scanner->skip_ws = 0;
    pj_scan_get(scanner, &spec->pjsip_TOKEN_SPEC, &uri->scheme);
    if (pj_scan_get_char(scanner) != ':')
        PJ_THROW(PJSIP_SYN_ERR_EXCEPTION);
    pj_scan_get(scanner, &spec->pjsip_OTHER_URI_CONTENT, &uri->content);
    scanner->skip_ws = skip_ws;
    if (skip_ws)
        pj_scan_skip_whitespace(scanner);
    return uri;
}

pj_status_t recproxy_urn_start(void)
{
    pj_status_t status = pjsip_register_uri_parser("urn", &parse_urn);

    return status == PJ_EEXISTS ? PJ_SUCCESS : status;
}
