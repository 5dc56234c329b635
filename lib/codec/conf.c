/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values are collected per option, the weakest source first, and written to the program's struct
 * only when every source was read: a failure leaves it untouched.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf_priv.h"
#include "leasehold/codec/duration.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

enum { MAX_FILE = 1 << 20, MAX_NAME = 128 };

struct value {
    bool b;
    char *s; /* owned; NULL: none */
    int64_t i;
};

struct lh_conf {
    struct value *values; /* one an option */
    size_t n;
    const char **args;
    size_t n_args;
};

struct parser {
    const struct lh_opt_set *set;
    struct lh_conf *conf;
    struct lh_err *err;
};

void lh_conf_put_key(struct lh_buf *b, const char *name)
{
    for (const char *p = name; *p; p++) {
        if (*p == '-' && p[1])
            lh_buf_put_c(b, (char)(*++p - 'a' + 'A'));
        else
            lh_buf_put_c(b, *p);
    }
}

void lh_conf_put_env(struct lh_buf *b, const char *name)
{
    lh_buf_put_z(b, "LEASEHOLD_");
    for (const char *p = name; *p; p++)
        lh_buf_put_c(b, *p == '-' ? '_' : (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p));
}

static size_t count(const struct lh_opt_set *set)
{
    size_t n = 0;

    while (set->opts[n].name)
        n++;
    return n;
}

static void *field(void *target, const struct lh_opt *o)
{
    return (char *)target + o->offset;
}

static int set_bool(struct value *v, struct lh_str text, struct lh_err *err)
{
    if (!lh_str_eqz(text, "true") && !lh_str_eqz(text, "false"))
        return lh_err_set(err, LH_E_INVALID, "write true or false");
    v->b = lh_str_eqz(text, "true");
    return 0;
}

static int set_string(struct value *v, struct lh_str text, struct lh_err *err)
{
    char *copy;

    if (memchr(text.p, '\0', text.n))
        return lh_err_set(err, LH_E_INVALID, "the text holds a NUL");
    copy = lh_str_dup(text);
    if (!copy)
        return lh_err_nomem(err);
    lh_free(v->s);
    v->s = copy;
    return 0;
}

/* text to the value of o; the caller says in front of the error where it stands. */
static int set_text(const struct lh_opt *o, struct value *v, struct lh_str text, struct lh_err *err)
{
    long long i;

    switch (o->type) {
    case LH_OPT_BOOL:
        return set_bool(v, text, err);
    case LH_OPT_STRING:
        return set_string(v, text, err);
    case LH_OPT_INT:
        if (!lh_str_to_i64(text, INT64_MIN, INT64_MAX, &i))
            return lh_err_set(err, LH_E_INVALID, "not a whole number");
        v->i = i;
        return 0;
    case LH_OPT_DURATION:
        return lh_duration_ms(text, &v->i, err);
    case LH_OPT_QUANTITY:
        return lh_quantity_whole(text, &v->i, err);
    }
    return lh_err_set(err, LH_E_INVALID, "unknown type of option");
}

static int set_defaults(struct parser *p)
{
    for (size_t i = 0; i < p->conf->n; i++) {
        const struct lh_opt *o = &p->set->opts[i];
        int rc = o->def ? set_text(o, &p->conf->values[i], lh_str(o->def), p->err) : 0;

        if (rc < 0)
            return lh_err_wrap(p->err, rc, "default of --%s", o->name);
    }
    return 0;
}

/* The nearest name of an option, for "did you mean"; NULL if none is near. */
static const char *nearest(const struct lh_opt_set *set, struct lh_str name)
{
    size_t n = count(set);
    lh_auto_free const char **names = lh_calloc(n + 1, sizeof(*names));

    if (!names)
        return NULL;
    for (size_t i = 0; i < n; i++)
        names[i] = set->opts[i].name;
    return lh_str_nearest(name, names);
}

/* A name out of the input, fit for an error: printable ASCII, not too long. */
static const char *shown(struct lh_str name, char buf[MAX_NAME])
{
    size_t n = name.n < MAX_NAME - 1 ? name.n : MAX_NAME - 1;

    for (size_t i = 0; i < n; i++)
        buf[i] = (char)(name.p[i] > 0x20 && name.p[i] < 0x7f ? name.p[i] : '?');
    buf[n] = '\0';
    return buf;
}

static bool key_is(const char *name, struct lh_str key)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, MAX_NAME);
    lh_conf_put_key(&b, name);
    return lh_str_eq(lh_buf_peek(&b), key);
}

