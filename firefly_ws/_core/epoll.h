/* Readiness, accepting, reading and closing by Linux's own calls. Elsewhere `EPOLL_HERE` is 0 and none of it is used. */
#ifndef FIREFLY_WS_EPOLL_H
#define FIREFLY_WS_EPOLL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __linux__

#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EPOLL_HERE 1

typedef struct epoll_event ready_event;

static inline int ready_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int ready_control(int set, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event;
    event.events = events;
    event.data.u64 = data;
    return epoll_ctl(set, operation, fd, &event);
}

static inline int ready_now(int set, ready_event *events, int most) {
    int count;
    do {
        count = epoll_wait(set, events, most, 0);
    } while (count < 0 && errno == EINTR);
    return count;
}

static inline uint32_t ready_events(const ready_event *event) { return event->events; }
static inline uint64_t ready_data(const ready_event *event) { return event->data.u64; }

/* One non-blocking read. */
static inline ptrdiff_t sys_recv(int fd, void *data, size_t size) {
    ptrdiff_t got;
    do {
        got = recv(fd, data, size, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Accept one connection; where its peer has an IPv4 address, `host` (4 bytes) and `port` tell it, else port is -1. */
static inline int sys_accept(int listening, unsigned char *host, int *port) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    int fd;
    do {
        fd = accept4(listening, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    *port = -1;
    if (fd >= 0 && size >= sizeof(struct sockaddr_in) && peer.ss_family == AF_INET) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)&peer;
        memcpy(host, &address->sin_addr, 4);
        *port = ntohs(address->sin_port);
    }
    return fd;
}

static inline int sys_shutdown_write(int fd) { return shutdown(fd, SHUT_WR); }
static inline int sys_close(int fd) { return close(fd); }

#else

#define EPOLL_HERE 0
#define EPOLLIN 1
#define EPOLLOUT 4
#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3

typedef struct { int unused; } ready_event;

static inline int ready_create(void) { return errno = ENOSYS, -1; }
static inline int ready_control(int set, int operation, int fd, uint32_t events, uint64_t data) {
    (void)set, (void)operation, (void)fd, (void)events, (void)data;
    return errno = ENOSYS, -1;
}
static inline int ready_now(int set, ready_event *events, int most) {
    (void)set, (void)events, (void)most;
    return errno = ENOSYS, -1;
}
static inline uint32_t ready_events(const ready_event *event) { (void)event; return 0; }
static inline uint64_t ready_data(const ready_event *event) { (void)event; return 0; }
static inline ptrdiff_t sys_recv(int fd, void *data, size_t size) {
    (void)fd, (void)data, (void)size;
    return errno = ENOSYS, -1;
}
static inline int sys_accept(int listening, unsigned char *host, int *port) {
    (void)listening, (void)host, (void)port;
    return errno = ENOSYS, -1;
}
static inline int sys_shutdown_write(int fd) { (void)fd; return errno = ENOSYS, -1; }
static inline int sys_close(int fd) { (void)fd; return errno = ENOSYS, -1; }

#endif
#endif
