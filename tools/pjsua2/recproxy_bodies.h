/* Bodies to send, by token.  No PJSIP in here.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECPROXY_BODIES_H
#define RECPROXY_BODIES_H

#include <stddef.h>
#include <stdint.h>

#define RECPROXY_BODY_MAX 7168 /* leaves room for headers in PJSIP_MAX_PKT_LEN */
#define RECPROXY_TYPE_MAX 255
#define RECPROXY_NAME_PREFIX "recproxy-"

struct recproxy_body {
    uint64_t token; /* 0: the slot is free */
    char *data;
    size_t size;
    char *content_type; /* NULL: application/sdp */
    uint32_t next_free;
};

/* 0 if memory is out. */
uint64_t recproxy_bodies_new(void);
struct recproxy_body *recproxy_bodies_find(uint64_t token);
int recproxy_bodies_set(uint64_t token, const char *data, size_t size, const char *content_type);
void recproxy_bodies_free(uint64_t token);
unsigned recproxy_bodies_count(void);
void recproxy_bodies_clear(void);

/* The token in "recproxy-<16 hex digits>", or 0. */
uint64_t recproxy_bodies_token(const char *name, size_t size);

#endif
