/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte-driven state machine: every byte is looked at once, what is kept is at most one object
 * and, for lists, the envelope. It finds where texts begin and end and that brackets match; the
 * grammar in between is checked when the text is parsed.
 */
#include "leasehold/codec/jsonsplit.h"

#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

/* Deeper texts are followed by count only; no parser of ours takes them. */
#define TYPED_DEPTH 64

enum state {
    S_START,      /* before a document */
    S_KEY,        /* list: a key or '}' */
    S_IN_KEY,     /* list: inside a key */
    S_COLON,      /* list: behind a key */
    S_VALUE,      /* list: before a member's value */
    S_SCALAR,     /* list: inside a number or word */
    S_COPY,       /* list: inside a member's value that is no scalar */
    S_NEXT,       /* list: behind a member */
    S_ITEMS,      /* list: before the array of items */
    S_ITEM,       /* list: an item, or ']' if there is none yet */
    S_ITEM_NEXT,  /* list: behind an item */
    S_ITEMS_NULL, /* list: inside "items": null */
    S_OBJECT,     /* inside an object that is to be emitted */
    S_DONE,       /* list: behind the document */
    S_FAILED,
};

struct lh_jsonsplit {
    enum lh_split_mode mode;
    size_t max_object;
    lh_split_fn emit;
    void *arg;

    enum state state;
    bool in_string, escaped; /* of the text that is passed over */
    size_t depth;            /* of brackets inside it */
    uint64_t braces;         /* bit per level: 1 is '{', 0 is '[' */
    bool skipping;           /* past max_object: only its end is looked for */
    struct lh_buf object;    /* what earlier feeds brought of the current object */

    struct lh_buf envelope;
    size_t member;      /* where the current member starts in the envelope */
    unsigned members;   /* in the envelope */
    unsigned null_seen; /* characters of "null" */
    bool after_comma, had_items;
};

/* One feed: bytes, where we are, and where the unsaved part of the current object starts. */
struct cursor {
    const char *p, *end, *start;
    struct lh_err *err;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int fail(struct lh_jsonsplit *s, struct cursor *c, const char *what)
{
    s->state = S_FAILED;
    return lh_err_set(c->err, LH_E_INVALID, "JSON stream: %s", what);
}

int lh_jsonsplit_new(enum lh_split_mode mode, size_t max_object, lh_split_fn emit, void *arg,
                     struct lh_jsonsplit **out, struct lh_err *err)
{
    struct lh_jsonsplit *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    s->mode = mode;
    s->max_object = max_object;
    s->emit = emit;
    s->arg = arg;
    lh_buf_init(&s->object, max_object);
    lh_buf_init(&s->envelope, max_object);
    *out = s;
    return 0;
}

void lh_jsonsplit_free(struct lh_jsonsplit *s)
{
    if (!s)
        return;
    lh_buf_done(&s->object);
    lh_buf_done(&s->envelope);
    lh_free(s);
}

static void passing_start(struct lh_jsonsplit *s)
{
    s->in_string = s->escaped = false;
    s->depth = 0;
    s->braces = 0;
}

static void open_bracket(struct lh_jsonsplit *s, char b)
{
    if (s->depth < TYPED_DEPTH) {
        uint64_t bit = UINT64_C(1) << s->depth;

        s->braces = b == '{' ? s->braces | bit : s->braces & ~bit;
    }
    s->depth++;
}

static int close_bracket(struct lh_jsonsplit *s, struct cursor *c, char b)
{
    s->depth--;
    if (s->depth < TYPED_DEPTH && ((s->braces >> s->depth) & 1) != (b == '}'))
        return fail(s, c, "brackets do not match");
    return 0;
}

/* Inside a string: up to its end or the end of what is there. */
static void pass_string(struct lh_jsonsplit *s, struct cursor *c)
{
    for (; c->p < c->end; c->p++) {
        if (s->escaped) {
            s->escaped = false;
        } else if (*c->p == '\\') {
            s->escaped = true;
        } else if (*c->p == '"') {
            s->in_string = false;
            c->p++;
            return;
        }
    }
}

/* Passes over a string, array or object; true once p is behind it. */
static int pass(struct lh_jsonsplit *s, struct cursor *c, bool *done)
{
    *done = false;
    while (c->p < c->end) {
        char b;
        int rc = 0;

        if (s->in_string) {
            pass_string(s, c);
        } else {
            b = *c->p;
            if (b == '"')
                s->in_string = true;
            else if (b == '{' || b == '[')
                open_bracket(s, b);
            else if (b == '}' || b == ']')
                rc = close_bracket(s, c, b);
            if (rc < 0)
                return rc;
            c->p++;
        }
        if (s->depth == 0 && !s->in_string) {
            *done = true;
            return 0;
        }
    }
    return 0;
}

/* Keeps [start, p) of the current object, or of one that is too large its first max_object bytes.
 */
static int save_object(struct lh_jsonsplit *s, struct cursor *c)
{
    size_t n = (size_t)(c->p - c->start), room = s->max_object - s->object.n;

    s->skipping |= n > room;
    lh_buf_put(&s->object, c->start, n > room ? room : n);
    c->start = c->p;
    return lh_buf_check(&s->object, c->err);
}

static int emit(struct lh_jsonsplit *s, struct cursor *c, enum lh_split_what what,
                struct lh_str text)
{
    int rc = s->emit(s->arg, what, text, c->err);

