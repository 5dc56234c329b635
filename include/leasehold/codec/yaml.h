/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_YAML_H
#define LEASEHOLD_CODEC_YAML_H

/*
 * YAML as Kubernetes manifests use it, to JSON values: YAML 1.1 core scalars (true/false, null,
 * integers, floats kept as literal text), no anchors or aliases (billion laughs), no tags, no
 * duplicate keys, no merge keys; limits as JSON. Every mapping and sequence remembers its line for
 * error messages. Never used for a secret on the way out.
 */
#include "leasehold/codec/json.h"

struct lh_yaml_doc {
    lh_json *value; /* owned */
    int line;       /* 1-based, where the document starts */
};

/* All documents of a stream (JSON is a subset) that are not empty; *out is NULL if there is none.
 * what names the source in errors ("file.yaml:12: ..."). LH_E_INVALID, LH_E_TOOBIG, LH_E_NOMEM. */
int lh_yaml_parse(struct lh_str text, const char *what, const struct lh_json_limits *limits,
                  struct lh_yaml_doc **out, size_t *n, struct lh_err *err);
void lh_yaml_free(struct lh_yaml_doc *docs, size_t n);

/* Line of a value by its path ("spec.items[0].path", "metadata.annotations[leasehold.dev/store]"),
 * or of its nearest parent that is there; 0 if there is no such document. A second pass over text:
 * for error reports only. */
int lh_yaml_line_of(struct lh_str text, size_t document, const char *path);

/* A JSON value as block-style YAML, strings quoted whenever a reader could take them for another
 * type. Read again it is equal, but for numbers past float64, which YAML readers take for text.
 * Failure is sticky in b. */
void lh_yaml_write(const lh_json *v, struct lh_buf *b);

#endif
