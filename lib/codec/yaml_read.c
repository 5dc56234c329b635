/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events to JSON values. What would let a small text make a large value (anchors, merge
 * keys), or mean different things to different readers (tags, duplicate keys), is refused where it
 * stands.
 */
#include <yaml.h>

#include "json_priv.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"
#include "yaml_priv.h"

struct reader {
    yaml_parser_t parser;
    struct lh_str text;
    const char *what;
    struct lh_json_limits limits;
    size_t keys;
    struct lh_err *err;
};

static int parse_node(struct reader *r, yaml_event_t *ev, size_t depth, lh_json **out);

static int fail(struct reader *r, int code, size_t line, const char *problem)
{
    return lh_err_set(r->err, code, "%s:%zu: %s", r->what, line + 1, problem);
}

static int fail_at(struct reader *r, int code, const yaml_event_t *ev, const char *problem)
{
    return fail(r, code, ev->start_mark.line, problem);
}

static size_t line_of_offset(struct lh_str text, size_t offset)
{
    size_t line = 0;

    for (size_t i = 0; i < offset && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}

/* libyaml's problem texts are constants; they quote nothing. */
static int fail_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be read as YAML";

    if (p->error == YAML_MEMORY_ERROR)
        return lh_err_nomem(r->err);
    if (p->error == YAML_READER_ERROR)
        return fail(r, LH_E_INVALID, line_of_offset(r->text, p->problem_offset), problem);
    if (!p->context)
        return fail(r, LH_E_INVALID, p->problem_mark.line, problem);
    return lh_err_set(r->err, LH_E_INVALID, "%s:%zu: %s (%s, line %zu)", r->what,
                      p->problem_mark.line + 1, problem, p->context, p->context_mark.line + 1);
}

static int next(struct reader *r, yaml_event_t *ev)
{
    return yaml_parser_parse(&r->parser, ev) ? 0 : fail_parser(r);
}

static int count_member(struct reader *r, const yaml_event_t *ev)
{
    if (r->keys == r->limits.max_keys)
        return fail_at(r, LH_E_TOOBIG, ev, "too many members");
    r->keys++;
    return 0;
}

/* A tag or anchor on any node. */
static int check_properties(struct reader *r, const yaml_event_t *ev)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return fail_at(r, LH_E_INVALID, ev, "aliases are not supported: repeat the value");
    case YAML_SCALAR_EVENT:
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return fail_at(r, LH_E_INVALID, ev, "anchors are not supported: repeat the value");
    if (tag)
        return fail_at(r, LH_E_INVALID, ev, "tags are not supported: quote the value instead");
    return 0;
}

static struct lh_str scalar_text(const yaml_event_t *ev)
{
    return (struct lh_str){(const char *)ev->data.scalar.value, ev->data.scalar.length};
}

static enum yaml_scalar resolve(const yaml_event_t *ev, struct lh_buf *number)
{
    if (ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return YAML_STRING;
    return lh_yaml_resolve(scalar_text(ev), number);
}

static int parse_scalar(struct reader *r, const yaml_event_t *ev, lh_json **out)
{
    lh_auto_buf struct lh_buf number = {0};
    lh_json *v = NULL;
    int rc;

    lh_buf_init(&number, 2048);
    switch (resolve(ev, &number)) {
    case YAML_NULL:
        v = lh_json_new_null();
        break;
    case YAML_TRUE:
        v = lh_json_new_bool(true);
        break;
    case YAML_FALSE:
        v = lh_json_new_bool(false);
        break;
    case YAML_NUMBER:
        rc = lh_buf_check(&number, r->err);
        if (rc < 0)
            return rc;
        v = lh_json_new_number(lh_buf_peek(&number));
        break;
    case YAML_NO_JSON:
        return fail_at(r, LH_E_INVALID, ev,
                       "JSON has no such number: quote it if it is meant as text");
    case YAML_MERGE:
    case YAML_STRING:
        v = lh_json_new_str(scalar_text(ev));
        break;
    }
    if (!v)
        return lh_err_nomem(r->err);
    *out = v;
    return 0;
}

static int parse_sequence(struct reader *r, size_t depth, lh_json **out)
{
    lh_auto_json lh_json *arr = lh_json_new_array();

    if (!arr)
        return lh_err_nomem(r->err);
    for (;;) {
        lh_json *item = NULL;
        yaml_event_t ev;
        int rc = next(r, &ev);

        if (rc < 0)
            return rc;
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            *out = LH_TAKE_PTR(arr);
            return 0;
        }
        rc = count_member(r, &ev);
        if (rc == 0)
            rc = parse_node(r, &ev, depth, &item);
        yaml_event_delete(&ev);
        if (rc < 0)
            return rc;
        if (lh_json_push(arr, item) < 0)
            return lh_err_nomem(r->err);
    }
}

