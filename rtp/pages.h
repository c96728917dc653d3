/* Memory that holds speech: never in a core dump, out of swap if RLIMIT_MEMLOCK allows. */
#ifndef RECPROXY_PAGES_H
#define RECPROXY_PAGES_H

#include <stdbool.h>
#include <stddef.h>

struct pages {
    void *start; /* NULL = none */
    size_t bytes;
    bool locked;
};

/* Zeroed and populated: a page fault must not fall into a call. 0, or -1 with errno. */
int pages_open(struct pages *pages, size_t bytes);
void pages_close(struct pages *pages);

#endif
