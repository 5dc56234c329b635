/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/codec/jsonpatch.h"

#include "leasehold/core/mem.h"

int lh_jsonpatch_op(lh_json *patch, const char *op, const char *path, lh_json *value)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    bool wants_value = strcmp(op, "remove") != 0;

    if (!o || (wants_value && !value) || lh_json_set(o, "op", lh_json_new_z(op)) < 0 ||
        lh_json_set(o, "path", lh_json_new_z(path)) < 0) {
        lh_json_unref(value);
        return -1;
    }
    if (value && lh_json_set(o, "value", value) < 0)
        return -1;
    return lh_json_push(patch, LH_TAKE_PTR(o));
}

void lh_jsonpatch_escape(struct lh_buf *b, struct lh_str segment)
{
    for (size_t i = 0; i < segment.n; i++) {
        if (segment.p[i] == '~')
            lh_buf_put_z(b, "~0");
        else if (segment.p[i] == '/')
            lh_buf_put_z(b, "~1");
        else
            lh_buf_put_c(b, segment.p[i]);
    }
}

struct op {
    size_t index;
    struct lh_str name, path, from;
    const lh_json *value;
    lh_json **doc;
    struct lh_err *err;
};

static int fail(const struct op *op, int code, const char *what)
{
    return lh_err_set(op->err, code, "JSON patch, operation %zu: %s", op->index, what);
}

/* Undoes ~1 and ~0 in place of a copy; false on any other '~'. */
static bool unescape(struct lh_str s, char *q, size_t *n)
{
    char *start = q;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '~') {
            *q++ = s.p[i];
            continue;
        }
        if (++i == s.n || (s.p[i] != '0' && s.p[i] != '1'))
            return false;
        *q++ = s.p[i] == '0' ? '~' : '/';
    }
    *n = (size_t)(q - start);
    return true;
}

/* An index without sign and leading zeros, "-" is the end where that is allowed. */
static bool array_index(struct lh_str token, size_t len, bool may_append, size_t *out)
{
    long long i;

    if (may_append && lh_str_eqz(token, "-")) {
        *out = len;
        return true;
    }
    if (token.n == 0 || token.p[0] < '0' || token.p[0] > '9' ||
        (token.n > 1 && token.p[0] == '0') ||
        !lh_str_to_i64(token, 0, (long long)len - !may_append, &i))
        return false;
    *out = (size_t)i;
    return true;
}

/* Where a pointer leads: its parent and the last token; parent NULL: the whole document. */
struct place {
    lh_json *parent;
    struct lh_str token;
    char *memory; /* owned, what token points to */
};

static const lh_json *child(const lh_json *parent, struct lh_str token)
{
    size_t i;

    if (lh_json_type(parent) == LH_JSON_OBJECT)
        return lh_json_getn(parent, token);
    if (lh_json_type(parent) != LH_JSON_ARRAY ||
        !array_index(token, lh_json_len(parent), false, &i))
        return NULL;
    return lh_json_at(parent, i);
}

static int locate(const struct op *op, struct lh_str pointer, struct place *out)
{
    const char *at = pointer.p, *end = pointer.p + pointer.n;
    lh_auto_free char *memory = NULL;
    const lh_json *v = *op->doc;
    struct place p = {0};

    if (pointer.n == 0) {
        *out = p;
        return 0;
    }
    if (*at != '/')
        return fail(op, LH_E_INVALID, "a pointer does not start with '/'");
    memory = lh_malloc(pointer.n);
    if (!memory)
        return lh_err_nomem(op->err);
    p.token.p = memory;
    while (at < end) { /* on a slash */
        const char *start = at + 1, *slash = memchr(start, '/', (size_t)(end - start));

        at = slash ? slash : end;
        if (p.parent)
            v = child(p.parent, p.token);
        if (lh_json_type(v) != LH_JSON_OBJECT && lh_json_type(v) != LH_JSON_ARRAY)
            return fail(op, LH_E_INVALID, "a pointer leads through something that is not there");
        p.parent = lh_json_mut(v);
        if (!unescape((struct lh_str){start, (size_t)(at - start)}, memory, &p.token.n))
            return fail(op, LH_E_INVALID, "a pointer holds a '~' that is neither ~0 nor ~1");
    }
    p.memory = LH_TAKE_PTR(memory);
    *out = p;
    return 0;
}

/* The value that pointer leads to, borrowed. */
static int find(const struct op *op, struct lh_str pointer, const lh_json **out)
{
    struct place p;
    const lh_json *v;
    int rc = locate(op, pointer, &p);

    if (rc < 0)
        return rc;
    v = p.parent ? child(p.parent, p.token) : *op->doc;
    lh_free(p.memory);
    if (!v)
        return fail(op, LH_E_INVALID, "a pointer leads to something that is not there");
    *out = v;
    return 0;
}

/* Consumes value. */
static int put_at(const struct op *op, const struct place *p, lh_json *value, bool replaces)
{
    size_t i;
    int rc;

    if (lh_json_type(p->parent) == LH_JSON_OBJECT) {
        rc = lh_json_setn(p->parent, p->token, value);
    } else if (!array_index(p->token, lh_json_len(p->parent), !replaces, &i)) {
        lh_json_unref(value);
        return fail(op, LH_E_INVALID, "an array has no such index");
    } else if (replaces) {
        rc = lh_json_replace_at(p->parent, i, value);
    } else {
        rc = lh_json_insert(p->parent, i, value);
    }
    return rc < 0 ? lh_err_nomem(op->err) : 0;
}