/* Keys of other types become text, as Kubernetes' reader makes them: `on:` is "true". It rounds
 * numbers that are no integers; here they are refused. */
static int parse_key(struct reader *r, const yaml_event_t *ev, const lh_json *obj,
                     struct lh_buf *key)
{
    struct lh_str text;
    long long number;
    int rc = check_properties(r, ev);

    if (rc < 0)
        return rc;
    if (ev->type != YAML_SCALAR_EVENT)
        return fail_at(r, LH_E_INVALID, ev, "a key must be a plain or quoted text");
    switch (resolve(ev, key)) {
    case YAML_MERGE:
        return fail_at(r, LH_E_INVALID, ev, "merge keys are not supported: repeat the members");
    case YAML_NULL:
    case YAML_NO_JSON:
        return fail_at(r, LH_E_INVALID, ev, "a key must be a plain or quoted text");
    case YAML_TRUE:
    case YAML_FALSE:
        lh_buf_put_z(key, resolve(ev, NULL) == YAML_TRUE ? "true" : "false");
        break;
    case YAML_STRING:
        lh_buf_put_str(key, scalar_text(ev));
        break;
    case YAML_NUMBER:
        if (!lh_str_to_i64(lh_buf_peek(key), INT64_MIN, INT64_MAX, &number))
            return fail_at(r, LH_E_INVALID, ev, "a number as a key: quote it");
        break;
    }
    rc = lh_buf_check(key, r->err);
    if (rc < 0)
        return rc;
    text = lh_buf_peek(key);
    if (memchr(text.p, '\0', text.n))
        return fail_at(r, LH_E_INVALID, ev, "NUL in a key");
    if (lh_json_getn(obj, text))
        return fail_at(r, LH_E_INVALID, ev, "duplicate key");
    return 0;
}

static int parse_member(struct reader *r, const yaml_event_t *key_event, size_t depth, lh_json *obj)
{
    lh_auto_buf struct lh_buf key;
    lh_json *value = NULL;
    yaml_event_t ev;
    int rc;

    lh_buf_init(&key, r->limits.max_bytes);
    rc = count_member(r, key_event);
    if (rc == 0)
        rc = parse_key(r, key_event, obj, &key);
    if (rc < 0)
        return rc;
    rc = next(r, &ev);
    if (rc < 0)
        return rc;
    rc = parse_node(r, &ev, depth, &value);
    yaml_event_delete(&ev);
    if (rc < 0)
        return rc;
    return lh_json_setn(obj, lh_buf_peek(&key), value) < 0 ? lh_err_nomem(r->err) : 0;
}

static int parse_mapping(struct reader *r, size_t depth, lh_json **out)
{
    lh_auto_json lh_json *obj = lh_json_new_object();

    if (!obj)
        return lh_err_nomem(r->err);
    for (;;) {
        yaml_event_t ev;
        int rc = next(r, &ev);

        if (rc < 0)
            return rc;
        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            *out = LH_TAKE_PTR(obj);
            return 0;
        }
        rc = parse_member(r, &ev, depth, obj);
        yaml_event_delete(&ev);
        if (rc < 0)
            return rc;
    }
}

