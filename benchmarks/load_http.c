/* HTTP/1.1 as mode `http` speaks it: one GET, and answers told from each other by their Content-Length. Knows no socket. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void request_prepare(struct message *m, const struct options *o, unsigned copies) {
    char text[1024];
    int length = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: load\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
        "Connection: keep-alive\r\n\r\n", o->path, o->host, o->port);
    if (length < 0 || (size_t)length >= sizeof text) die("the path is too long");
    message_copy(m, text, (size_t)length, copies);
}

/* Bytes of the body that the head announces. */
static uint64_t announced(const char *head, const struct options *o) {
    if (strncmp(head, "HTTP/1.1 200 ", 13)) die("answered: %.60s", head);
    const char *field = strcasestr(head, "\r\ncontent-length:");
    if (!field) die("an answer without Content-Length");
    uint64_t length = strtoull(field + 17, NULL, 10);
    if (length != o->size) die("an answer of %llu bytes instead of %zu", (unsigned long long)length, o->size);
    return length;
}

unsigned answers_feed(struct answers *a, const struct options *o, const unsigned char *data, size_t length) {
    unsigned answers = 0;
    size_t at = 0;
    while (at < length) {
        if (!a->in_body) {
            if (a->have == sizeof a->head - 1) die("the answer's head is too long");
            char byte = a->head[a->have++] = (char)data[at++];
            if (byte != '\n' || a->have < 4 || memcmp(a->head + a->have - 4, "\r\n\r\n", 4)) continue;
            a->head[a->have] = 0;
            a->left = announced(a->head, o);
            a->in_body = true;
            a->have = 0;
        }
        uint64_t step = length - at < a->left ? length - at : a->left;
        at += step;
        a->left -= step;
        if (!a->left) {
            a->in_body = false;
            answers++;
        }
    }
    return answers;
}