static int unknown_key(struct parser *p, struct lh_str key)
{
    lh_auto_buf struct lh_buf kebab, hint;
    char buf[MAX_NAME];
    const char *near;

    lh_buf_init(&kebab, MAX_NAME);
    lh_buf_init(&hint, MAX_NAME);
    for (size_t i = 0; i < key.n && key.n < MAX_NAME / 2; i++) {
        if (key.p[i] >= 'A' && key.p[i] <= 'Z')
            lh_buf_printf(&kebab, "-%c", key.p[i] - 'A' + 'a');
        else
            lh_buf_put_c(&kebab, key.p[i]);
    }
    near = nearest(p->set, lh_buf_peek(&kebab));
    if (!near)
        return lh_err_set(p->err, LH_E_INVALID, "unknown key \"%s\"", shown(key, buf));
    lh_conf_put_key(&hint, near);
    return lh_err_set(p->err, LH_E_INVALID, "unknown key \"%s\", did you mean \"%s\"?",
                      shown(key, buf), lh_buf_peek(&hint).p);
}

/* A YAML value to an option. Text and numbers are told apart, so that `0440` is never text by
 * accident. */
static int set_yaml(const struct lh_opt *o, struct value *v, const lh_json *y, struct lh_err *err)
{
    enum lh_json_type t = lh_json_type(y);
    lh_auto_buf struct lh_buf number = {0};
    struct lh_str text;
    bool b;

    if (o->type == LH_OPT_BOOL) {
        if (!lh_json_bool(y, &b))
            return lh_err_set(err, LH_E_INVALID, "write true or false");
        v->b = b;
        return 0;
    }
    if (o->type != LH_OPT_INT && lh_json_str(y, &text))
        return set_text(o, v, text, err);
    if (t != LH_JSON_NUMBER || o->type == LH_OPT_STRING || o->type == LH_OPT_DURATION)
        return lh_err_set(err, LH_E_INVALID,
                          o->type == LH_OPT_INT      ? "write a whole number without quotes"
                          : o->type == LH_OPT_STRING ? "not a text: quote it"
                                                     : "write a text such as 30s or 64Mi");
    lh_buf_init(&number, 2048);
    lh_json_write(y, LH_JSON_COMPACT, &number);
    return set_text(o, v, lh_buf_peek(&number), err);
}

static int set_member(struct parser *p, struct lh_str key, const lh_json *y)
{
    char buf[MAX_NAME];
    int rc;

    for (size_t i = 0; i < p->conf->n; i++) {
        const struct lh_opt *o = &p->set->opts[i];

        if (!key_is(o->name, key))
            continue;
        rc = set_yaml(o, &p->conf->values[i], y, p->err);
        return rc < 0 ? lh_err_wrap(p->err, rc, "%s", shown(key, buf)) : 0;
    }
    return unknown_key(p, key);
}

static int set_members(struct parser *p, const char *file, struct lh_str text, const lh_json *doc)
{
    const lh_json *y;
    struct lh_str key;
    void *it = NULL;

    while (lh_json_next(doc, &it, &key, &y)) {
        int rc = set_member(p, key, y);

        if (rc < 0) /* the key is NUL-terminated: jansson's keys are */
            return lh_err_wrap(p->err, rc, "%s:%d", file, lh_yaml_line_of(text, 0, key.p));
    }
    return 0;
}

static int read_file(struct parser *p, const char *file)
{
    lh_auto_free char *memory = NULL;
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0, n_docs = 0;
    struct lh_str text;
    int rc;

    rc = lh_fs_read_at(AT_FDCWD, file, MAX_FILE, &memory, &n, p->err);
    if (rc < 0)
        return lh_err_wrap(p->err, rc, "configuration file");
    text = (struct lh_str){memory, n};
    rc = lh_yaml_parse(text, file, NULL, &docs, &n_docs, p->err);
    if (rc < 0)
        return rc;
    if (n_docs > 1)
        rc = lh_err_set(p->err, LH_E_INVALID, "%s:%d: more than one document", file, docs[1].line);
    else if (n_docs == 1 && lh_json_type(docs[0].value) != LH_JSON_OBJECT)
        rc = lh_err_set(p->err, LH_E_INVALID, "%s:%d: not a mapping of keys to values", file,
                        docs[0].line);
    else if (n_docs == 1)
        rc = set_members(p, file, text, docs[0].value);
    lh_yaml_free(docs, n_docs);
    return rc;
}

static int read_env(struct parser *p)
{
    for (size_t i = 0; i < p->conf->n; i++) {
        const struct lh_opt *o = &p->set->opts[i];
        lh_auto_buf struct lh_buf name = {0};
        const char *text;
        int rc;

        if (!o->env)
            continue;
        lh_buf_init(&name, MAX_NAME);
        lh_conf_put_env(&name, o->name);
        text = getenv(lh_buf_peek(&name).p);
        if (!text || !*text)
            continue; /* an empty variable is how a manifest unsets one */
        rc = set_text(o, &p->conf->values[i], lh_str(text), p->err);
        if (rc < 0)
            return lh_err_wrap(p->err, rc, "environment variable %s", lh_buf_peek(&name).p);
    }
    return 0;
}

/* The word after a flag that needs one. What looks like the next flag is a forgotten value. */
static const char *next_word(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1] == '-'))
        return NULL;
    return argv[++*i];
}

