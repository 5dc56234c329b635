/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever etcd's keys and values are named, the report is markup of ours alone and the JSON can be
 * read: each line of the input is a key below /registry, with the name of a provider behind a tab.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct audit *a, struct lh_str line)
{
    struct audit_value v = {.protection = AUDIT_KMS, .provider = "kmsv2", .revision = 1};
    struct audit_path p;
    struct lh_str key, name;

    lh_str_cut(line, '\t', &key, &name);
    if (!audit_path_parse(key, LH_STR("/registry"), &p))
        return;
    if (p.name.n == 0 || memchr(p.name.p, '/', p.name.n) || !*p.resource)
        abort();
    v.name = name;
    v.key = name;
    if (audit_add(a, &p, &v, NULL) < 0)
        abort();
    a->has_bytes = true;
}

/* Text of others neither opens a tag nor ends an attribute. */
static bool is_ours(struct lh_str page)
{
    return !memmem(page.p, page.n, "<script", 7) && !memmem(page.p, page.n, "<img", 4) &&
           !memmem(page.p, page.n, "\"onload=", 8);
}

static void check(const struct audit *a, const struct lh_vec *verdicts)
{
    lh_auto_json lh_json *doc = NULL;
    struct lh_buf b;

    lh_buf_init(&b, (size_t)16 * 1024 * 1024);
    audit_put_json(a, verdicts, &b);
    if (lh_json_parse(lh_buf_peek(&b), NULL, &doc, NULL) < 0)
        abort();
    lh_buf_reset(&b);
    audit_put_html(a, verdicts, &b);
    if (lh_buf_check(&b, NULL) < 0 || !is_ours(lh_buf_peek(&b)))
        abort();
    lh_buf_reset(&b);
    audit_put_text(a, verdicts, &b);
    if (lh_buf_check(&b, NULL) < 0)
        abort();
    lh_buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str rest = {(const char *)data, size}, line;
    struct lh_vec verdicts;
    struct audit a;

    lh_json_init();
    if (size > 16 * 1024 || lh_crypto_init(NULL) < 0 || audit_init(&a, NULL) < 0)
        return 0;
    while (rest.n) {
        lh_str_cut(rest, '\n', &line, &rest);
        add(&a, line);
    }
    lh_vec_init(&verdicts, sizeof(struct audit_verdict));
    if (audit_judge(&a, &verdicts, NULL) < 0)
        abort();
    check(&a, &verdicts);
    audit_verdicts_done(&verdicts);
    audit_done(&a);
    return 0;
}