/* Consumes value, which may be NULL for want of memory. */
static int put(const struct op *op, lh_json *value, bool replaces)
{
    struct place p;
    int rc;

    if (!value)
        return lh_err_nomem(op->err);
    rc = locate(op, op->path, &p);
    if (rc < 0) {
        lh_json_unref(value);
        return rc;
    }
    if (!p.parent) {
        lh_json_unref(*op->doc);
        *op->doc = value;
        return 0;
    }
    rc = put_at(op, &p, value, replaces);
    lh_free(p.memory);
    return rc;
}

static int drop(const struct op *op, struct lh_str pointer)
{
    const lh_json *v;
    struct place p;
    size_t i;
    int rc = find(op, pointer, &v);

    if (rc < 0)
        return rc;
    rc = locate(op, pointer, &p);
    if (rc < 0)
        return rc;
    if (!p.parent)
        return fail(op, LH_E_INVALID, "the whole document cannot be removed");
    if (lh_json_type(p.parent) == LH_JSON_OBJECT)
        rc = lh_json_deln(p.parent, p.token);
    else
        rc = array_index(p.token, lh_json_len(p.parent), false, &i) ? lh_json_del_at(p.parent, i)
                                                                    : -1;
    lh_free(p.memory);
    return rc < 0 ? lh_err_nomem(op->err) : 0;
}

static int op_add(const struct op *op)
{
    return put(op, lh_json_deep_copy(op->value), false);
}

static int op_remove(const struct op *op)
{
    return drop(op, op->path);
}

static int op_replace(const struct op *op)
{
    const lh_json *old;
    int rc = find(op, op->path, &old);

    return rc < 0 ? rc : put(op, lh_json_deep_copy(op->value), true);
}

static int op_test(const struct op *op)
{
    const lh_json *v;
    int rc = find(op, op->path, &v);

    if (rc < 0)
        return rc;
    return lh_json_equal(v, op->value) ? 0 : fail(op, LH_E_CONFLICT, "the test does not hold");
}

static int op_copy(const struct op *op)
{
    const lh_json *v;
    int rc = find(op, op->from, &v);

    return rc < 0 ? rc : put(op, lh_json_deep_copy(v), false);
}

static int op_move(const struct op *op)
{
    const lh_json *v;
    lh_json *moved;
    int rc = find(op, op->from, &v);

    if (rc < 0)
        return rc;
    if (lh_str_eq(op->from, op->path))
        return 0;
    if (lh_str_starts(op->path, op->from) && op->path.p[op->from.n] == '/')
        return fail(op, LH_E_INVALID, "a value cannot be moved into itself");
    moved = lh_json_ref(lh_json_mut(v));
    rc = drop(op, op->from);
    if (rc < 0) {
        lh_json_unref(moved);
        return rc;
    }
    return put(op, moved, false);
}

static const struct kind {
    const char *name;
    int (*fn)(const struct op *op);
    bool wants_value, wants_from;
} kinds[] = {
    {"add", op_add, true, false},         {"remove", op_remove, false, false},
    {"replace", op_replace, true, false}, {"test", op_test, true, false},
    {"copy", op_copy, false, true},       {"move", op_move, false, true},
};

static int apply_one(struct op *op, const lh_json *o)
{
    op->value = lh_json_get(o, "value");
    if (!lh_json_str(lh_json_get(o, "op"), &op->name) ||
        !lh_json_str(lh_json_get(o, "path"), &op->path))
        return fail(op, LH_E_INVALID, "it needs \"op\" and \"path\", both strings");
    for (size_t i = 0; i < LH_ARRAY_LEN(kinds); i++) {
        const struct kind *k = &kinds[i];

        if (!lh_str_eqz(op->name, k->name))
            continue;
        if (k->wants_value && !op->value)
            return fail(op, LH_E_INVALID, "it needs \"value\"");
        if (k->wants_from && !lh_json_str(lh_json_get(o, "from"), &op->from))
            return fail(op, LH_E_INVALID, "it needs \"from\", a string");
        return k->fn(op);
    }
    return fail(op, LH_E_INVALID, "\"op\" is none of add, remove, replace, test, copy, move");
}

int lh_jsonpatch_apply(const lh_json *doc, const lh_json *patch, lh_json **out, struct lh_err *err)
{
    lh_auto_json lh_json *copy = NULL;

    if (lh_json_type(patch) != LH_JSON_ARRAY)
        return lh_err_set(err, LH_E_INVALID, "a JSON patch is an array of operations");
    copy = lh_json_deep_copy(doc);
    if (!copy)
        return lh_err_nomem(err);
    for (size_t i = 0; i < lh_json_len(patch); i++) {
        struct op op = {.index = i, .doc = &copy, .err = err};
        int rc = apply_one(&op, lh_json_at(patch, i));

        if (rc < 0)
            return rc;
    }
    *out = LH_TAKE_PTR(copy);
    return 0;
}