    if (rc < 0)
        s->state = S_FAILED;
    return rc;
}

/* The current object ends at p. An object that one feed brought whole is not copied. */
static int end_object(struct lh_jsonsplit *s, struct cursor *c)
{
    struct lh_str whole = {c->start, (size_t)(c->p - c->start)};
    int rc;

    s->state = s->mode == LH_SPLIT_STREAM ? S_START : S_ITEM_NEXT;
    if (s->object.n > 0 || s->skipping || whole.n > s->max_object) {
        rc = save_object(s, c);
        if (rc < 0)
            return rc;
        whole = lh_buf_peek(&s->object);
    }
    rc = emit(s, c, s->skipping ? LH_SPLIT_SKIPPED : LH_SPLIT_OBJECT, whole);
    s->skipping = false;
    /* A large object must not pin its memory until the next large one. */
    if (s->object.room > 65536) {
        lh_buf_done(&s->object);
        lh_buf_init(&s->object, s->max_object);
    } else {
        lh_buf_reset(&s->object);
    }
    return rc;
}

static int step_object(struct lh_jsonsplit *s, struct cursor *c)
{
    bool done;
    int rc = pass(s, c, &done);

    if (rc < 0)
        return rc;
    return done ? end_object(s, c) : save_object(s, c);
}

static void start_object(struct lh_jsonsplit *s, struct cursor *c)
{
    s->state = S_OBJECT;
    c->start = c->p;
    passing_start(s);
}

static int step_start(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p != '{')
        return fail(s, c, "not a JSON object");
    if (s->mode == LH_SPLIT_STREAM) {
        start_object(s, c);
        return 0;
    }
    lh_buf_put_c(&s->envelope, '{');
    s->state = S_KEY;
    c->p++;
    return 0;
}

static int end_list(struct lh_jsonsplit *s, struct cursor *c)
{
    int rc;

    c->p++;
    s->state = S_DONE;
    lh_buf_put_c(&s->envelope, '}');
    rc = lh_buf_check(&s->envelope, c->err);
    if (rc < 0)
        return rc;
    return emit(s, c, LH_SPLIT_ENVELOPE, lh_buf_peek(&s->envelope));
}

static int step_key(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p == '}' && !s->after_comma)
        return end_list(s, c);
    if (*c->p != '"')
        return fail(s, c, "expected a key");
    s->member = s->envelope.n;
    if (s->members > 0)
        lh_buf_put_c(&s->envelope, ',');
    lh_buf_put_c(&s->envelope, '"');
    passing_start(s);
    s->in_string = true;
    s->state = S_IN_KEY;
    c->p++;
    return 0;
}

static int step_in_key(struct lh_jsonsplit *s, struct cursor *c)
{
    const char *start = c->p;

    pass_string(s, c);
    lh_buf_put(&s->envelope, start, (size_t)(c->p - start));
    if (!s->in_string)
        s->state = S_COLON;
    return 0;
}

/* Behind "items": what the envelope holds of the member goes away again. */
static int step_colon(struct lh_jsonsplit *s, struct cursor *c)
{
    struct lh_str key;

    if (*c->p != ':')
        return fail(s, c, "expected ':'");
    c->p++;
    key = lh_buf_peek(&s->envelope);
    key.p += s->member + (s->members > 0);
    key.n -= s->member + (s->members > 0);
    if (!lh_str_eq(key, LH_STR("\"items\""))) {
        lh_buf_put_c(&s->envelope, ':');
        s->members++;
        s->state = S_VALUE;
        return 0;
    }
    if (s->had_items)
        return fail(s, c, "two members \"items\"");
    s->had_items = true;
    s->envelope.n = s->member;
    s->state = S_ITEMS;
    return 0;
}

