/* Recording clients (RFC 7866): who may send a fork, and what of it PJSIP need not know.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_parts.h"

static struct recproxy_nets clients;
static const pj_str_t siprec = {"siprec", 6};

int recproxy_fork_knows(const pjsip_rx_data *rdata)
{
    return recproxy_nets_hold(&clients, &rdata->pkt_info.src_addr);
}

int recproxy_fork_grants(const pjsip_rx_data *rdata, const pj_str_t *extension)
{
    return pj_stricmp(extension, &siprec) == 0 && recproxy_fork_knows(rdata);
}

/* PJSIP's own SIPREC wants to read the SDP, of which it sees none here. */
void recproxy_fork_take(pjsip_msg *msg)
{
    pjsip_hdr *hdr = msg->hdr.next;

    while (hdr != &msg->hdr) {
        pjsip_hdr *next = hdr->next;

        if (hdr->type == PJSIP_H_REQUIRE) {
            pjsip_require_hdr *require = (pjsip_require_hdr *)hdr;
            unsigned kept = 0;

            for (unsigned i = 0; i < require->count; i++) {
                if (pj_stricmp(&require->values[i], &siprec) != 0)
                    require->values[kept++] = require->values[i];
            }
            require->count = kept;
            if (kept == 0)
                pj_list_erase(hdr);
        }
        hdr = next;
    }
}

void recproxy_fork_reset(void)
{
    recproxy_nets_drop(&clients);
}

int recproxy_fork_clients(const char *nets, size_t size)
{
    struct recproxy_nets read;
    int wrong = recproxy_nets_read(nets, size, &read);

    if (wrong != -1)
        return wrong;
    recproxy_nets_drop(&clients);
    clients = read;
    return -1;
}
