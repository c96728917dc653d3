/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recproxy_bodies.h"

#include <stdlib.h>
#include <string.h>

/* A token is (generation << 32 | slot + 1): a freed slot gets a new generation,
 * so an old token finds nothing. */
#define NO_SLOT UINT32_MAX

static struct recproxy_body *slots;
static uint32_t slot_count, first_free = NO_SLOT, generation;
static unsigned in_use;

static int grow(void)
{
    uint32_t count = slot_count ? slot_count * 2 : 64;
    struct recproxy_body *grown;

    if (count <= slot_count || count > (1u << 24))
        return -1;
    grown = realloc(slots, count * sizeof(*slots));
    if (!grown)
        return -1;
    slots = grown;
    memset(slots + slot_count, 0, (count - slot_count) * sizeof(*slots));
    for (uint32_t i = count; i-- > slot_count;) {
        slots[i].next_free = first_free;
        first_free = i;
    }
    slot_count = count;
    return 0;
}

static void empty(struct recproxy_body *body)
{
    free(body->data);
    free(body->content_type);
    body->data = NULL;
    body->size = 0;
    body->content_type = NULL;
}

uint64_t recproxy_bodies_new(void)
{
    struct recproxy_body *body;
    uint32_t slot;

    if (first_free == NO_SLOT && grow() != 0)
        return 0;
    slot = first_free;
    body = &slots[slot];
    first_free = body->next_free;
    body->token = (uint64_t)++generation << 32 | (slot + 1);
    in_use++;
    return body->token;
}

struct recproxy_body *recproxy_bodies_find(uint64_t token)
{
    uint32_t slot = (uint32_t)token - 1;

    if (token == 0 || slot >= slot_count || slots[slot].token != token)
        return NULL;
    return &slots[slot];
}

int recproxy_bodies_set(uint64_t token, const char *data, size_t size, const char *content_type)
{
    struct recproxy_body *body = recproxy_bodies_find(token);
    char *copy = NULL, *type = NULL;

    if (!body)
        return -1;
    if (size > RECPROXY_BODY_MAX || (content_type && strlen(content_type) > RECPROXY_TYPE_MAX))
        return -2;
    if (size) {
        copy = malloc(size);
        if (!copy)
            return -2;
        memcpy(copy, data, size);
    }
    if (content_type && *content_type) {
        type = strdup(content_type);
        if (!type) {
            free(copy);
            return -2;
        }
    }
    empty(body);
    body->data = copy;
    body->size = size;
    body->content_type = type;
    return 0;
}

void recproxy_bodies_free(uint64_t token)
{
    struct recproxy_body *body = recproxy_bodies_find(token);

    if (!body)
        return;
    empty(body);
    body->token = 0;
    body->next_free = first_free;
    first_free = (uint32_t)(body - slots);
    in_use--;
}

unsigned recproxy_bodies_count(void)
{
    return in_use;
}

void recproxy_bodies_clear(void)
{
    for (uint32_t i = 0; i < slot_count; i++)
        empty(&slots[i]);
    free(slots);
    slots = NULL;
    slot_count = 0;
    first_free = NO_SLOT;
    in_use = 0;
}

uint64_t recproxy_bodies_token(const char *name, size_t size)
{
    static const size_t prefix = sizeof(RECPROXY_NAME_PREFIX) - 1;
    uint64_t token = 0;

    if (size != prefix + 16 || memcmp(name, RECPROXY_NAME_PREFIX, prefix) != 0)
        return 0;
    for (size_t i = prefix; i < size; i++) {
        char c = name[i];
        unsigned digit;

        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return 0;
        token = token << 4 | digit;
    }
    return token;
}