static int step_value(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p == '{' || *c->p == '[' || *c->p == '"') {
        passing_start(s);
        s->state = S_COPY;
    } else if (*c->p == ',' || *c->p == '}' || *c->p == ']' || *c->p == ':') {
        return fail(s, c, "expected a value");
    } else {
        s->state = S_SCALAR;
    }
    return 0;
}

static int step_copy(struct lh_jsonsplit *s, struct cursor *c)
{
    const char *start = c->p;
    bool done;
    int rc = pass(s, c, &done);

    if (rc < 0)
        return rc;
    lh_buf_put(&s->envelope, start, (size_t)(c->p - start));
    if (done)
        s->state = S_NEXT;
    return 0;
}

static int step_scalar(struct lh_jsonsplit *s, struct cursor *c)
{
    const char *start = c->p;

    while (c->p < c->end && *c->p != ',' && *c->p != '}' && !is_space(*c->p))
        c->p++;
    lh_buf_put(&s->envelope, start, (size_t)(c->p - start));
    if (c->p < c->end)
        s->state = S_NEXT;
    return 0;
}

static int step_next(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p == '}')
        return end_list(s, c);
    if (*c->p != ',')
        return fail(s, c, "expected ',' or '}'");
    s->after_comma = true;
    s->state = S_KEY;
    c->p++;
    return 0;
}

/* An empty list is "items": [] or, from Go, null. */
static int step_items(struct lh_jsonsplit *s, struct cursor *c)
{
    s->after_comma = false;
    if (*c->p == '[') {
        s->state = S_ITEM;
        c->p++;
        return 0;
    }
    s->null_seen = 0;
    s->state = S_ITEMS_NULL;
    return 0;
}

static int step_items_null(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p != "null"[s->null_seen])
        return fail(s, c, "\"items\" is not an array");
    s->null_seen++;
    c->p++;
    if (s->null_seen == 4)
        s->state = S_NEXT;
    return 0;
}

static int step_item(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p == '{') {
        start_object(s, c);
        return 0;
    }
    if (*c->p != ']' || s->after_comma)
        return fail(s, c, "an item is not an object");
    s->state = S_NEXT;
    c->p++;
    return 0;
}

static int step_item_next(struct lh_jsonsplit *s, struct cursor *c)
{
    if (*c->p != ',' && *c->p != ']')
        return fail(s, c, "expected ',' or ']'");
    s->after_comma = *c->p == ',';
    s->state = s->after_comma ? S_ITEM : S_NEXT;
    c->p++;
    return 0;
}

static int step_done(struct lh_jsonsplit *s, struct cursor *c)
{
    return fail(s, c, "text after the document");
}

static int step_failed(struct lh_jsonsplit *s, struct cursor *c)
{
    return fail(s, c, "it failed before");
}

static const struct step {
    int (*fn)(struct lh_jsonsplit *s, struct cursor *c);
    bool skips_space;
} steps[] = {
    [S_START] = {step_start, true},         [S_KEY] = {step_key, true},
    [S_IN_KEY] = {step_in_key, false},      [S_COLON] = {step_colon, true},
    [S_VALUE] = {step_value, true},         [S_SCALAR] = {step_scalar, false},
    [S_COPY] = {step_copy, false},          [S_NEXT] = {step_next, true},
    [S_ITEMS] = {step_items, true},         [S_ITEM] = {step_item, true},
    [S_ITEM_NEXT] = {step_item_next, true}, [S_ITEMS_NULL] = {step_items_null, false},
    [S_OBJECT] = {step_object, false},      [S_DONE] = {step_done, true},
    [S_FAILED] = {step_failed, false},
};

int lh_jsonsplit_feed(struct lh_jsonsplit *s, struct lh_str bytes, size_t *used, struct lh_err *err)
{
    struct cursor c = {.p = bytes.p, .end = bytes.p + bytes.n, .start = bytes.p, .err = err};

    while (c.p < c.end) {
        const struct step *step = &steps[s->state];
        int rc;

        if (step->skips_space && is_space(*c.p)) {
            c.p++;
            continue;
        }
        rc = step->fn(s, &c);
        if (rc >= 0 && s->envelope.failed)
            rc = lh_buf_check(&s->envelope, err);
        if (rc < 0) {
            s->state = S_FAILED;
            return rc;
        }
        if (rc == 1 && used)
            break;
    }
    if (used)
        *used = (size_t)(c.p - bytes.p);
    return 0;
}

int lh_jsonsplit_end(struct lh_jsonsplit *s, struct lh_err *err)
{
    struct cursor c = {.err = err};

    if (s->state == S_DONE || (s->state == S_START && s->mode == LH_SPLIT_STREAM))
        return 0;
    return fail(s, &c, s->state == S_START ? "it is empty" : "it ended inside a document");
}