static int set_flag(struct parser *p, size_t at, const char *spelled, struct lh_str text)
{
    int rc = set_text(&p->set->opts[at], &p->conf->values[at], text, p->err);

    return rc < 0 ? lh_err_wrap(p->err, rc, "%s", spelled) : 0;
}

static int take_long(struct parser *p, int argc, char **argv, int *i)
{
    char spelled[MAX_NAME], buf[MAX_NAME];
    struct lh_str name, text = {NULL, 0};
    const char *word, *near;
    bool has_text = lh_str_cut(lh_str(argv[*i] + 2), '=', &name, &text);

    for (size_t at = 0; at < p->conf->n; at++) {
        const struct lh_opt *o = &p->set->opts[at];

        if (!lh_str_eqz(name, o->name))
            continue;
        snprintf(spelled, sizeof(spelled), "--%s", o->name);
        if (has_text)
            return set_flag(p, at, spelled, text);
        if (o->type == LH_OPT_BOOL)
            return set_flag(p, at, spelled, LH_STR("true"));
        word = next_word(argc, argv, i);
        if (!word)
            return lh_err_set(p->err, LH_E_INVALID, "--%s needs a value: --%s %s", o->name, o->name,
                              o->arg ? o->arg : "VALUE");
        return set_flag(p, at, spelled, lh_str(word));
    }
    near = nearest(p->set, name);
    if (near)
        return lh_err_set(p->err, LH_E_INVALID, "unknown flag --%s, did you mean --%s?",
                          shown(name, buf), near);
    return lh_err_set(p->err, LH_E_INVALID, "unknown flag --%s", shown(name, buf));
}

/* "-f FILE", "-fFILE", and letters without a value run together. */
static int take_letters(struct parser *p, int argc, char **argv, int *i)
{
    for (const char *c = argv[*i] + 1; *c; c++) {
        char spelled[3] = {'-', *c, '\0'};
        const char *word;
        size_t at = 0;
        int rc;

        while (at < p->conf->n && p->set->opts[at].letter != *c)
            at++;
        if (at == p->conf->n)
            return lh_err_set(p->err, LH_E_INVALID, "unknown flag -%c",
                              *c > 0x20 && *c < 0x7f ? *c : '?');
        if (p->set->opts[at].type == LH_OPT_BOOL) {
            rc = set_flag(p, at, spelled, LH_STR("true"));
            if (rc < 0)
                return rc;
            continue;
        }
        word = c[1] ? c + 1 : next_word(argc, argv, i);
        if (!word)
            return lh_err_set(p->err, LH_E_INVALID, "%s needs a value", spelled);
        return set_flag(p, at, spelled, lh_str(word));
    }
    return 0;
}

static int read_args(struct parser *p, int argc, char **argv)
{
    bool flags = true;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        int rc = 0;

        if (!flags || a[0] != '-' || a[1] == '\0')
            p->conf->args[p->conf->n_args++] = a;
        else if (strcmp(a, "--") == 0)
            flags = false;
        else if (a[1] == '-')
            rc = take_long(p, argc, argv, &i);
        else
            rc = take_letters(p, argc, argv, &i);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void store(const struct parser *p, void *target)
{
    for (size_t i = 0; i < p->conf->n; i++) {
        const struct lh_opt *o = &p->set->opts[i];
        const struct value *v = &p->conf->values[i];

        if (o->type == LH_OPT_BOOL)
            *(bool *)field(target, o) = v->b;
        else if (o->type == LH_OPT_STRING)
            *(const char **)field(target, o) = v->s;
        else
            *(int64_t *)field(target, o) = v->i;
    }
}

static void free_ptr(struct lh_conf **c)
{
    lh_conf_free(*c);
}

int lh_conf_parse(const struct lh_opt_set *set, int argc, char **argv, const char *file,
                  void *target, struct lh_conf **out, const char *const **args, struct lh_err *err)
{
    __attribute__((cleanup(free_ptr))) struct lh_conf *c = lh_calloc(1, sizeof(*c));
    struct parser p = {set, c, err};
    int rc;

    if (!c)
        return lh_err_nomem(err);
    c->values = lh_calloc(count(set) + 1, sizeof(*c->values));
    c->args = lh_calloc((size_t)(argc > 0 ? argc : 0) + 1, sizeof(*c->args));
    if (!c->values || !c->args)
        return lh_err_nomem(err);
    c->n = count(set);
    rc = set_defaults(&p);
    if (rc == 0 && file)
        rc = read_file(&p, file);
    if (rc == 0)
        rc = read_env(&p);
    if (rc == 0)
        rc = read_args(&p, argc, argv);
    if (rc < 0)
        return rc;
    store(&p, target);
    if (args)
        *args = c->args;
    *out = LH_TAKE_PTR(c);
    return 0;
}

void lh_conf_free(struct lh_conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        lh_free(c->values[i].s);
    lh_free(c->values);
    lh_free(c->args);
    lh_free(c);
}
