/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "leasehold/inject/policy.h"

#define MAX_LIST 256
#define TEXT_MAX 1024

static const char *const unknown_words[] = {"Deny", "Warn", NULL};
static const char *const pull_words[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const level_words[] = {"debug", "info", "warn", "error", "off", NULL};

void lh_policy_free(struct lh_policy *p)
{
    if (!p)
        return;
    lh_free(p->cluster_name);
    lh_strv_free(p->addresses);
    lh_strv_free(p->images);
    lh_strv_free(p->roles);
    lh_strv_free(p->paths);
    lh_free(p->agent_image);
    lh_free(p->pull_policy);
    lh_strv_free(p->pull_secrets);
    lh_free(p->agent_log_level);
    lh_free(p);
}

int lh_policy_default(struct lh_policy **out, struct lh_err *err)
{
    struct lh_policy *p = lh_calloc(1, sizeof(*p));

    if (p)
        p->agent_image = lh_strdup("leasehold.dev/leasehold-agent:" LH_VERSION);
    if (!p || !p->agent_image) {
        lh_policy_free(p);
        return lh_err_nomem(err);
    }
    p->max_cpu_milli = 500;
    p->max_memory_bytes = INT64_C(128) * 1024 * 1024;
    p->max_size_bytes = INT64_C(64) * 1024 * 1024;
    p->agent_cpu_milli = 5;
    *out = p;
    return 0;
}

/* As a chart renders what was left out: an empty string counts as absent. */
static int text_field(const struct lh_at *at, const lh_json *obj, const char *name, char **out,
                      struct lh_err *err)
{
    const char *z = lh_json_get_z(obj, name);

    return z && !*z ? 0 : lh_field_str(at, obj, name, false, TEXT_MAX, out, err);
}

static int quantity_field(const struct lh_at *at, const lh_json *obj, const char *name, bool cpu,
                          int64_t *out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = lh_json_get(obj, name);
    struct lh_str s = {NULL, 0};
    int64_t n = 0, whole;
    int rc = 0;

    if (lh_json_type(v) == LH_JSON_NULL || (lh_json_str(v, &s) && !s.n))
        return 0;
    if (lh_json_int(v, &whole) && whole > 0 && whole < INT64_MAX / 1000)
        n = cpu ? whole * 1000 : whole;
    else if (s.n)
        rc = cpu ? lh_quantity_milli(s, &n, NULL) : lh_quantity_whole(s, &n, NULL);
    if (rc < 0 || n <= 0)
        return lh_at_err(&here, err, "must be a quantity such as %s",
                         cpu ? "\"500m\"" : "\"64Mi\"");
    *out = n;
    return 0;
}

static int cidrs_field(const struct lh_at *at, const lh_json *obj, char ***out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "addresses");
    int rc;

    rc = lh_field_strs(at, obj, "addresses", MAX_LIST, 64, out, err);
    for (size_t i = 0; rc == 0 && *out && (*out)[i]; i++) {
        rc = lh_cidr_check((*out)[i], err);
        if (rc < 0)
            return lh_at_wrap(&LH_AT_INDEX(&here, i), rc, err);
    }
    return rc;
}

static int patterns_field(const struct lh_at *at, const lh_json *obj, const char *name, char ***out,
                          struct lh_err *err)
{
    static const struct lh_subject any = {"c", "n", "s"};
    const struct lh_at here = LH_AT_NAME(at, name);
    int rc;

    rc = lh_field_strs(at, obj, name, MAX_LIST, TEXT_MAX, out, err);
    for (size_t i = 0; rc == 0 && *out && (*out)[i]; i++) {
        lh_auto_free char *expanded = NULL;

        rc = lh_pattern_check((*out)[i], err);
        if (rc == 0)
            rc = lh_subject_expand(&any, (*out)[i], &expanded, err);
        if (rc < 0) {
            lh_err_reason(err, rc, LH_REASON_ConfigInvalid);
            return lh_at_wrap(&LH_AT_INDEX(&here, i), rc, err);
        }
    }
    return rc;
}

/* A tag can be moved to another image; what Pods may choose is fixed by its bytes. */
static bool is_image_pattern(const char *s)
{
    const char *digest = strstr(s, "@sha256:"), *star = strchr(s, '*');
    size_t n;

    if (!digest || digest == s)
        return false;
    digest += strlen("@sha256:");
    n = strspn(digest, "0123456789abcdef");
    if (star)
        return star == digest + n && !star[1];
    return n == 64 && !digest[n];
}

static int images_field(const struct lh_at *at, const lh_json *obj, char ***out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "images");
    int rc;

    rc = lh_field_strs(at, obj, "images", MAX_LIST, TEXT_MAX, out, err);
    for (size_t i = 0; rc == 0 && *out && (*out)[i]; i++) {
        if (!is_image_pattern((*out)[i]))
            return lh_at_err(&LH_AT_INDEX(&here, i), err,
                             "must name an image by digest: REPOSITORY@sha256:DIGEST, or "
                             "REPOSITORY@sha256:* for any");
    }
    return rc;
}

