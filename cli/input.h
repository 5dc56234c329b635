/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_INPUT_H
#define LEASEHOLD_CLI_INPUT_H

/* Manifests as the user wrote them: documents, the objects in them, and the line of each field. */
#include "leasehold/codec/yaml.h"
#include "leasehold/inject/inject.h"

struct cli_input {
    const char *name; /* as given, "-" as "<stdin>"; borrowed */
    char *text;
    size_t n_bytes;
    struct lh_yaml_doc *docs;
    size_t n;
};

/* path "-": standard input. Errors name file and line. */
int cli_input_read(const char *path, struct cli_input *out, struct lh_err *err);
void cli_input_done(struct cli_input *in);

/* An object, or one item of a List. */
struct cli_object {
    const struct cli_input *in;
    size_t doc;
    const lh_json *value;
    bool in_list;
    size_t item;
};
typedef int (*cli_object_fn)(void *arg, const struct cli_object *o, struct lh_err *err);
/* Every object in order, until fn returns other than 0; its result. Empty documents are skipped. */
int cli_input_each(const struct cli_input *in, cli_object_fn fn, void *arg, struct lh_err *err);

/* Line of a field path ("spec.vault") of the object, or of its nearest parent that is there. */
int cli_line(const struct cli_object *o, const char *path);
/* Line of what the problem is about. */
int cli_problem_line(const struct cli_object *o, const struct lh_pod_at *pod,
                     const struct lh_problem *p);
/* Line of the field that an error of lh_store_parse or lh_projection_parse names. */
int cli_error_line(const struct cli_object *o, const struct lh_err *err);

#endif
