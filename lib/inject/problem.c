/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/core/mem.h"

static void push(struct lh_problems *ps, const char *where, const char *reason, bool deny,
                 const char *text)
{
    struct lh_problem one = {.reason = reason, .deny = deny}, *grown;

    one.where = lh_strdup(where);
    one.text = lh_strdup(text);
    grown = lh_realloc(ps->v, (ps->n + 1) * sizeof(*grown));
    if (grown)
        ps->v = grown;
    if (!one.where || !one.text || !grown) {
        lh_free(one.where);
        lh_free(one.text);
        ps->nomem = true;
        return;
    }
    ps->v[ps->n++] = one;
}

void problem_add(struct lh_problems *ps, const char *where, const char *reason, bool deny,
                 const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    push(ps, where, reason, deny, text);
}

const char *problem_buf(struct lh_problems *ps, const struct lh_buf *b)
{
    if (lh_buf_check(b, NULL) < 0) {
        ps->nomem = true;
        return "";
    }
    return lh_buf_peek(b).p;
}

void problem_mark_store(struct lh_problems *ps)
{
    if (ps->n)
        ps->v[ps->n - 1].of_store = true;
}

void problem_add_err(struct lh_problems *ps, const char *where, const char *def, bool of_store,
                     const struct lh_err *err)
{
    if (err->code == LH_E_NOMEM) {
        ps->nomem = true;
        return;
    }
    push(ps, where, err->reason ? err->reason : def, true, err->msg);
    if (of_store)
        problem_mark_store(ps);
}

const char *where_of(enum lh_annotation_id id, const char *name, char buf[128])
{
    const char *const parts[] = {LH_ANNOTATION_PREFIX, lh_annotations[id].name, name ? "." : "",
                                 name ? name : ""};
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(parts); i++) {
        size_t fits = strnlen(parts[i], 127 - n);

        memcpy(buf + n, parts[i], fits);
        n += fits;
    }
    buf[n] = '\0';
    return buf;
}

char *lh_problem_text(const struct lh_problem *p)
{
    const char *dot = p->text[0] && p->text[strlen(p->text) - 1] == '.' ? "" : ".";

    if (!p->reason)
        return lh_asprintf("%s: %s", p->where, p->text);
    return lh_asprintf("%s: %s: %s%s See: kubectl leasehold explain %s", p->where, p->reason,
                       p->text, dot, p->reason);
}

const struct lh_problem *lh_problems_denial(const struct lh_problems *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        if (ps->v[i].deny)
            return &ps->v[i];
    }
    return NULL;
}

void lh_problems_done(struct lh_problems *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        lh_free(ps->v[i].where);
        lh_free(ps->v[i].text);
    }
    lh_free(ps->v);
    *ps = (struct lh_problems){0};
}

int put(lh_json *obj, const char *key, lh_json *value)
{
    return value ? lh_json_set(obj, key, value) : -1;
}

int put_z(lh_json *obj, const char *key, const char *value)
{
    return put(obj, key, lh_json_new_z(value));
}

int put_int(lh_json *obj, const char *key, int64_t value)
{
    return put(obj, key, lh_json_new_int(value));
}

int put_bool(lh_json *obj, const char *key, bool value)
{
    return put(obj, key, lh_json_new_bool(value));
}
