/* The bare relay: what it costs to forward UDP between fixed pairs of ports, and nothing else.
 *
 *     relay CALLS BASE A_IP:A_BASE B_IP:B_BASE [plain | copy | enc DIRECTORY]
 *
 * Leg A of call i is 127.0.0.1:BASE+2i and hears party A at A_IP:A_BASE+2i, leg B is BASE+2i+1 and
 * hears party B at B_IP:B_BASE+2i. No source check, no statistics, no RTCP: the floor that a relay
 * with these system calls cannot go below.
 *   copy  copies each packet into a ring of its leg besides
 *   enc   seals each leg's payloads with AES-256-GCM every half second into one file a call, in
 *         the same thread: the least that recording encrypted can cost
 * Says READY when all ports are bound. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 8,
    EVENTS = 256,
    DATAGRAM = 2048,
    RTP_HEADER = 12,
    SECOND = 8000, /* bytes of one direction's G.711 */
    SEAL = SECOND / 2,
    TAG = 16,
    RECORD_HEADER = 8, /* leg, length */
    RING = 65536,
    MAX_CALLS = 10000,
};

enum mode { PLAIN, COPY, ENCRYPT };

struct leg {
    int fd, out, file;
    struct sockaddr_in to; /* the other party */
    uint32_t filled;       /* of the ring, or of what is to be sealed */
    uint64_t sealed;       /* records so far: the nonce */
    uint8_t *ring;
    EVP_CIPHER_CTX *cipher;
};

static struct leg *legs;
static enum mode mode;

static void die(const char *what)
{
    fprintf(stderr, "relay: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static void need(bool good, const char *what)
{
    if (!good) {
        die(what);
    }
}

static long number(const char *text, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || *end != 0 || value < 1 || value > most) {
        errno = EINVAL;
        die(text);
    }
    return value;
}

static struct sockaddr_in party(const char *text, int index)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char ip[INET_ADDRSTRLEN] = "";
    unsigned port = 0;
    errno = EINVAL;
    need(sscanf(text, "%15[0-9.]:%5u", ip, &port) == 2 &&
             inet_pton(AF_INET, ip, &address.sin_addr) == 1 && port + 2u * (unsigned)index < 65536,
         text);
    address.sin_port = htons((uint16_t)(port + 2u * (unsigned)index));
    return address;
}

/* ---------------------------------------------------------------- encrypting */

static void open_cipher(struct leg *leg, int index, const char *directory)
{
    uint8_t key[32];
    char path[4096];
    need(RAND_bytes(key, sizeof key) == 1, "random bytes");
    leg->cipher = EVP_CIPHER_CTX_new();
    need(leg->cipher != NULL &&
             EVP_EncryptInit_ex(leg->cipher, EVP_aes_256_gcm(), NULL, key, NULL) == 1,
         "AES-256-GCM");
    if (index & 1) {
        leg->file = legs[index - 1].file;
    } else {
        snprintf(path, sizeof path, "%s/call%d.enc", directory, index / 2);
        leg->file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        need(leg->file >= 0, path);
    }
    /* Legs do not seal in step. */
    leg->filled = (uint32_t)(index * 160) % SEAL;
}

static void seal(struct leg *leg, uint32_t index)
{
    uint8_t nonce[12] = {0}, record[RECORD_HEADER + SEAL + DATAGRAM + TAG];
    uint32_t header[2] = {index, leg->filled};
    int done = 0, last = 0;
    memcpy(nonce, &leg->sealed, sizeof leg->sealed);
    leg->sealed++;
    memcpy(record, header, sizeof header);
    bool good = EVP_EncryptInit_ex(leg->cipher, NULL, NULL, NULL, nonce) == 1 &&
                EVP_EncryptUpdate(leg->cipher, NULL, &done, record, RECORD_HEADER) == 1 &&
                EVP_EncryptUpdate(leg->cipher, record + RECORD_HEADER, &done, leg->ring,
                                  (int)leg->filled) == 1 &&
                EVP_EncryptFinal_ex(leg->cipher, record + RECORD_HEADER + done, &last) == 1 &&
                EVP_CIPHER_CTX_ctrl(leg->cipher, EVP_CTRL_GCM_GET_TAG, TAG,
                                    record + RECORD_HEADER + done) == 1;
    need(good, "sealing");
    need(write(leg->file, record, (size_t)(RECORD_HEADER + done + TAG)) > 0, "write");
    leg->filled = 0;
}

