/* The bits of RFC 6455 §5: frame heads, masking, UTF-8. Knows bytes and lengths,
 * and refuses to know Python, memory or state beyond what the caller passes in.
 * Nothing here allocates, and nothing reads or writes outside [p, p + n). */
#ifndef FIREFLY_WS_WIRE_H
#define FIREFLY_WS_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Function multiversioning needs ifunc, which sanitizers cannot instrument. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) \
    && !defined(WIRE_NO_CLONES)
#define WIRE_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define WIRE_CLONES
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define WIRE_BIG_ENDIAN 1
#else
#define WIRE_BIG_ENDIAN 0
#endif

/* A frame's head, RFC 6455 §5.2. `mask` holds the key's four bytes in memory order. */
typedef struct {
    uint64_t length;
    uint32_t mask;
    uint8_t first;  /* FIN, RSV1-3 and opcode as sent */
    uint8_t masked;
} wire_head;

enum {
    WIRE_MORE = 0,        /* the head is not all here */
    WIRE_NOT_MINIMAL = -1, /* the length has a shorter form, §5.2 */
    WIRE_TOO_LONG = -2     /* the most significant bit of a 64-bit length is set, §5.2 */
};

/* Read a head from `n` bytes: its size (2 to 14), WIRE_MORE, or an error below zero. */
static inline int wire_read_head(const uint8_t *p, size_t n, wire_head *head) {
    size_t size = 2;
    uint64_t length;
    if (n < 2)
        return WIRE_MORE;
    head->first = p[0];
    head->masked = p[1] >> 7;
    length = p[1] & 0x7f;
    if (length == 126) {
        if (n < 4)
            return WIRE_MORE;
        length = (uint64_t)p[2] << 8 | p[3];
        if (length < 126)
            return WIRE_NOT_MINIMAL;
        size = 4;
    } else if (length == 127) {
        int i;
        if (n < 10)
            return WIRE_MORE;
        length = 0;
        for (i = 2; i < 10; i++)
            length = length << 8 | p[i];
        if (length >> 63)
            return WIRE_TOO_LONG;
        if (length < 65536)
            return WIRE_NOT_MINIMAL;
        size = 10;
    }
    head->length = length;
    head->mask = 0;
    if (head->masked) {
        if (n < size + 4)
            return WIRE_MORE;
        memcpy(&head->mask, p + size, 4);
        size += 4;
    }
    return (int)size;
}

/* Write a head of at most 14 bytes; with `masked`, `mask` goes behind the length. Returns its size. */
static inline int wire_write_head(uint8_t *p, uint8_t first, uint64_t length, int masked, uint32_t mask) {
    uint8_t bit = masked ? 0x80 : 0;
    int size = 2;
    p[0] = first;
    if (length < 126) {
        p[1] = bit | (uint8_t)length;
    } else if (length < 65536) {
        p[1] = bit | 126;
        p[2] = (uint8_t)(length >> 8);
        p[3] = (uint8_t)length;
        size = 4;
    } else {
        int i;
        p[1] = bit | 127;
        for (i = 0; i < 8; i++)
            p[2 + i] = (uint8_t)(length >> (56 - 8 * i));
        size = 10;
    }
    if (masked) {
        memcpy(p + size, &mask, 4);
        size += 4;
    }
    return size;
}

/* The key as it applies `phase` payload bytes further on (§5.3). */
static inline uint32_t wire_rotate(uint32_t mask, uint64_t phase) {
    unsigned bits = 8u * (unsigned)(phase & 3);
    if (bits == 0)
        return mask;
#if WIRE_BIG_ENDIAN
    return mask << bits | mask >> (32 - bits);
#else
    return mask >> bits | mask << (32 - bits);
#endif
}

/* Out of line and multiversioned: worth its call from some hundred bytes on. `dst` may equal `src`. */
WIRE_CLONES __attribute__((unused)) static uint64_t wire_xor_blocks(
    uint8_t *dst, const uint8_t *src, size_t blocks, uint64_t key) {
    uint64_t seen = 0;
    size_t i;
    for (i = 0; i < blocks; i++) {
        uint64_t word;
        memcpy(&word, src + 8 * i, 8);
        word ^= key;
        seen |= word;
        memcpy(dst + 8 * i, &word, 8);
    }
    return seen;
}

/* Copy with the mask applied (§5.3); returns 1 if every byte written is ASCII.
 * `dst` may equal `src`, and must not overlap it otherwise. */
static inline int wire_xor_copy(uint8_t *dst, const uint8_t *src, size_t n, uint32_t mask) {
    uint64_t key = (uint64_t)mask << 32 | mask;
    uint64_t seen = 0, word;
    uint8_t tail[4];
    size_t i = 0;
    if (n >= 128) {
        seen = wire_xor_blocks(dst, src, n / 8, key);
        i = n & ~(size_t)7;
    } else {
        for (; i + 8 <= n; i += 8) {
            memcpy(&word, src + i, 8);
            word ^= key;
            seen |= word;
            memcpy(dst + i, &word, 8);
        }
    }
    memcpy(tail, &mask, 4);
    for (; i < n; i++) {
        dst[i] = src[i] ^ tail[i & 3];
        seen |= dst[i];
    }
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

/* Where incremental UTF-8 stands: `need` bytes missing, the next of them within [low, high]. Zeroed to start. */
typedef struct {
    uint8_t need, low, high;
} wire_utf8;

/* Check `n` more bytes (RFC 3629 §4): the offset of the first byte that cannot stand there, or -1 if there is none. */
static inline ptrdiff_t wire_check_utf8(wire_utf8 *state, const uint8_t *p, size_t n) {
    uint8_t need = state->need, low = state->low, high = state->high;
    size_t i = 0;
    while (i < n) {
        uint8_t byte;
        if (need == 0) {
            while (i + 8 <= n) {
                uint64_t word;
                memcpy(&word, p + i, 8);
                if (word & UINT64_C(0x8080808080808080))
                    break;
                i += 8;
            }
            while (i < n && p[i] < 0x80)
                i++;
            if (i == n)
                break;
            byte = p[i];
            low = 0x80;
            high = 0xBF;
            if (byte >= 0xC2 && byte <= 0xDF) {
                need = 1;
            } else if (byte >= 0xE0 && byte <= 0xEF) {
                need = 2;
                if (byte == 0xE0)
                    low = 0xA0;  /* shorter forms exist */
                else if (byte == 0xED)
                    high = 0x9F;  /* surrogates */
            } else if (byte >= 0xF0 && byte <= 0xF4) {
                need = 3;
                if (byte == 0xF0)
                    low = 0x90;
                else if (byte == 0xF4)
                    high = 0x8F;  /* above U+10FFFF */
            } else {
                return (ptrdiff_t)i;
            }
        } else {
            byte = p[i];
            if (byte < low || byte > high)
                return (ptrdiff_t)i;
            low = 0x80;
            high = 0xBF;
            need--;
        }
        i++;
    }
    state->need = need;
    state->low = low;
    state->high = high;
    return -1;
}

#endif
