/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/api/annotations.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define INPUT_MAX ((size_t)16 * 1024 * 1024)

static const struct lh_json_limits limits = {
    .max_bytes = INPUT_MAX, .max_depth = 64, .max_keys = 1000000};

static int read_stdin(struct cli_input *in, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    char part[65536];
    ssize_t n;

    lh_buf_init(&b, INPUT_MAX);
    do {
        n = read(STDIN_FILENO, part, sizeof(part));
        if (n < 0 && errno != EINTR)
            return lh_err_os(err, errno, "read standard input");
        if (n > 0)
            lh_buf_put(&b, part, (size_t)n);
    } while (n != 0);
    return lh_buf_finish(&b, &in->text, &in->n_bytes, err);
}

int cli_input_read(const char *path, struct cli_input *out, struct lh_err *err)
{
    struct cli_input in = {.name = path};
    int rc;

    if (strcmp(path, "-") == 0) {
        in.name = "<stdin>";
        rc = read_stdin(&in, err);
    } else {
        rc = lh_fs_read_at(AT_FDCWD, path, INPUT_MAX, &in.text, &in.n_bytes, err);
    }
    if (rc == 0)
        rc = lh_yaml_parse((struct lh_str){in.text, in.n_bytes}, in.name, &limits, &in.docs, &in.n,
                           err);
    if (rc < 0) {
        cli_input_done(&in);
        return rc;
    }
    *out = in;
    return 0;
}

void cli_input_done(struct cli_input *in)
{
    lh_yaml_free(in->docs, in->n);
    lh_free(in->text);
    *in = (struct cli_input){0};
}

static const lh_json *items_of(const lh_json *value)
{
    const char *kind = lh_json_get_z(value, "kind");
    const lh_json *items = lh_json_get(value, "items");
    size_t n = kind ? strlen(kind) : 0;

    if (n < 4 || strcmp(kind + n - 4, "List") != 0 || lh_json_type(items) != LH_JSON_ARRAY)
        return NULL;
    return items;
}

int cli_input_each(const struct cli_input *in, cli_object_fn fn, void *arg, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < in->n && rc == 0; i++) {
        struct cli_object o = {.in = in, .doc = i, .value = in->docs[i].value};
        const lh_json *items = items_of(o.value);

        if (lh_json_type(o.value) == LH_JSON_NULL)
            continue;
        if (!items) {
            rc = fn(arg, &o, err);
            continue;
        }
        o.in_list = true;
        for (size_t k = 0; k < lh_json_len(items) && rc == 0; k++) {
            o.item = k;
            o.value = lh_json_at(items, k);
            rc = fn(arg, &o, err);
        }
    }
    return rc;
}

int cli_line(const struct cli_object *o, const char *path)
{
    struct lh_str text = {o->in->text, o->in->n_bytes};
    lh_auto_free char *whole = NULL;
    int line = 0;

    whole = o->in_list ? lh_asprintf("items[%zu]%s%s", o->item, *path ? "." : "", path)
                       : lh_strdup(path);
    if (whole)
        line = lh_yaml_line_of(text, o->doc, whole);
    return line > 0 ? line : o->in->docs[o->doc].line;
}

int cli_problem_line(const struct cli_object *o, const struct lh_pod_at *pod,
                     const struct lh_problem *p)
{
    const char *field = p->outer ? "" : pod->field;
    lh_auto_free char *path = NULL;

    if (strncmp(p->where, LH_ANNOTATION_PREFIX, strlen(LH_ANNOTATION_PREFIX)) == 0)
        path = lh_asprintf("%smetadata.annotations[%s]", field, p->where);
    else if (strncmp(p->where, field, strlen(field)) == 0)
        path = lh_strdup(p->where);
    else
        path = lh_asprintf("%s%s", field, p->where);
    return cli_line(o, path ? path : "");
}

int cli_error_line(const struct cli_object *o, const struct lh_err *err)
{
    /* 'Kind "name": spec.items[0].path: text' */
    const char *start = strstr(err->msg, "\": "), *end;
    lh_auto_free char *path = NULL;

    if (!start)
        return cli_line(o, "");
    start += 3;
    end = strstr(start, ": ");
    if (!end || memchr(start, ' ', (size_t)(end - start)))
        return cli_line(o, "");
    path = lh_strndup(start, (size_t)(end - start));
    return cli_line(o, path ? path : "");
}
