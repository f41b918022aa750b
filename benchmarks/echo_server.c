/* Mode `echo`: a WebSocket echo server for measuring clients. Knows as much of RFC 6455 as a well-behaved client
 * needs, trusts it, and answers each read with one write. Prints its port as JSON; ends when stdin closes. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t h[5], const unsigned char *p) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t t = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* Sec-WebSocket-Accept (RFC 6455 §4.2.2): a key of 24 characters and the GUID are 60 bytes, so always two blocks. */
static void accept_key(const char *key, char out[29]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char block[128] = {0}, digest[21] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(block, key, 24);
    memcpy(block + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    block[60] = 0x80;
    block[126] = 480 >> 8;
    block[127] = 480 & 255;
    sha1_block(h, block);
    sha1_block(h, block + 64);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = alphabet[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

struct guest {
    int fd;
    bool open, ending, blocked;
    size_t have, room; /* bytes read and not yet understood */
    unsigned char *in;
    size_t owed, owed_room;
    unsigned char *out;
};

static void need(unsigned char **buffer, size_t *room, size_t length) {
    if (*room >= length) return;
    while (*room < length) *room = *room ? *room * 2 : 4096;
    if (!(*buffer = realloc(*buffer, *room))) die("no memory");
}

static size_t handshake(struct guest *g) {
    unsigned char *end = memmem(g->in, g->have, "\r\n\r\n", 4);
    char key[29];
    if (!end) return 0;
    *end = 0;
    char *found = strcasestr((char *)g->in, "\r\nSec-WebSocket-Key:");
    if (!found) die("a request without Sec-WebSocket-Key");
    for (found += 20; *found == ' '; found++) {}
    accept_key(found, key);
    need(&g->out, &g->owed_room, 256);
    g->owed = (size_t)sprintf((char *)g->out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", key);
    g->open = true;
    return (size_t)(end + 4 - g->in);
}

/* Bytes of the one frame at `p` that was answered, or 0 while it is incomplete. */
static size_t answer_frame(struct guest *g, const unsigned char *p, size_t have) {
    size_t head = 2, length;
    if (have < 2) return 0;
    if (!(p[1] & 0x80)) die("an unmasked frame from a client");
    length = p[1] & 0x7f;
    if (length >= 126) {
        size_t bytes = length == 126 ? 2 : 8;
        head += bytes;
        if (have < head) return 0;
        length = 0;
        for (size_t i = 0; i < bytes; i++) length = length << 8 | p[2 + i];
    }
    if (have < head + 4 || have - head - 4 < length) return 0;
    const unsigned char *key = p + head, *from = key + 4;
    unsigned char opcode = p[0] & 0x0f;
    need(&g->out, &g->owed_room, g->owed + head + length);
    if (opcode != OPCODE_PONG) {
        unsigned char *to = g->out + g->owed;
        uint64_t wide, word;
        memcpy(to, p, head);
        to[0] = opcode == OPCODE_PING ? (unsigned char)(0x80 | OPCODE_PONG) : p[0];
        to[1] &= 0x7f;
        to += head;
        memcpy(&word, key, 4);
        word = (word & 0xffffffffu) | word << 32;
        size_t i = 0;
        for (; i + 8 <= length; i += 8) {
            memcpy(&wide, from + i, 8);
            wide ^= word;
            memcpy(to + i, &wide, 8);
        }
        for (; i < length; i++) to[i] = from[i] ^ key[i % 4];
        g->owed += head + length;
        g->ending = g->ending || opcode == OPCODE_CLOSE;
    }
    return head + 4 + length;
}

static void leave(struct guest *g) {
    close(g->fd);
    free(g->in);
    free(g->out);
    free(g);
}

static bool write_owed(struct guest *g, int epoll) {
    size_t done = 0;
    while (done < g->owed) {
        ssize_t n = send(g->fd, g->out + done, g->owed - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n < 0) break;
        done += (size_t)n;
    }
    memmove(g->out, g->out + done, g->owed - done);
    g->owed -= done;
    if (g->blocked != (g->owed > 0)) { /* while something is owed nothing more is read */
        g->blocked = g->owed > 0;
        struct epoll_event event = {.events = g->blocked ? EPOLLOUT : EPOLLIN, .data.ptr = g};
        epoll_ctl(epoll, EPOLL_CTL_MOD, g->fd, &event);
    }
    return g->owed || !g->ending;
}

/* False once the guest has gone. */
static bool serve(struct guest *g, int epoll) {
    need(&g->in, &g->room, g->have + 65536);
    ssize_t got = recv(g->fd, g->in + g->have, g->room - g->have, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    g->have += (size_t)got;
    size_t at = g->open ? 0 : handshake(g);
    for (size_t step = 1; g->open && !g->ending && step; at += step)
        step = answer_frame(g, g->in + at, g->have - at);
    if (at) memmove(g->in, g->in + at, g->have -= at);
    return !g->owed || write_owed(g, epoll);
}

int run_echo(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        die("listen: %s", strerror(errno));
    static struct guest door, keyboard;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &door};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &keyboard;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct guest *g = events[i].data.ptr;
            if (g == &keyboard) {
                char line[64];
                if (read(STDIN_FILENO, line, sizeof line) <= 0) return 0;
            } else if (g == &door) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                g = calloc(1, sizeof *g);
                g->fd = fd;
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = g};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            } else if (!(events[i].events & EPOLLOUT ? write_owed(g, epoll) : serve(g, epoll))) {
                leave(g);
            }
        }
    }
}