/* ev stays the caller's. */
static int parse_node(struct reader *r, yaml_event_t *ev, size_t depth, lh_json **out)
{
    int rc = check_properties(r, ev);

    if (rc < 0)
        return rc;
    if (ev->type == YAML_SCALAR_EVENT)
        return parse_scalar(r, ev, out);
    if (depth == r->limits.max_depth)
        return fail_at(r, LH_E_TOOBIG, ev, "nested too deep");
    if (ev->type == YAML_SEQUENCE_START_EVENT)
        return parse_sequence(r, depth + 1, out);
    if (ev->type == YAML_MAPPING_START_EVENT)
        return parse_mapping(r, depth + 1, out);
    return fail_at(r, LH_E_INVALID, ev, "expected a value");
}

/* The document that start (a document start event) opens, up to and with its end. */
static int parse_document(struct reader *r, const yaml_event_t *start, struct lh_vec *docs)
{
    struct lh_yaml_doc doc = {NULL, 0};
    lh_auto_json lh_json *value = NULL;
    yaml_event_t ev;
    int rc = count_member(r, start);

    if (rc < 0)
        return rc;
    rc = next(r, &ev);
    if (rc < 0)
        return rc;
    doc.line = (int)ev.start_mark.line + 1;
    rc = parse_node(r, &ev, 0, &value);
    yaml_event_delete(&ev);
    if (rc < 0)
        return rc;
    rc = next(r, &ev);
    if (rc < 0)
        return rc;
    yaml_event_delete(&ev);
    if (lh_json_type(value) == LH_JSON_NULL)
        return 0;
    doc.value = value;
    if (!lh_vec_push(docs, &doc))
        return lh_err_nomem(r->err);
    value = NULL;
    return 0;
}

static int parse_stream(struct reader *r, struct lh_vec *docs)
{
    for (;;) {
        yaml_event_type_t type;
        yaml_event_t ev;
        int rc = next(r, &ev);

        if (rc < 0)
            return rc;
        type = ev.type;
        if (type == YAML_DOCUMENT_START_EVENT)
            rc = parse_document(r, &ev, docs);
        yaml_event_delete(&ev);
        if (rc < 0 || type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT)
            return rc;
    }
}

static struct lh_str without_bom(struct lh_str text)
{
    if (lh_str_starts(text, LH_STR("\xef\xbb\xbf")))
        return (struct lh_str){text.p + 3, text.n - 3};
    return text;
}

static int open_parser(yaml_parser_t *p, struct lh_str text)
{
    if (!yaml_parser_initialize(p))
        return -1;
    /* Said beforehand, since libyaml would take two bytes in front as a sign for UTF-16. */
    yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(p, (const unsigned char *)text.p, text.n);
    return 0;
}

int lh_yaml_parse(struct lh_str text, const char *what, const struct lh_json_limits *limits,
                  struct lh_yaml_doc **out, size_t *n, struct lh_err *err)
{
    struct reader r = {.text = without_bom(text), .what = what, .err = err};
    struct lh_vec docs;
    int rc;

    r.limits = lh_json_limits_fill(limits);
    if (text.n > r.limits.max_bytes)
        return lh_err_set(err, LH_E_TOOBIG, "%s: %zu bytes are more than %zu", what, text.n,
                          r.limits.max_bytes);
    if (open_parser(&r.parser, r.text) < 0)
        return lh_err_nomem(err);
    lh_vec_init(&docs, sizeof(struct lh_yaml_doc));
    rc = parse_stream(&r, &docs);
    yaml_parser_delete(&r.parser);
    if (rc < 0) {
        lh_yaml_free(docs.p, docs.n);
        return rc;
    }
    *out = docs.p;
    *n = docs.n;
    return 0;
}

void lh_yaml_free(struct lh_yaml_doc *docs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lh_json_unref(docs[i].value);
    lh_free(docs);
}

/* What is looked for, and the line of the longest part of it that was met. */
struct finder {
    yaml_parser_t parser;
    const char *path;
    size_t matched;
    int line;
};