/* ---------------------------------------------------------------- relaying */

static void keep(struct leg *leg, uint32_t index, const uint8_t *packet, uint32_t length)
{
    if (mode == COPY) {
        if (leg->filled + length + sizeof length > RING) {
            leg->filled = 0;
        }
        memcpy(leg->ring + leg->filled, &length, sizeof length);
        memcpy(leg->ring + leg->filled + sizeof length, packet, length);
        leg->filled += length + (uint32_t)sizeof length;
    } else if (length > RTP_HEADER) {
        memcpy(leg->ring + leg->filled, packet + RTP_HEADER, length - RTP_HEADER);
        leg->filled += length - RTP_HEADER;
        if (leg->filled >= SEAL) {
            seal(leg, index);
        }
    }
}

static void relay(uint32_t index)
{
    static uint8_t packets[BATCH][DATAGRAM];
    static struct iovec places[BATCH];
    static struct mmsghdr in[BATCH], out[BATCH];
    struct leg *leg = &legs[index];
    for (int i = 0; i < BATCH; i++) {
        places[i] = (struct iovec){packets[i], DATAGRAM};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &places[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(leg->fd, in, BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) {
        return;
    }
    for (int i = 0; i < count; i++) {
        places[i].iov_len = in[i].msg_len;
        out[i].msg_hdr = (struct msghdr){.msg_name = &leg->to,
                                         .msg_namelen = sizeof leg->to,
                                         .msg_iov = &places[i],
                                         .msg_iovlen = 1};
    }
    sendmmsg(leg->out, out, (unsigned)count, 0);
    for (int i = 0; mode != PLAIN && i < count; i++) {
        keep(leg, index, packets[i], in[i].msg_len);
    }
}

static void open_leg(int index, int base, const char *to, int epoll)
{
    struct leg *leg = &legs[index];
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)(base + index)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    leg->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    need(leg->fd >= 0, "socket");
    need(bind(leg->fd, (const struct sockaddr *)&here, sizeof here) == 0, "bind");
    leg->to = party(to, index / 2);
    if (mode != PLAIN) {
        leg->ring = calloc(1, RING);
        need(leg->ring != NULL, "memory");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    need(epoll_ctl(epoll, EPOLL_CTL_ADD, leg->fd, &event) == 0, "epoll_ctl");
}

int main(int argc, char **argv)
{
    const char *how = argc > 5 ? argv[5] : "plain";
    mode = strcmp(how, "copy") == 0 ? COPY : strcmp(how, "enc") == 0 ? ENCRYPT : PLAIN;
    if (argc < 5 || (mode == PLAIN && strcmp(how, "plain") != 0) || (mode == ENCRYPT && argc < 7)) {
        fputs("usage: relay CALLS BASE A_IP:A_BASE B_IP:B_BASE [plain | copy | enc DIRECTORY]\n",
              stderr);
        return 2;
    }
    int calls = (int)number(argv[1], MAX_CALLS), base = (int)number(argv[2], 65535 - 2 * calls);
    struct rlimit descriptors;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    descriptors.rlim_cur = descriptors.rlim_max;
    setrlimit(RLIMIT_NOFILE, &descriptors);
    legs = calloc(2 * (size_t)calls, sizeof *legs);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    need(legs != NULL && epoll >= 0, "start");
    for (int index = 0; index < 2 * calls; index++) {
        open_leg(index, base, argv[index & 1 ? 3 : 4], epoll); /* leg A sends on to party B */
        if (mode == ENCRYPT) {
            open_cipher(&legs[index], index, argv[6]);
        }
    }
    for (int index = 0; index < 2 * calls; index++) {
        legs[index].out = legs[index ^ 1].fd;
    }
    puts("READY");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            relay(events[i].data.u32);
        }
    }
}
