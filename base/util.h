/* SPDX-License-Identifier: MIT */
/*
 * Small things that every floor needs and the C library lacks.
 * No function here allocates, blocks or keeps state.
 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define __must_check __attribute__((warn_unused_result))
#define __printf(fmt, args) __attribute__((format(printf, fmt, args)))

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define PAGE_SIZE_4K 4096ull

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* Wraps to 0 when v is within align of 2^64: check the result where v is a guest's. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* [a, a + alen) and [b, b + blen) share a byte. Lengths must not wrap their ends. */
static inline bool ranges_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

#define min_u64(a, b) ((uint64_t)(a) < (uint64_t)(b) ? (uint64_t)(a) : (uint64_t)(b))
#define max_u64(a, b) ((uint64_t)(a) > (uint64_t)(b) ? (uint64_t)(a) : (uint64_t)(b))

/* Little-endian loads and stores at any alignment (x86 is the only host). */
static inline uint64_t load_le(const void *p, unsigned width)
{
	uint64_t v = 0;

	__builtin_memcpy(&v, p, width);
	return v;
}

static inline void store_le(void *p, unsigned width, uint64_t v)
{
	__builtin_memcpy(p, &v, width);
}

/* All ones in the low 8 * width bits: what an access to nothing reads. */
static inline uint64_t width_mask(unsigned width)
{
	return width >= 8 ? ~0ull : (1ull << (width * 8)) - 1;
}

/* CRC-32 (IEEE 802.3, reflected) of buf, continuing from crc; start with 0. */
uint32_t util_crc32(uint32_t crc, const void *buf, size_t len);

/*
 * Reads or writes all len bytes at offset off, retrying on EINTR and short
 * counts. Returns 0, -errno, or -ENODATA where the file ends first.
 */
int util_pread_all(int fd, void *buf, size_t len, uint64_t off) __must_check;
int util_pwrite_all(int fd, const void *buf, size_t len, uint64_t off) __must_check;
int util_write_all(int fd, const void *buf, size_t len) __must_check;

/*
 * Parses a size: decimal digits with an optional K, M, G or T (powers of 1024;
 * lower case too). Returns 0, -EINVAL for anything else, -ERANGE past 2^63.
 */
int util_parse_size(const char *s, uint64_t *out) __must_check;

/* Parses an unsigned decimal number; 0, -EINVAL or -ERANGE when outside [min, max]. */
int util_parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *out) __must_check;

#endif