static int agent_parse(const struct lh_at *at, const lh_json *obj, struct lh_policy *p,
                       struct lh_err *err)
{
    static const char *const known[] = {
        "image", "imagePullPolicy", "imagePullSecrets", "cpu", "metricsPort", "logLevel", NULL};
    lh_auto_free char *pull = NULL, *level = NULL;
    int64_t port = 0;
    int word, rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = text_field(at, obj, "image", &p->agent_image, err);
    if (rc == 0)
        rc = text_field(at, obj, "imagePullPolicy", &pull, err);
    if (rc == 0 && pull)
        rc = lh_field_enum(at, obj, "imagePullPolicy", pull_words, &word, err);
    if (rc == 0)
        rc = lh_field_strs(at, obj, "imagePullSecrets", 16, 253, &p->pull_secrets, err);
    if (rc == 0)
        rc = quantity_field(at, obj, "cpu", true, &p->agent_cpu_milli, err);
    if (rc == 0)
        rc = lh_field_int(at, obj, "metricsPort", 0, 65535, &port, err);
    if (rc == 0)
        rc = text_field(at, obj, "logLevel", &level, err);
    if (rc == 0 && level)
        rc = lh_field_enum(at, obj, "logLevel", level_words, &word, err);
    if (rc < 0)
        return rc;
    p->agent_metrics_port = (int)port;
    p->pull_policy = LH_TAKE_PTR(pull);
    p->agent_log_level = LH_TAKE_PTR(level);
    return 0;
}

static int block_parse(const struct lh_at *at, const lh_json *obj, struct lh_policy *p,
                       struct lh_err *err)
{
    static const char *const known[] = {
        "clusterName", "unknownAnnotations", "projections", "addresses", "images", "roles", "paths",
        "maxCPU",      "maxMemory",          "maxSize",     "agent",     NULL};
    const struct lh_at at_cluster = LH_AT_NAME(at, "clusterName");
    const lh_json *agent = NULL;
    bool projections = true;
    int word = 0, rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = lh_field_bool(at, obj, "projections", &projections, err);
    if (rc == 0)
        rc = text_field(at, obj, "clusterName", &p->cluster_name, err);
    if (rc == 0 && p->cluster_name && !lh_str_is_dns_subdomain(lh_str(p->cluster_name)))
        rc = lh_at_err(&at_cluster, err, "must be lower case letters, digits, - and .");
    if (rc == 0)
        rc = lh_field_enum(at, obj, "unknownAnnotations", unknown_words, &word, err);
    if (rc == 0)
        rc = cidrs_field(at, obj, &p->addresses, err);
    if (rc == 0)
        rc = images_field(at, obj, &p->images, err);
    if (rc == 0)
        rc = patterns_field(at, obj, "roles", &p->roles, err);
    if (rc == 0)
        rc = patterns_field(at, obj, "paths", &p->paths, err);
    if (rc == 0)
        rc = quantity_field(at, obj, "maxCPU", true, &p->max_cpu_milli, err);
    if (rc == 0)
        rc = quantity_field(at, obj, "maxMemory", false, &p->max_memory_bytes, err);
    if (rc == 0)
        rc = quantity_field(at, obj, "maxSize", false, &p->max_size_bytes, err);
    if (rc == 0)
        rc = lh_field_object(at, obj, "agent", false, &agent, err);
    if (rc == 0 && agent)
        rc = agent_parse(&LH_AT_NAME(at, "agent"), agent, p, err);
    p->warn_unknown = word == 1;
    p->no_projections = !projections;
    return rc;
}

static int docs_parse(const struct lh_yaml_doc *docs, size_t n, const char *what,
                      struct lh_policy *p, struct lh_err *err)
{
    const struct lh_at root = LH_AT_ROOT(what, LH_REASON_ConfigInvalid);
    const struct lh_at inner = LH_AT_NAME(&root, "policy");
    const lh_json *doc, *block;

    if (!n || lh_json_type(docs[0].value) == LH_JSON_NULL)
        return 0;
    if (n > 1)
        return lh_at_err(&root, err, "must hold one document, and holds %zu", n);
    doc = docs[0].value;
    block = lh_json_get(doc, "policy");
    if (lh_json_type(block) == LH_JSON_OBJECT && lh_json_len(doc) == 1)
        return block_parse(&inner, block, p, err);
    return block_parse(&root, doc, p, err);
}

int lh_policy_parse(struct lh_str text, const char *what, struct lh_policy **out,
                    struct lh_err *err)
{
    struct lh_yaml_doc *docs = NULL;
    struct lh_policy *p = NULL;
    size_t n = 0;
    int rc;

    rc = lh_yaml_parse(text, what, NULL, &docs, &n, err);
    if (rc < 0) {
        lh_err_reason(err, rc, LH_REASON_ConfigInvalid);
        return rc;
    }
    rc = lh_policy_default(&p, err);
    if (rc == 0)
        rc = docs_parse(docs, n, what, p, err);
    lh_yaml_free(docs, n);
    if (rc < 0) {
        lh_policy_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int lh_policy_allow_image(const struct lh_policy *p, const char *ref, struct lh_err *err)
{
    for (size_t i = 0; p->images && p->images[i]; i++) {
        size_t n = strlen(p->images[i]);
        bool star = p->images[i][n - 1] == '*';

        if (star ? strncmp(ref, p->images[i], n - 1) == 0 : strcmp(ref, p->images[i]) == 0)
            return 0;
    }
    lh_err_fill(err, LH_E_DENIED, "%s",
                p->images && p->images[0]
                    ? "the platform does not list this image in policy.images"
                    : "the platform lets Pods choose no image of their own (policy.images is "
                      "empty)");
    return lh_err_negative(lh_err_reason(err, -LH_E_DENIED, LH_REASON_ImageNotAllowed));
}
