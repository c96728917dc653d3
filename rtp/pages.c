#define _GNU_SOURCE
#include "pages.h"

#include <errno.h>
#include <sys/mman.h>

int pages_open(struct pages *pages, size_t bytes)
{
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (start == MAP_FAILED) {
        return -1;
    }
    if (madvise(start, bytes, MADV_DONTDUMP) != 0) {
        int cause = errno;
        munmap(start, bytes);
        errno = cause;
        return -1;
    }
    *pages = (struct pages){.start = start, .bytes = bytes, .locked = mlock(start, bytes) == 0};
    return 0;
}

void pages_close(struct pages *pages)
{
    if (pages->start != NULL) {
        munmap(pages->start, pages->bytes);
        pages->start = NULL;
    }
}
