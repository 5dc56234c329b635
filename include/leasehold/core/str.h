/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_STR_H
#define LEASEHOLD_CORE_STR_H

/* Borrowed text by value: not terminated, may hold NUL. Plus the few string questions asked twice.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct lh_str {
    const char *p;
    size_t n;
};

#define LH_STR(lit) ((struct lh_str){(lit), sizeof(lit) - 1})

static inline struct lh_str lh_str(const char *s)
{
    return (struct lh_str){s, s ? strlen(s) : 0};
}

bool lh_str_eq(struct lh_str a, struct lh_str b);
bool lh_str_eqz(struct lh_str a, const char *z);
bool lh_str_starts(struct lh_str s, struct lh_str prefix);
bool lh_str_ends(struct lh_str s, struct lh_str suffix);
/* Splits at the first sep: *head before it, *rest after it. false (and head = s, rest empty) if
 * there is none. */
bool lh_str_cut(struct lh_str s, char sep, struct lh_str *head, struct lh_str *rest);
struct lh_str lh_str_trim(struct lh_str s); /* ASCII white space at both ends */
/* Owned, terminated copy; NULL when memory is out. */
char *lh_str_dup(struct lh_str s);
/* Decimal within [min, max]; false on anything else, *out untouched. */
bool lh_str_to_i64(struct lh_str s, long long min, long long max, long long *out);

/* DNS-1123 label (63) and subdomain (253), as Kubernetes names are checked. */
bool lh_str_is_dns_label(struct lh_str s);
bool lh_str_is_dns_subdomain(struct lh_str s);

/* Nearest of a NULL-terminated list by edit distance, NULL if nothing is near (distance > 1/3 of
 * the length). */
const char *lh_str_nearest(struct lh_str s, const char *const *list);

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool lh_str_is_utf8(struct lh_str s);
/* Length of the valid UTF-8 sequence at the start of s, 0 if there is none. */
size_t lh_str_utf8_len(struct lh_str s);

#endif
