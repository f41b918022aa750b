/* Fuzzes firefly_ws/_core/wire.h: each function against an obvious byte-wise one, on random inputs.
 * Knows nothing of Python. Inputs and outputs lie in exact malloc'd blocks at any alignment, so
 * that AddressSanitizer sees the first byte read or written outside.
 *
 *     fuzz_wire [rounds] [seed]
 */
#include "../../firefly_ws/_core/wire.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t chance_state;

/* xorshift64*: the same rounds everywhere for the same seed. */
static uint64_t chance(void) {
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return chance_state * UINT64_C(0x2545F4914F6CDD1D);
}

static size_t below(size_t limit) {
    return (size_t)((chance() >> 11) % limit);
}

static uint64_t round_number, round_seed;

#define CHECK(what, ...)                                                                       \
    do {                                                                                       \
        if (!(what)) {                                                                         \
            fprintf(stderr, "round %llu, seed %llu: %s\n  ", (unsigned long long)round_number, \
                    (unsigned long long)round_seed, #what);                                    \
            fprintf(stderr, __VA_ARGS__);                                                      \
            fputc('\n', stderr);                                                               \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

/* A block that ends exactly behind `size` bytes and begins `skew` bytes before them. */
typedef struct {
    uint8_t *block, *data;
    size_t size;
} bytes;

static bytes take(size_t size, size_t skew) {
    bytes b;
    b.block = malloc(size + skew + (size + skew == 0));
    if (b.block == NULL)
        abort();
    b.data = b.block + skew;
    b.size = size;
    return b;
}

/* Mostly short, often around the powers of two where loops change, now and then long. */
static size_t some_size(void) {
    static const size_t edges[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 63, 64, 127, 128, 129, 135, 136, 255, 256};
    switch (below(16)) {
    case 0:
        return below(5000);
    case 1:
    case 2:
        return below(400);
    case 3:
    case 4:
    case 5:
        return edges[below(sizeof edges / sizeof *edges)];
    default:
        return below(40);
    }
}

static void fill(bytes b) {
    int ascii = below(2) == 0;
    size_t i;
    for (i = 0; i < b.size; i++)
        b.data[i] = (uint8_t)(chance() >> 24) & (ascii ? 0x7f : 0xff);
    if (ascii && b.size && below(4) == 0)
        b.data[below(b.size)] |= 0x80;
}

/* --- masking, RFC 6455 §5.3: octet i is XORed with octet i MOD 4 of the key --- */

static void check_xor(void) {
    bytes from = take(some_size(), below(16));
    bytes to = take(from.size, below(16));
    bytes unmasked = take(from.size, 0);
    uint8_t key[4];
    uint32_t mask;
    size_t i, cut;
    int ascii = 1, said;
    mask = below(4) == 0 ? 0 : (uint32_t)chance();
    memcpy(key, &mask, 4);
    fill(unmasked);
    for (i = 0; i < from.size; i++) {
        from.data[i] = unmasked.data[i] ^ key[i % 4];
        ascii &= unmasked.data[i] < 0x80;
    }
    said = wire_xor_copy(to.data, from.data, from.size, mask);
    CHECK(said == ascii, "%zu bytes, said %d", from.size, said);
    for (i = 0; i < from.size; i++)
        CHECK(to.data[i] == unmasked.data[i], "byte %zu of %zu", i, from.size);

    /* In two parts, with the key rotated to where the second begins. */
    cut = below(from.size + 1);
    memset(to.data, 0, to.size);
    said = wire_xor_copy(to.data, from.data, cut, mask);
    said &= wire_xor_copy(to.data + cut, from.data + cut, from.size - cut, wire_rotate(mask, cut));
    CHECK(said == ascii, "%zu bytes cut at %zu", from.size, cut);
    CHECK(from.size == 0 || memcmp(to.data, unmasked.data, from.size) == 0, "%zu bytes cut at %zu", from.size, cut);

    /* In place. */
    said = wire_xor_copy(from.data, from.data, from.size, mask);
    CHECK(said == ascii, "%zu bytes in place", from.size);
    CHECK(from.size == 0 || memcmp(from.data, unmasked.data, from.size) == 0, "%zu bytes in place", from.size);
    free(from.block);
    free(to.block);
    free(unmasked.block);
}

static void check_rotate(void) {
    uint32_t mask = (uint32_t)chance(), rotated;
    uint64_t phase = below(2) ? below(9) : chance();
    uint8_t key[4], turned[4];
    size_t i;
    rotated = wire_rotate(mask, phase);
    memcpy(key, &mask, 4);
    memcpy(turned, &rotated, 4);
    for (i = 0; i < 4; i++)
        CHECK(turned[i] == key[(i + phase) % 4], "phase %llu, byte %zu", (unsigned long long)phase, i);
}

/* --- UTF-8, RFC 3629 §3: decode a character, then ask whether its value may be written so --- */

/* 1: a character of *size bytes. 0: a valid beginning of one. -1: wrong at byte *size. */
static int character(const uint8_t *p, size_t n, size_t *size) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t low, high;
    size_t have, i;
    *size = 0;
    if (length == 0)
        return -1;
    /* What the character is at least and at most, given the bytes read so far. */
    for (have = 1; have <= length; have++) {
        low = length == 1 ? p[0] : p[0] & (0xffu >> (length + 1));
        for (i = 1; i < have; i++)
            low = low << 6 | (p[i] & 0x3f);
        high = low;
        for (; i < length; i++) {
            low = low << 6;
            high = high << 6 | 0x3f;
        }
        *size = have - 1;
        if (have > 1 && p[have - 1] >> 6 != 2)
            return -1;
        if (high < least[length] || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff))
            return -1;
        if (have == n && have < length)
            return 0;
    }
    *size = length;
    return 1;
}

/* The offset of the first byte that cannot stand there, or -1; *open tells of a character unfinished at the end. */
static ptrdiff_t first_bad(const uint8_t *p, size_t n, int *open) {
    size_t at = 0, size;
    *open = 0;
    while (at < n) {
        int found = character(p + at, n - at, &size);
        if (found < 0)
            return (ptrdiff_t)(at + size);
        if (found == 0) {
            *open = 1;
            return -1;
        }
        at += size;
    }
    return -1;
}

static size_t put_character(uint8_t *p, uint32_t c) {
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        p[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    p[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* Characters around every border (surrogates and more than U+10FFFF too), ASCII in plenty, sometimes broken. */
static void fill_text(bytes b) {
    static const uint32_t borders[] = {0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xd800, 0xdfff,
                                       0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff, 0x110000};
    size_t at = 0, kind = below(4), kinds = below(20) == 0 ? sizeof borders / sizeof *borders : 1;
    while (at < b.size) {
        uint8_t one[4];
        uint32_t c = kind == 0 || below(4) < kind ? (uint32_t)below(0x80) : (uint32_t)below(0x110000);
        size_t size;
        if (kinds > 1 && below(3) == 0)
            c = borders[below(kinds)];
        else if (c >= 0xd800 && c <= 0xdfff)
            c = 0x20ac;
        size = put_character(one, c);
        if (size > b.size - at && below(4))
            size = put_character(one, 'z');
        if (size > b.size - at)
            size = b.size - at;
        memcpy(b.data + at, one, size);
        at += size;
    }
    if (b.size && below(3) == 0)
        b.data[below(b.size)] = (uint8_t)chance();
}

static void check_utf8(void) {
    bytes text = take(some_size(), below(16));
    wire_utf8 state;
    ptrdiff_t expected, said = -1;
    size_t at = 0;
    int open;
    if (below(8))
        fill_text(text);
    else
        fill(text);
    expected = first_bad(text.data, text.size, &open);

    memset(&state, 0, sizeof state);
    said = wire_check_utf8(&state, text.data, text.size);
    CHECK(said == expected, "%zu bytes: %td, not %td", text.size, said, expected);
    CHECK(expected >= 0 || (state.need != 0) == open, "%zu bytes: need %d", text.size, state.need);

    /* In parts, each in a block of its own. */
    memset(&state, 0, sizeof state);
    said = -1;
    while (at < text.size && said < 0) {
        size_t size = below(3) ? 1 + below(5) : 1 + below(text.size - at);
        bytes part;
        if (size > text.size - at)
            size = text.size - at;
        part = take(size, below(8));
        memcpy(part.data, text.data + at, size);
        said = wire_check_utf8(&state, part.data, size);
        if (said >= 0)
            said += (ptrdiff_t)at;
        at += size;
        free(part.block);
    }
    CHECK(said == expected, "%zu bytes in parts: %td, not %td", text.size, said, expected);
    CHECK(expected >= 0 || (state.need != 0) == open, "%zu bytes in parts: need %d", text.size, state.need);
    free(text.block);
}

/* --- heads, RFC 6455 §5.2 --- */

static void check_head(void) {
    bytes in = take(below(17), below(16));
    wire_head head;
    uint64_t length = 0;
    size_t i, extra, key_at, whole;
    int said, expected;
    for (i = 0; i < in.size; i++)
        in.data[i] = (uint8_t)(chance() >> 24);
    if (in.size > 1 && below(4))
        in.data[1] = (uint8_t)((in.data[1] & 0x80) | (125 + below(3)));
    for (i = 2; i < in.size && i < 10; i++)
        if (below(3))
            in.data[i] = below(4) ? 0 : 0x7f;

    memset(&head, 0, sizeof head);
    said = wire_read_head(in.data, in.size, &head);
    expected = WIRE_MORE;
    if (in.size >= 2) {
        length = in.data[1] & 0x7f;
        extra = length == 126 ? 2 : length == 127 ? 8 : 0;
        key_at = 2 + extra;
        whole = key_at + (in.data[1] & 0x80 ? 4 : 0);
        if (in.size >= key_at) {
            if (extra) {
                length = 0;
                for (i = 0; i < extra; i++)
                    length = length * 256 + in.data[2 + i];
            }
            if (extra == 8 && in.data[2] & 0x80)
                expected = WIRE_TOO_LONG;
            else if ((extra == 2 && length < 126) || (extra == 8 && length < 65536))
                expected = WIRE_NOT_MINIMAL;
            else if (in.size >= whole)
                expected = (int)whole;
        }
    }
    CHECK(said == expected, "%zu bytes, second %02x: %d, not %d", in.size, in.size > 1 ? in.data[1] : 0, said, expected);
    if (said > 0) {
        CHECK(head.length == length, "%llu", (unsigned long long)head.length);
        CHECK(head.first == in.data[0], "%02x", head.first);
        CHECK(head.masked == in.data[1] >> 7, "%d", head.masked);
        CHECK(head.masked ? memcmp(&head.mask, in.data + said - 4, 4) == 0 : head.mask == 0, "%08x", head.mask);
        /* In its shortest form a head is written as it was read, into exactly as many bytes. */
        bytes out = take((size_t)said, below(8));
        CHECK(wire_write_head(out.data, head.first, head.length, head.masked, head.mask) == said, "%d", said);
        CHECK(memcmp(out.data, in.data, (size_t)said) == 0, "%d bytes", said);
        free(out.block);
    }
    free(in.block);
}

static void check_written_head(void) {
    static const uint64_t edges[] = {0, 1, 125, 126, 127, 65535, 65536, 65537, UINT64_C(0x7fffffffffffffff)};
    uint64_t length = below(2) ? edges[below(sizeof edges / sizeof *edges)] : chance() >> (1 + below(63));
    size_t size = length < 126 ? 2 : length < 65536 ? 4 : 10;
    int masked = (int)below(2);
    uint32_t mask = (uint32_t)chance();
    uint8_t first = (uint8_t)chance();
    bytes out = take(size + (masked ? 4 : 0), below(8));
    wire_head head;
    int said = wire_write_head(out.data, first, length, masked, mask);
    CHECK((size_t)said == out.size, "length %llu: %d", (unsigned long long)length, said);
    said = wire_read_head(out.data, out.size, &head);
    CHECK((size_t)said == out.size, "length %llu: %d", (unsigned long long)length, said);
    CHECK(head.length == length && head.first == first && head.masked == masked, "%llu", (unsigned long long)length);
    CHECK(head.mask == (masked ? mask : 0), "%08x", head.mask);
    free(out.block);
}

int main(int count, char **words) {
    uint64_t rounds = count > 1 ? strtoull(words[1], NULL, 10) : 1000000;
    round_seed = count > 2 ? strtoull(words[2], NULL, 10) : 1;
    chance_state = round_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (round_number = 0; round_number < rounds; round_number++) {
        check_xor();
        check_rotate();
        check_utf8();
        check_head();
        check_written_head();
    }
    printf("%llu rounds, seed %llu: clean\n", (unsigned long long)rounds, (unsigned long long)round_seed);
    return 0;
}
