/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_PROVIDERS_RECORDING_H
#define LH_TEST_PROVIDERS_RECORDING_H

/* A recorded answer of tests/fixtures/recordings as the classifier takes it. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classify.h"

struct recording {
    char text[16384];
    struct lh_vault_reply reply;
};

static inline struct lh_str recording_header(const struct recording *r, const char *name)
{
    const char *at = strcasestr(r->text, name);
    size_t n = strlen(name);

    if (!at || at[n] != ':')
        return (struct lh_str){NULL, 0};
    at += n + 1;
    at += strspn(at, " ");
    return (struct lh_str){at, strcspn(at, "\r\n")};
}

/* false: no such file, or not an answer. */
static inline bool recording_load(struct recording *r, const char *name)
{
    char path[512];
    const char *body;
    FILE *f;
    size_t n;

    memset(r, 0, sizeof(*r));
    snprintf(path, sizeof(path), "%s/tests/fixtures/recordings/%s.http", LH_SOURCE_DIR, name);
    f = fopen(path, "rb");
    if (!f)
        return false;
    n = fread(r->text, 1, sizeof(r->text) - 1, f);
    fclose(f);
    body = strstr(r->text, "\r\n\r\n");
    if (!body || sscanf(r->text, "HTTP/1.1 %d", &r->reply.status) != 1)
        return false;
    body += 4;
    r->reply.body = (struct lh_str){body, n - (size_t)(body - r->text)};
    r->reply.content_type = recording_header(r, "Content-Type");
    if (recording_header(r, "Retry-After").p)
        r->reply.retry_after_ms = atoi(recording_header(r, "Retry-After").p) * 1000;
    return true;
}

#endif
