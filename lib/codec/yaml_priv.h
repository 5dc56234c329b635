/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_CODEC_YAML_PRIV_H
#define LH_CODEC_YAML_PRIV_H

/* What reader and writer of YAML share: what a plain scalar means. */
#include "leasehold/codec/json.h"

enum yaml_scalar {
    YAML_STRING,
    YAML_NULL,
    YAML_TRUE,
    YAML_FALSE,
    YAML_NUMBER,
    YAML_MERGE,   /* << */
    YAML_NO_JSON, /* .inf, .nan */
};

/*
 * As sigs.k8s.io/yaml (its fork of go-yaml v2) reads a plain scalar into JSON. A number's JSON text
 * is appended to number, which may be NULL; a number that float64 cannot hold is a string there and
 * here.
 */
enum yaml_scalar lh_yaml_resolve(struct lh_str s, struct lh_buf *number);

#endif