static bool find_node(struct finder *f, yaml_event_t *ev, const char *rest, int depth);

/* What is left of rest behind this key, NULL if it names another. */
static const char *match_key(const char *rest, struct lh_str key)
{
    if (*rest == '.')
        rest++;
    if (*rest == '[') {
        rest++;
        if (strncmp(rest, key.p, key.n) == 0 && rest[key.n] == ']')
            return rest + key.n + 1;
        return NULL;
    }
    if (strncmp(rest, key.p, key.n) != 0)
        return NULL;
    rest += key.n;
    return *rest == '\0' || *rest == '.' || *rest == '[' ? rest : NULL;
}

static const char *match(struct finder *f, const char *rest, struct lh_str key, size_t line)
{
    const char *behind = rest ? match_key(rest, key) : NULL;

    if (behind && (size_t)(behind - f->path) > f->matched) {
        f->matched = (size_t)(behind - f->path);
        f->line = (int)line + 1;
    }
    return behind;
}

/* Walks over a mapping or sequence; false on an error. */
static bool find_members(struct finder *f, bool mapping, const char *rest, int depth)
{
    for (size_t i = 0;; i++) {
        const char *behind;
        char index[24];
        yaml_event_t ev;
        bool ok;

        if (!yaml_parser_parse(&f->parser, &ev))
            return false;
        if (ev.type == YAML_MAPPING_END_EVENT || ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return true;
        }
        if (mapping) {
            struct lh_str key = ev.type == YAML_SCALAR_EVENT ? scalar_text(&ev) : LH_STR("");

            behind = match(f, key.n > 0 ? rest : NULL, key, ev.start_mark.line);
            ok = ev.type == YAML_SCALAR_EVENT;
            yaml_event_delete(&ev);
            if (!ok || !yaml_parser_parse(&f->parser, &ev))
                return false;
        } else {
            snprintf(index, sizeof(index), "%zu", i);
            behind =
                match(f, rest && *rest == '[' ? rest : NULL, lh_str(index), ev.start_mark.line);
        }
        ok = find_node(f, &ev, behind, depth + 1);
        yaml_event_delete(&ev);
        if (!ok)
            return false;
    }
}

static bool find_node(struct finder *f, yaml_event_t *ev, const char *rest, int depth)
{
    if (depth > JSON_HARD_DEPTH)
        return false;
    if (ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT)
        return find_members(f, ev->type == YAML_MAPPING_START_EVENT, rest, depth);
    return ev->type == YAML_SCALAR_EVENT;
}

/* The next document that is not empty; true if it is the one with number 0. */
static bool find_document(struct finder *f, size_t *document, bool *end)
{
    yaml_event_t ev;
    bool counts, ok = true;

    if (!yaml_parser_parse(&f->parser, &ev)) {
        *end = true;
        return false;
    }
    *end = ev.type == YAML_STREAM_END_EVENT || ev.type == YAML_NO_EVENT;
    /* Start and end of stream and documents are passed over: a root is what else there is. */
    if (ev.type != YAML_SCALAR_EVENT && ev.type != YAML_MAPPING_START_EVENT &&
        ev.type != YAML_SEQUENCE_START_EVENT) {
        yaml_event_delete(&ev);
        return false;
    }
    counts = ev.type != YAML_SCALAR_EVENT || resolve(&ev, NULL) != YAML_NULL;
    if (counts && *document == 0)
        f->line = (int)ev.start_mark.line + 1;
    ok = find_node(f, &ev, counts && *document == 0 ? f->path : NULL, 0);
    yaml_event_delete(&ev);
    *end = !ok;
    if (!counts)
        return false;
    return (*document)-- == 0;
}

int lh_yaml_line_of(struct lh_str text, size_t document, const char *path)
{
    struct finder f = {.path = path};
    bool end = false;

    if (open_parser(&f.parser, without_bom(text)) < 0)
        return 0;
    while (!end && !find_document(&f, &document, &end))
        ;
    yaml_parser_delete(&f.parser);
    return f.line;
}
