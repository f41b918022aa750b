/* A non-blocking write to a socket, how far what was written has come, and nothing else of the operating system. */
#ifndef FIREFLY_WS_SYS_H
#define FIREFLY_WS_SYS_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32

/* A descriptor is no socket there: all goes through the transport. */
static inline ptrdiff_t sys_send(int fd, const void *head, size_t head_size, const void *body, size_t body_size) {
    (void)fd, (void)head, (void)head_size, (void)body, (void)body_size;
    return -1;
}

static inline int64_t sys_held(int fd) {
    (void)fd;
    return -1;
}

static inline int64_t sys_taken(int fd) {
    (void)fd;
    return -1;
}

#else

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Send `head` and behind it `body` (may be empty) without waiting.
 * Returns the bytes taken, or -1: whoever owns the descriptor will meet the error itself. */
static inline ptrdiff_t sys_send(int fd, const void *head, size_t head_size, const void *body, size_t body_size) {
    ptrdiff_t sent;
    do {
        if (body_size == 0) {
            sent = send(fd, head, head_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else {
            struct iovec parts[2];
            struct msghdr message = {0};
            parts[0].iov_base = (void *)head;
            parts[0].iov_len = head_size;
            parts[1].iov_base = (void *)body;
            parts[1].iov_len = body_size;
            message.msg_iov = parts;
            message.msg_iovlen = 2;
            sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* The bytes that the kernel holds because the peer's machine has not taken them; -1 where it does not tell. */
static inline int64_t sys_held(int fd) {
    int left = 0;
#if defined(SO_NWRITE)
    socklen_t size = sizeof left;
    return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &left, &size) == 0 ? left : -1;
#elif defined(TIOCOUTQ)
    return ioctl(fd, TIOCOUTQ, &left) == 0 ? left : -1;
#else
    (void)fd, (void)left;
    return -1;
#endif
}

/* A number that changes whenever the peer's machine has taken bytes; -1 where the system does not tell.
 * Linux counts the bytes acknowledged (struct tcp_info of its own headers, older ones of libc do not have the field);
 * elsewhere, and on unix sockets, it is what the kernel holds. */
static inline int64_t sys_taken(int fd) {
#ifdef __linux__
    enum { TCP_INFO_OPTION = 11, BYTES_ACKED = 120 };
    unsigned char info[BYTES_ACKED + 8];
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO_OPTION, info, &size) == 0 && size == sizeof info) {
        int64_t acked;
        memcpy(&acked, info + BYTES_ACKED, sizeof acked);
        return acked;
    }
#endif
    return sys_held(fd);
}

#endif
#endif
