/* Modes `connect` (all at one instant), `churn` (connect, handshake, close, K at a time) and `idle` (open and hold
 * until stdin closes). Knows how connections begin and end, and no traffic beyond one message to warm an idle one. */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum stage { CONNECTING, UPGRADING, CLOSING, DONE };

struct visit {
    int fd;
    enum stage stage;
    uint64_t began;
    struct answer answer;
    struct frames frames;
};

static const struct expectation no_message = {0, 0, 0, 0};
static char request[1024];
static size_t request_length;

static void watch(int epoll, int operation, struct visit *v, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = v};
    if (epoll_ctl(epoll, operation, v->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static void begin(int epoll, struct visit *v, const struct options *o) {
    v->began = now_ns();
    v->fd = connect_start(o);
    v->stage = CONNECTING;
    v->answer.have = 0;
    memset(&v->frames, 0, sizeof v->frames);
    watch(epoll, EPOLL_CTL_ADD, v, EPOLLOUT);
}

static void ask(int epoll, struct visit *v) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) die("connect: %s", strerror(error));
    if (send(v->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        die("handshake: %s", strerror(errno));
    v->stage = UPGRADING;
    watch(epoll, EPOLL_CTL_MOD, v, EPOLLIN);
}

/* Reads what came; true once the upgrade is complete. */
static bool upgraded(struct visit *v, const struct options *o) {
    char data[2048];
    bool done = false;
    ssize_t got = recv(v->fd, data, sizeof data, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) die("handshake: %s", got ? strerror(errno) : "end of stream");
    if (answer_feed(&v->answer, o, data, (size_t)got, &done) != (size_t)got) die("bytes nobody asked for");
    return done;
}

/* Reads what came after our Close; true once the server has answered it and ended TCP. */
static bool ended(struct visit *v) {
    unsigned char data[2048];
    ssize_t got = recv(v->fd, data, sizeof data, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got < 0 && errno != ECONNRESET) die("close: %s", strerror(errno));
    if (got <= 0) {
        if (!v->frames.closed) die("the server ended TCP without a Close");
        return true;
    }
    frames_feed(&v->frames, &no_message, data, (size_t)got);
    return false;
}

int run_connect(const struct options *o) {
    static struct histogram latencies;
    struct visit *visits = calloc((size_t)o->connections, sizeof *visits);
    int *fds = calloc((size_t)o->connections, sizeof *fds), epoll = epoll_create1(EPOLL_CLOEXEC), open = 0;
    request_length = write_request(o, request, sizeof request);
    uint64_t server = process_cpu_ns(o->pid), waited = process_wait_ns(o->pid), start = now_ns(), last = start;
    for (int i = 0; i < o->connections; i++) begin(epoll, &visits[i], o);
    while (open < o->connections) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, 15000);
        if (n <= 0) die("only %d of %d upgraded within 15 s", open, o->connections);
        for (int i = 0; i < n; i++) {
            struct visit *v = events[i].data.ptr;
            if (v->stage == CONNECTING) {
                ask(epoll, v);
            } else if (v->stage == UPGRADING && upgraded(v, o)) {
                v->stage = DONE;
                last = now_ns();
                histogram_add(&latencies, last - start);
                fds[open++] = v->fd;
            }
        }
    }
    pause_ms(20); /* what the server still does for them counts */
    server = process_cpu_ns(o->pid) - server;
    waited = process_wait_ns(o->pid) - waited;
    printf("{\"mode\": \"connect\", \"connections\": %d, \"seconds\": %.6f, \"cpu_us\": %.3f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"waited_share\": %.4f}\n", open, (double)(last - start) / 1e9,
           (double)server / 1e3 / open,
           histogram_quantile_us(&latencies, 0.5), histogram_quantile_us(&latencies, 0.99),
           (double)waited / (double)(last - start));
    fflush(stdout);
    farewell(fds, open);
    return 0;
}

int run_churn(const struct options *o) {
    static struct histogram latencies;
    long count = o->count ? o->count : 1000, warm = count / 10, begun = 0, finished = 0;
    int width = o->connections, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct visit *visits = calloc((size_t)width, sizeof *visits);
    uint64_t server = 0, waited = 0, start = 0;
    request_length = write_request(o, request, sizeof request);
    for (int i = 0; i < width && begun < count + warm; i++, begun++) begin(epoll, &visits[i], o);
    while (finished < count + warm) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, 15000);
        if (n <= 0) die("nothing happened for 15 s after %ld connections", finished);
        for (int i = 0; i < n; i++) {
            struct visit *v = events[i].data.ptr;
            if (v->stage == CONNECTING) {
                ask(epoll, v);
            } else if (v->stage == UPGRADING) {
                if (!upgraded(v, o)) continue;
                if (send(v->fd, close_frame, sizeof close_frame, MSG_NOSIGNAL) < 0) die("close: %s", strerror(errno));
                v->stage = CLOSING;
            } else if (v->stage == CLOSING && ended(v)) {
                close(v->fd);
                v->stage = DONE;
                histogram_add(&latencies, now_ns() - v->began);
                if (++finished == warm) {
                    server = process_cpu_ns(o->pid);
                    waited = process_wait_ns(o->pid);
                    start = now_ns();
                    histogram_clear(&latencies);
                }
                if (begun < count + warm) {
                    begin(epoll, v, o);
                    begun++;
                }
            }
        }
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    waited = process_wait_ns(o->pid) - waited;
    pause_ms(20);
    server = process_cpu_ns(o->pid) - server;
    printf("{\"mode\": \"churn\", \"connections\": %ld, \"at_a_time\": %d, \"seconds\": %.6f, \"rate\": %.1f, "
           "\"cpu_us\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"waited_share\": %.4f}\n", count, width, seconds, (double)count / seconds,
           (double)server / 1e3 / (double)count, histogram_quantile_us(&latencies, 0.5),
           histogram_quantile_us(&latencies, 0.99), (double)waited / 1e9 / seconds);
    return 0;
}

static void exchange(int fd, const struct message *m, long times) {
    unsigned char data[65536];
    struct frames frames = {0};
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    for (long i = 0; i < times; i++) {
        if (send(fd, m->frame, m->frame_length, MSG_NOSIGNAL) != (ssize_t)m->frame_length) die("touch: short write");
        for (unsigned echoes = 0; !echoes;) {
            if (poll(&ready, 1, 10000) != 1) die("touch: no echo within 10 s");
            ssize_t got = recv(fd, data, sizeof data, 0);
            if (got <= 0) die("touch: the server ended the connection");
            echoes = frames_feed(&frames, &m->echo, data, (size_t)got);
        }
    }
}

int run_idle(const struct options *o) {
    int *fds = calloc((size_t)o->connections, sizeof *fds);
    struct message message;
    char line[64];
    message_prepare(&message, o, 1);
    uint64_t start = now_ns();
    for (int i = 0; i < o->connections; i++) {
        fds[i] = connect_upgraded(o);
        exchange(fds[i], &message, o->touch);
    }
    printf("{\"mode\": \"idle\", \"connections\": %d, \"seconds\": %.6f}\n", o->connections,
           (double)(now_ns() - start) / 1e9);
    fflush(stdout);
    while (read(STDIN_FILENO, line, sizeof line) > 0) {}
    farewell(fds, o->connections);
    return 0;
}
