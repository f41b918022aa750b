/* One non-blocking write to a socket, and nothing else of the operating system. */
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

#else

#include <errno.h>
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

#endif
#endif
