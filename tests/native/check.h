/* A test fails by ending the program with the place and the condition. */
#ifndef RECPROXY_CHECK_H
#define RECPROXY_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "FAIL %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

#define PASSED() printf("ok   %s\n", __FILE__)

#endif
