/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_CODEC_JSON_PRIV_H
#define LH_CODEC_JSON_PRIV_H

/*
 * What the JSON modules share. A number that int64 cannot hold exactly is a jansson string whose
 * first byte is 0xff, followed by its text: no string of a user is such a one, because everything
 * that makes strings accepts valid UTF-8 only, and 0xff never occurs there.
 */
#include <stdbool.h>

#include <jansson.h>

#include "leasehold/codec/json.h"

enum { JSON_NUMBER_TAG = 0xff, JSON_DEFAULT_BYTES = 4 << 20, JSON_DEFAULT_DEPTH = 64 };
enum { JSON_DEFAULT_KEYS = 100000, JSON_HARD_DEPTH = 512 };

/* Fills what is 0 and bounds the depth, which is also the depth of our recursion. */
struct lh_json_limits lh_json_limits_fill(const struct lh_json_limits *limits);

/* text is a valid JSON number. int64 if that is exact and the text canonical, else kept as it is.
 * NULL: no memory. */
lh_json *lh_json_new_number(struct lh_str text);

/* The text of a number that is kept as such. */
bool lh_json_literal(const lh_json *v, struct lh_str *out);

/* Length of the JSON number at the start of s, 0 if there is none. */
size_t lh_json_scan_number(struct lh_str s);

/* Equal in value, not in text: 1.10 is 1.1 is 11e-1. Both are valid JSON numbers. */
bool lh_json_number_equal(struct lh_str a, struct lh_str b);

/* Length in bytes of the valid UTF-8 character at p (n > 0 bytes left), 0 if there is none. */
size_t lh_json_utf8_len(const unsigned char *p, size_t n);

/* How many of the first n bytes are ASCII that JSON writes as it is: no quote, backslash or control
 * character. */
size_t lh_json_plain_run(const char *p, size_t n);

/* Recursion of builders' trees, which no parser bounded, ends here. */
#define JSON_WALK_DEPTH 2000

#endif
