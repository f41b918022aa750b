/* Modes `load` and `http`: keeps `depth` messages (GETs) in flight on each connection, counts the echoes (answers) and
 * takes their latencies. Knows frames and answers by number only. All messages are equal, so whatever one echo batch set free goes out in one write. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct peer {
    int fd;
    bool waits_to_write;
    size_t offset;  /* where in the prepared frame the next byte to write is */
    size_t pending; /* bytes to be written */
    struct frames frames;
    struct answers *answers;
    uint64_t *sent_at; /* a ring of `depth` moments */
    unsigned oldest, in_flight;
};

static struct {
    int epoll;
    struct message message;
    const struct options *options;
    bool ending;
    uint64_t echoes, in_flight;
    struct histogram latencies;
} load;

static void watch(struct peer *p, bool write_too) {
    struct epoll_event event = {.events = EPOLLIN | (write_too ? EPOLLOUT : 0u), .data.ptr = p};
    p->waits_to_write = write_too;
    if (epoll_ctl(load.epoll, EPOLL_CTL_MOD, p->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void write_pending(struct peer *p) {
    size_t prepared = load.message.frame_length * load.message.copies;
    while (p->pending) {
        size_t length = p->pending < prepared - p->offset ? p->pending : prepared - p->offset;
        ssize_t n = send(p->fd, load.message.frame + p->offset, length, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) die("send: %s", strerror(errno));
            if (!p->waits_to_write) watch(p, true);
            return;
        }
        p->offset = (p->offset + (size_t)n) % load.message.frame_length;
        p->pending -= (size_t)n;
    }
    if (p->waits_to_write) watch(p, false);
}

static void put(struct peer *p, unsigned messages, uint64_t now) {
    unsigned depth = (unsigned)load.options->depth;
    for (unsigned i = 0; i < messages; i++) {
        p->sent_at[(p->oldest + p->in_flight) % depth] = now;
        p->in_flight++;
    }
    load.in_flight += messages;
    p->pending += messages * load.message.frame_length;
    write_pending(p);
}

static void take(struct peer *p) {
    static unsigned char buffer[1 << 20];
    ssize_t got = recv(p->fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        if (got && errno == EAGAIN) return;
        die("the server ended a connection: %s", got ? strerror(errno) : "end of stream");
    }
    uint64_t now = now_ns();
    unsigned echoes = p->answers ? answers_feed(p->answers, load.options, buffer, (size_t)got)
                                 : frames_feed(&p->frames, &load.message.echo, buffer, (size_t)got);
    if (p->frames.closed) die("the server sent a Close");
    if (echoes > p->in_flight) die("more echoes than messages");
    for (unsigned i = 0; i < echoes; i++) {
        histogram_add(&load.latencies, now - p->sent_at[p->oldest]);
        p->oldest = (p->oldest + 1) % (unsigned)load.options->depth;
    }
    p->in_flight -= echoes;
    load.in_flight -= echoes;
    load.echoes += echoes;
    if (echoes && !load.ending) put(p, echoes, now);
}

static void turn(int timeout) {
    struct epoll_event events[256];
    int n = epoll_wait(load.epoll, events, 256, timeout);
    if (n < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) write_pending(p);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(p);
    }
}

int run_load(const struct options *o) {
    int *fds = calloc((size_t)o->connections, sizeof *fds), timeout = o->spin ? 0 : 100;
    struct peer *peers = calloc((size_t)o->connections, sizeof *peers);
    load.options = o;
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned copies = (unsigned)o->depth + 1; /* one more: a write may begin inside a frame */
    if (o->http) request_prepare(&load.message, o, copies);
    else message_prepare(&load.message, o, copies);
    for (int i = 0; i < o->connections; i++) {
        struct peer *p = &peers[i];
        fds[i] = p->fd = o->http ? connect_plain(o) : connect_upgraded(o);
        if (o->http) p->answers = calloc(1, sizeof *p->answers);
        p->sent_at = calloc((size_t)o->depth, sizeof *p->sent_at);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
        if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, p->fd, &event)) die("epoll_ctl: %s", strerror(errno));
    }
    uint64_t start = now_ns();
    for (int i = 0; i < o->connections; i++) put(&peers[i], (unsigned)o->depth, start);
    for (uint64_t warm = start + (uint64_t)(o->warmup * 1e9); now_ns() < warm;) turn(timeout);

    load.echoes = 0;
    histogram_clear(&load.latencies);
    uint64_t own = own_cpu_ns(), server = process_cpu_ns(o->pid), waited = process_wait_ns(o->pid);
    start = now_ns();
    uint64_t end = start + (uint64_t)(o->seconds * 1e9);
    while (o->count ? load.echoes < (uint64_t)o->count : now_ns() < end) {
        turn(timeout);
        if (now_ns() - start > 120000000000ull) die("120 s are over with %llu echoes", (unsigned long long)load.echoes);
    }
    server = process_cpu_ns(o->pid) - server;
    waited = process_wait_ns(o->pid) - waited;
    double seconds = (double)(now_ns() - start) / 1e9;
    own = own_cpu_ns() - own;
    if (!load.echoes) die("not one echo within %g s", seconds);
    printf("{\"mode\": \"%s\", \"connections\": %d, \"depth\": %d, \"frame_bytes\": %zu, \"messages\": %llu, "
           "\"seconds\": %.6f, \"rate\": %.1f, \"cpu_us\": %.4f, \"load_share\": %.3f, "
           "\"waited_share\": %.4f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n",
           o->http ? "http" : "load", o->connections, o->depth, load.message.frame_length, (unsigned long long)load.echoes, seconds,
           (double)load.echoes / seconds, (double)server / 1e3 / (double)load.echoes, (double)own / 1e9 / seconds,
           (double)waited / 1e9 / seconds,
           histogram_quantile_us(&load.latencies, 0.5), histogram_quantile_us(&load.latencies, 0.99),
           (double)load.latencies.largest / 1e3);
    fflush(stdout);
    load.ending = true;
    uint64_t patience = now_ns() + 5000000000u;
    while (load.in_flight && now_ns() < patience) turn(100);
    if (!o->http) farewell(fds, o->connections);
    return 0;
}
