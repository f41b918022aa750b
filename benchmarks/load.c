/* The load generator's command line, clock, histogram, handshake and frame reader. Knows the wire, not the modes.
 *
 *   load MODE [--host H] [--port N] [--path P] [--connections N] [--depth N] [--size N] [--text] [--payload FILE]
 *        [--deflate [--chain]] [--origin] [--seconds S | --count N] [--warmup S] [--touch N] [--pid PID] [--spin]
 *
 * MODE is load, http, connect, churn, idle (see load_echo.c, load_http.c and load_connections.c) or echo
 * (echo_server.c). Each prints one line of JSON. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock_gettime: %s", strerror(errno));
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t own_cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

uint64_t process_cpu_ns(int pid) {
    clockid_t clock;
    if (!pid) return 0;
    if (clock_getcpuclockid(pid, &clock)) die("no process %d whose CPU time could be read", pid);
    return clock_ns(clock);
}

uint64_t process_wait_ns(int pid) {
    char path[64];
    unsigned long long ran, waited = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = pid ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &ran, &waited) != 2) waited = 0;
    fclose(file);
    return waited;
}

void pause_ms(int milliseconds) { poll(NULL, 0, milliseconds); }

void histogram_clear(struct histogram *h) { memset(h, 0, sizeof *h); }

void histogram_add(struct histogram *h, uint64_t ns) {
    unsigned index = (unsigned)ns;
    if (ns >= 64) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 5;
        index = (shift + 1) * 32 + (unsigned)((ns >> shift) & 31);
    }
    h->counts[index]++;
    h->total++;
    if (ns > h->largest) h->largest = ns;
}

double histogram_quantile_us(const struct histogram *h, double quantile) {
    uint64_t wanted = (uint64_t)((double)h->total * quantile), seen = 0;
    for (unsigned i = 0; i < sizeof h->counts / sizeof *h->counts; i++) {
        seen += h->counts[i];
        if (seen <= wanted) continue;
        if (i < 64) return i / 1e3;
        unsigned shift = i / 32 - 1;
        return ((double)((uint64_t)(32 + i % 32) << shift) + (double)(1ull << shift) / 2) / 1e3;
    }
    return (double)h->largest / 1e3;
}

int connect_start(const struct options *o) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1) die("%s is no IPv4 address", o->host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    return fd;
}

size_t write_request(const struct options *o, char *out, size_t room) {
    char origin[128] = "";
    if (o->origin) snprintf(origin, sizeof origin, "Origin: http://%.80s:%d\r\n", o->host, o->port);
    int length = snprintf(out, room,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
        o->path, o->host, o->port, origin,
        o->deflate ? "Sec-WebSocket-Extensions: " : "", o->chain ? "fragment; maxLength=65536, " : "",
        o->deflate ? "permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n" : "");
    if (length < 0 || (size_t)length >= room) die("the path is too long");
    return (size_t)length;
}

size_t answer_feed(struct answer *a, const struct options *o, const char *data, size_t length, bool *done) {
    for (size_t i = 0; i < length; i++) {
        if (a->have == sizeof a->text - 1) die("the answer's head is too long");
        a->text[a->have++] = data[i];
        if (a->have < 4 || memcmp(a->text + a->have - 4, "\r\n\r\n", 4)) continue;
        a->text[a->have] = 0;
        if (strncmp(a->text, "HTTP/1.1 101 ", 13)) die("refused: %.60s", a->text);
        if (!strcasestr(a->text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) die("wrong Sec-WebSocket-Accept");
        bool agreed = strcasestr(a->text, "permessage-deflate") != NULL;
        if (agreed != o->deflate) die(agreed ? "an extension nobody offered" : "permessage-deflate was declined");
        *done = true;
        return i + 1;
    }
    return length;
}

int connect_plain(const struct options *o) {
    int fd = connect_start(o);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (poll(&ready, 1, 10000) != 1) die("connect: no answer within 10 s");
    return fd;
}

int connect_upgraded(const struct options *o) {
    char request[1024], data[2048];
    struct answer answer = {0};
    int fd = connect_plain(o);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    size_t length = write_request(o, request, sizeof request);
    if (send(fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) die("handshake: %s", strerror(errno));
    for (bool done = false; !done;) {
        if (poll(&ready, 1, 10000) != 1) die("handshake: no answer within 10 s");
        ssize_t got = recv(fd, data, sizeof data, 0);
        if (got <= 0) die("handshake: %s", got ? strerror(errno) : "end of stream");
        if (answer_feed(&answer, o, data, (size_t)got, &done) != (size_t)got) die("bytes nobody asked for");
    }
    return fd;
}

static void check_head(struct frames *f, const struct expectation *e) {
    unsigned char b = f->head[0];
    if (f->head[1] & 0x80) die("a masked frame from the server");
    if ((b & 0x0f) >= OPCODE_CLOSE) {
        if ((b & 0x0f) == OPCODE_CLOSE) f->closed = true;
        return;
    }
    if (b != e->first_head_byte) die("echo begins with 0x%02x, expected 0x%02x", b, e->first_head_byte);
    if (e->length ? f->length != e->length : !f->length) die("echo of %llu bytes", (unsigned long long)f->length);
}

unsigned frames_feed(struct frames *f, const struct expectation *e, const unsigned char *data, size_t length) {
    unsigned messages = 0;
    size_t at = 0;
    while (at < length || (f->in_payload && !f->left)) {
        if (!f->in_payload) {
            f->head[f->have++] = data[at++];
            if (f->have < 2) continue;
            unsigned small = f->head[1] & 0x7f, need = small < 126 ? 2 : small == 126 ? 4 : 10;
            if (f->have < need) continue;
            f->length = small;
            if (need > 2) {
                f->length = 0;
                for (unsigned i = 2; i < need; i++) f->length = f->length << 8 | f->head[i];
            }
            check_head(f, e);
            f->left = f->length;
            f->in_payload = f->at_first = true;
            f->have = 0;
            continue;
        }
        bool data_frame = (f->head[0] & 0x0f) < OPCODE_CLOSE;
        uint64_t step = length - at < f->left ? length - at : f->left;
        if (step) {
            if (data_frame && e->length) {
                if (f->at_first && data[at] != e->first) die("wrong first byte of an echo");
                if (step == f->left && data[at + step - 1] != e->last) die("wrong last byte of an echo");
            }
            f->at_first = false;
            at += step;
            f->left -= step;
        }
        if (!f->left) {
            f->in_payload = false;
            messages += data_frame;
        }
    }
    return messages;
}

static const unsigned char mask_key[4] = {0x5a, 0xc3, 0x17, 0x9e};
const unsigned char close_frame[8] = {0x88, 0x82, 0x5a, 0xc3, 0x17, 0x9e, 0x03 ^ 0x5a, 0xe8 ^ 0xc3};

static unsigned char *make_payload(const struct options *o, size_t *length) {
    unsigned char *payload;
    if (!o->payload_file) {
        payload = malloc(o->size + 1);
        for (size_t i = 0; i < o->size; i++)
            payload[i] = o->text ? (unsigned char)('a' + i % 26) : (unsigned char)(i * 131 + 7);
        *length = o->size;
        return payload;
    }
    FILE *file = fopen(o->payload_file, "rb");
    if (!file) die("%s: %s", o->payload_file, strerror(errno));
    payload = malloc(1 << 20);
    *length = fread(payload, 1, 1 << 20, file);
    fclose(file);
    return payload;
}

void message_prepare(struct message *m, const struct options *o, unsigned copies) {
    size_t length;
    unsigned char *payload = make_payload(o, &length), head[14];
    unsigned head_length = 2;
    if (!length) die("an empty message has no first byte to verify");
    head[0] = (unsigned char)(0x80 | (o->deflate ? 0x40 : 0) | (o->text ? OPCODE_TEXT : OPCODE_BINARY));
    if (length < 126) {
        head[1] = (unsigned char)(0x80 | length);
    } else {
        unsigned bytes = length < 65536 ? 2 : 8;
        head[1] = (unsigned char)(0x80 | (bytes == 2 ? 126 : 127));
        for (unsigned i = 0; i < bytes; i++) head[2 + i] = (unsigned char)(length >> 8 * (bytes - 1 - i));
        head_length += bytes;
    }
    memcpy(head + head_length, mask_key, 4);
    head_length += 4;
    m->echo = (struct expectation){head[0], payload[0], payload[length - 1], o->deflate ? 0 : length};
    unsigned char *one = malloc(head_length + length);
    memcpy(one, head, head_length);
    for (size_t i = 0; i < length; i++) one[head_length + i] = payload[i] ^ mask_key[i % 4];
    message_copy(m, one, head_length + length, copies);
    free(one);
    free(payload);
}

void message_copy(struct message *m, const void *one, size_t length, unsigned copies) {
    m->frame_length = length;
    m->copies = copies;
    m->frame = malloc(length * copies);
    if (!m->frame) die("no memory for %u times %zu bytes", copies, length);
    for (unsigned c = 0; c < copies; c++) memcpy(m->frame + c * length, one, length);
}

void farewell(const int *fds, int count) {
    static char rest[65536];
    for (int i = 0; i < count; i++)
        if (send(fds[i], close_frame, sizeof close_frame, MSG_NOSIGNAL) < 0) continue;
    uint64_t deadline = now_ns() + 5000000000u;
    for (int i = 0; i < count; i++) {
        struct pollfd ready = {.fd = fds[i], .events = POLLIN};
        while (now_ns() < deadline && poll(&ready, 1, 1000) == 1 && recv(fds[i], rest, sizeof rest, 0) > 0) {}
        close(fds[i]);
    }
}

static double number(const char *name, const char *value, double least) {
    char *end;
    double result = value ? strtod(value, &end) : -1;
    if (!value || *end || result < least) die("%s needs a number of at least %g", name, least);
    return result;
}

int main(int argc, char **argv) {
    struct options o = {.host = "127.0.0.1", .path = "/", .connections = 16, .depth = 1, .size = 32, .seconds = 1};
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* nothing outlives the runner, whatever happens to it */
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--text")) { o.text = true; continue; }
        if (!strcmp(name, "--deflate")) { o.deflate = true; continue; }
        if (!strcmp(name, "--chain")) { o.chain = true; continue; }
        if (!strcmp(name, "--origin")) { o.origin = true; continue; }
        if (!strcmp(name, "--spin")) { o.spin = true; continue; }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (!strcmp(name, "--host") && value) o.host = value;
        else if (!strcmp(name, "--path") && value) o.path = value;
        else if (!strcmp(name, "--payload") && value) o.payload_file = value;
        else if (!strcmp(name, "--port")) o.port = (int)number(name, value, 1);
        else if (!strcmp(name, "--connections")) o.connections = (int)number(name, value, 1);
        else if (!strcmp(name, "--depth")) o.depth = (int)number(name, value, 1);
        else if (!strcmp(name, "--size")) o.size = (size_t)number(name, value, 1);
        else if (!strcmp(name, "--count")) o.count = (long)number(name, value, 1);
        else if (!strcmp(name, "--touch")) o.touch = (long)number(name, value, 0);
        else if (!strcmp(name, "--seconds")) o.seconds = number(name, value, 0.01);
        else if (!strcmp(name, "--warmup")) o.warmup = number(name, value, 0);
        else if (!strcmp(name, "--pid")) o.pid = (int)number(name, value, 1);
        else die("unknown option %s", name);
    }
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "echo")) return run_echo();
    if (!o.port) die("--port is missing");
    o.http = !strcmp(mode, "http");
    if (o.http || !strcmp(mode, "load")) return run_load(&o);
    if (!strcmp(mode, "connect")) return run_connect(&o);
    if (!strcmp(mode, "churn")) return run_churn(&o);
    if (!strcmp(mode, "idle")) return run_idle(&o);
    die("modes: load, http, connect, churn, idle, echo");
}
