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

/* All documents of a stream (JSON is a subset). what names the source in errors ("file.yaml:12:
 * ..."). Owned array. */
int lh_yaml_parse(struct lh_str text, const char *what, const struct lh_json_limits *limits,
                  struct lh_yaml_doc **out, size_t *n, struct lh_err *err);
void lh_yaml_free(struct lh_yaml_doc *docs, size_t n);

/* Line of a value inside the last parsed documents, by path ("spec.items[0].path"); 0 if unknown.
 * Implemented by a second pass over text: for error reports only. */
int lh_yaml_line_of(struct lh_str text, size_t document, const char *path);

/* A JSON value as block-style YAML, strings quoted whenever a reader could take them for another
 * type. */
void lh_yaml_write(const lh_json *v, struct lh_buf *b);

#endif
