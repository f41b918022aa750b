/* What the parts of the load generator share: options, a histogram, a reader of frame heads. Knows nothing about who
 * is measured, and never looks at more of a payload than its first and last byte. */
#ifndef FIREFLY_WS_BENCHMARK_LOAD_H
#define FIREFLY_WS_BENCHMARK_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

struct options {
    const char *host;
    const char *path;
    const char *payload_file; /* a prepared payload instead of a pattern of `size` bytes */
    int port;
    int connections;
    int depth;    /* messages in flight on each connection */
    size_t size;  /* payload bytes of one message */
    long count;   /* load: stop after so many echoes; churn: so many connections; 0 = by time */
    long touch;   /* idle: messages echoed on each connection before it rests */
    double seconds;
    double warmup;
    int pid;      /* whose CPU time is read at both ends of the measured window; 0 = nobody's */
    bool text;
    bool deflate; /* offer permessage-deflate without context takeover and send RSV1 */
    bool chain;   /* offer fragment before it, with a bound that no message reaches */
    bool origin;  /* send an Origin, the server's own: as a browser does, and to be checked */
    bool spin;    /* poll without sleeping */
    bool http;    /* GETs and their answers instead of messages and their echoes */
};

/* -- facts of the machine -- */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
uint64_t process_cpu_ns(int pid); /* all threads of the process; nanoseconds, not ticks */
uint64_t process_wait_ns(int pid); /* time its main thread was ready and had to wait for a core: others were busy */
uint64_t own_cpu_ns(void);
void pause_ms(int milliseconds);

/* -- latencies: 32 steps per power of two, so a value is known to 3 % -- */
struct histogram {
    uint64_t total, largest;
    uint64_t counts[64 * 32];
};
void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t nanoseconds);
double histogram_quantile_us(const struct histogram *h, double quantile);

/* -- the opening handshake -- */
int connect_start(const struct options *o); /* non-blocking; the connect may still be under way */
int connect_plain(const struct options *o);    /* blocking until connected, then non-blocking */
int connect_upgraded(const struct options *o); /* blocking until upgraded, then non-blocking */
size_t write_request(const struct options *o, char *out, size_t room);

/* Reads an answer's head piece by piece. */
struct answer {
    unsigned have;
    char text[4096];
};
/* Bytes of `data` that belong to the head, once it is complete (then *done); dies unless it is a 101 that agreed to
 * exactly what was offered. */
size_t answer_feed(struct answer *a, const struct options *o, const char *data, size_t length, bool *done);

/* -- frames -- */
struct expectation {
    unsigned char first_head_byte;
    unsigned char first, last; /* of the payload */
    uint64_t length;           /* 0 = any but empty: a compressed echo need not be as long as what was sent */
};
struct frames {
    unsigned char head[10];
    unsigned have;
    bool in_payload, at_first, closed;
    uint64_t length, left;
};
/* How many expected messages end within `data`; dies on any other data frame. */
unsigned frames_feed(struct frames *f, const struct expectation *e, const unsigned char *data, size_t length);

struct message {
    unsigned char *frame; /* `copies` equal masked frames behind each other */
    size_t frame_length;
    unsigned copies;
    struct expectation echo;
};
void message_prepare(struct message *m, const struct options *o, unsigned copies);
void message_copy(struct message *m, const void *one, size_t length, unsigned copies);
extern const unsigned char close_frame[8];
void farewell(const int *fds, int count); /* a closing handshake on each, then close(2) */

/* -- HTTP: equal GETs on a connection that stays -- */
struct answers {
    unsigned have;
    bool in_body;
    uint64_t left;
    char head[4096];
};
void request_prepare(struct message *m, const struct options *o, unsigned copies);
/* How many answers end within `data`; dies on any but 200 with a Content-Length of `size`. */
unsigned answers_feed(struct answers *a, const struct options *o, const unsigned char *data, size_t length);

/* -- the modes -- */
int run_load(const struct options *o);
int run_connect(const struct options *o);
int run_churn(const struct options *o);
int run_idle(const struct options *o);
int run_echo(void);

#endif
