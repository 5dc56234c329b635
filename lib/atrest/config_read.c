/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "config_priv.h"
#include "leasehold/codec/base64.h"
#include "leasehold/codec/duration.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"

enum {
    PATH = 256,
    NAME_MAX_BYTES = 253,
    RESOURCES_MAX = 1000,
    PROVIDERS_MAX = 100,
    KEYS_MAX = 100
};

struct reader {
    struct lh_vec *findings;
    struct lh_err *err;
};

/* A place in the document; one too deep for out is cut. */
static void __attribute__((format(printf, 2, 3))) put_path(char out[PATH], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, PATH, fmt, ap);
    va_end(ap);
}

/* What an API server refuses. */
#define REFUSE(r, id, where, ...)                                                                  \
    finding_add((r)->findings, (id), LH_ATREST_CRITICAL, REFUSED, (where), (r)->err, __VA_ARGS__)

static int only_known(struct reader *r, const lh_json *obj, const char *where,
                      const char *const *known)
{
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;
    int rc = 0;

    while (rc == 0 && lh_json_next(obj, &it, &key, &value)) {
        bool found = false;

        for (size_t i = 0; known[i]; i++)
            found |= lh_str_eqz(key, known[i]);
        /* Not quoted: a key in the wrong place could be what it says. */
        if (!found)
            rc = REFUSE(r, "UnknownField", where, "has a field that the API server does not know");
    }
    return rc;
}

/* Text of a field in *out (owned), NULL if it is not there or no text. */
static int text_of(struct reader *r, const lh_json *obj, const char *field, const char *where,
                   char **out)
{
    const lh_json *v = lh_json_get(obj, field);
    struct lh_str s;
    char path[PATH];

    if (!v)
        return 0;
    put_path(path, "%s.%s", where, field);
    if (!lh_json_str(v, &s) || memchr(s.p, '\0', s.n))
        return REFUSE(r, "BadField", path, "is not text");
    if (s.n > 4096)
        return REFUSE(r, "BadField", path, "is longer than 4096 bytes");
    *out = lh_str_dup(s);
    return *out ? 0 : lh_err_nomem(r->err);
}

static bool is_key_length(enum lh_atrest_scheme s, size_t n)
{
    return s == LH_ATREST_SECRETBOX ? n == 32 : n == 16 || n == 24 || n == 32;
}

static int read_secret(struct reader *r, enum lh_atrest_scheme scheme, const lh_json *obj,
                       const char *where, struct lh_atrest_key *out)
{
    lh_auto_buf struct lh_buf bytes;
    struct lh_err bad = {0};
    struct lh_str text;
    char path[PATH];

    put_path(path, "%s.secret", where);
    lh_buf_init(&bytes, 4096);
    if (!lh_json_str(lh_json_get(obj, "secret"), &text) || text.n == 0)
        return REFUSE(r, "KeyMissing", path, "is not there");
    if (lh_base64_decode(text, &bytes, &bad) < 0)
        return bad.code == LH_E_NOMEM ? lh_err_nomem(r->err)
                                      : REFUSE(r, "KeyEncoding", path, "is not base64");
    if (!is_key_length(scheme, bytes.n))
        return REFUSE(r, "KeyLength", path, "has %zu bytes; %s takes %s", bytes.n,
                      lh_atrest_scheme_name(scheme),
                      scheme == LH_ATREST_SECRETBOX ? "32" : "16, 24 or 32");
    return lh_secret_copy(bytes.p, bytes.n, &out->secret, r->err);
}

static int read_key(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                    const char *where)
{
    static const char *const known[] = {"name", "secret", NULL};
    struct lh_atrest_key k = {.name = NULL};
    int rc = only_known(r, obj, where, known);

    if (rc == 0)
        rc = text_of(r, obj, "name", where, &k.name);
    if (rc == 0 && (!k.name || !k.name[0]))
        rc = REFUSE(r, "NameMissing", where, "has no name");
    if (rc == 0 && k.name && (strchr(k.name, ':') || strlen(k.name) > NAME_MAX_BYTES))
        rc = finding_add(r->findings, "NameUnclear", LH_ATREST_MEDIUM, ACCEPTED, where, r->err,
                         "the name has a colon or over 253 bytes: stored values do not tell then "
                         "where the name ends");
    if (rc == 0)
        rc = read_secret(r, p->scheme, obj, where, &k);
    for (size_t i = 0; rc == 0 && k.name && i < p->keys.n; i++)
        if (key_at(p, i)->name && strcmp(key_at(p, i)->name, k.name) == 0)
            rc = finding_add(r->findings, "KeyNameTwice", LH_ATREST_MEDIUM, ACCEPTED, where, r->err,
                             "another key has the same name: stored values do not tell which one "
                             "they need");
    if (rc == 0 && !lh_vec_push(&p->keys, &k))
        rc = lh_err_nomem(r->err);
    if (rc < 0)
        lh_atrest_key_done(&k);
    return rc;
}

static int read_local(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                      const char *where)
{
    static const char *const known[] = {"keys", NULL};
    const lh_json *keys = lh_json_get(obj, "keys");
    char path[PATH];
    int rc = only_known(r, obj, where, known);

    if (rc == 0 && lh_json_len(keys) > KEYS_MAX)
        return REFUSE(r, "TooMany", where, "has over 100 keys");
    if (rc == 0 && (lh_json_type(keys) != LH_JSON_ARRAY || lh_json_len(keys) == 0))
        return REFUSE(r, "NoKeys", where, "has no keys");
    for (size_t i = 0; rc == 0 && i < lh_json_len(keys); i++) {
        put_path(path, "%s.keys[%zu]", where, i);
        rc = read_key(r, p, lh_json_at(keys, i), path);
    }
    return rc;
}

static int read_kms_version(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                            const char *where)
{
    lh_auto_free char *version = NULL;
    int rc = text_of(r, obj, "apiVersion", where, &version);

    p->scheme = LH_ATREST_KMS_V1;
    if (rc < 0)
        return rc;
    if (version && strcmp(version, "v2") == 0)
        p->scheme = LH_ATREST_KMS_V2;
    else if (version && strcmp(version, "v1") != 0)
        return REFUSE(r, "KmsVersion", where, "apiVersion is neither v1 nor v2");
    else
        return finding_add(r->findings, version ? "KmsV1" : "KmsVersionMissing", LH_ATREST_HIGH,
                           REFUSED, where, r->err,
                           "%s; KMS v1 is off since Kubernetes 1.29: write apiVersion: v2",
                           version ? "is KMS v1" : "has no apiVersion, which means v1");
    return 0;
}

static int read_kms_numbers(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                            const char *where)
{
    lh_auto_free char *timeout = NULL;
    const lh_json *size = lh_json_get(obj, "cachesize");
    int rc = text_of(r, obj, "timeout", where, &timeout);
    int64_t ms = 0;

    if (rc == 0 && timeout && (lh_duration_ms(lh_str(timeout), &ms, NULL) < 0 || ms <= 0))
        rc = REFUSE(r, "KmsTimeout", where, "timeout is no duration above zero");
    p->timeout_ms = ms;
    if (rc < 0 || !size)
        return rc;
    if (p->scheme == LH_ATREST_KMS_V2)
        return REFUSE(r, "KmsCacheSize", where, "cachesize is not allowed with KMS v2");
    if (!lh_json_int(size, &p->cache_size) || p->cache_size == 0) {
        p->cache_size = -1;
        return REFUSE(r, "KmsCacheSize", where, "cachesize is zero or no number");
    }
    return 0;
}

static int check_kms(struct reader *r, const struct lh_atrest_provider *p, const char *where)
{
    static const char unix_scheme[] = "unix://";
    int rc = 0;

    if (!p->name || !p->name[0])
        rc = REFUSE(r, "NameMissing", where, "has no name");
    else if (strchr(p->name, ':'))
        rc = REFUSE(r, "KmsName", where, "the name has a colon");
    else if (strlen(p->name) > NAME_MAX_BYTES)
        rc = REFUSE(r, "KmsName", where, "the name is longer than 253 bytes");
    if (rc < 0)
        return rc;
    if (!p->endpoint || strncmp(p->endpoint, unix_scheme, strlen(unix_scheme)) != 0)
        return REFUSE(r, "KmsEndpoint", where, "endpoint is not unix:///PATH");
    /* Taken for a host and forgotten: the socket that is tried is another. */
    if (p->endpoint[strlen(unix_scheme)] != '/')
        return finding_add(
            r->findings, "KmsEndpointHost", LH_ATREST_CRITICAL, ACCEPTED, where, r->err,
            "endpoint has no absolute path: its first part is taken for a host; three "
            "slashes follow unix:");
    return 0;
}

static int read_kms(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                    const char *where)
{
    static const char *const known[] = {"apiVersion", "name",    "endpoint",
                                        "cachesize",  "timeout", NULL};
    int rc = only_known(r, obj, where, known);

    if (rc == 0)
        rc = read_kms_version(r, p, obj, where);
    if (rc == 0)
        rc = text_of(r, obj, "name", where, &p->name);
    if (rc == 0)
        rc = text_of(r, obj, "endpoint", where, &p->endpoint);
    if (rc == 0)
        rc = read_kms_numbers(r, p, obj, where);
    return rc < 0 ? rc : check_kms(r, p, where);
}

static const struct kind {
    const char *name;
    enum lh_atrest_scheme scheme;
    int (*read)(struct reader *r, struct lh_atrest_provider *p, const lh_json *obj,
                const char *where);
} kinds[] = {
    {"identity", LH_ATREST_IDENTITY, NULL},   {"aescbc", LH_ATREST_AESCBC, read_local},
    {"aesgcm", LH_ATREST_AESGCM, read_local}, {"secretbox", LH_ATREST_SECRETBOX, read_local},
    {"kms", LH_ATREST_KMS_V2, read_kms},
};

static int read_provider(struct reader *r, struct lh_atrest_rule *rule, const lh_json *obj,
                         const char *where)
{
    struct lh_atrest_provider p = {.cache_size = -1};
    const struct kind *kind = NULL;
    char path[PATH];
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(kinds); i++)
        if (lh_json_get(obj, kinds[i].name))
            kind = &kinds[i];
    if (lh_json_type(obj) != LH_JSON_OBJECT || lh_json_len(obj) != 1 || !kind)
        return REFUSE(r, "ProviderShape", where,
                      "is not exactly one of kms, secretbox, aesgcm, aescbc, identity");
    lh_vec_init(&p.keys, sizeof(struct lh_atrest_key));
    p.scheme = kind->scheme;
    put_path(path, "%s.%s", where, kind->name);
    if (kind->read)
        rc = kind->read(r, &p, lh_json_get(obj, kind->name), path);
    if (rc == 0 && !lh_vec_push(&rule->providers, &p))
        rc = lh_err_nomem(r->err);
    if (rc < 0)
        provider_done(&p);
    return rc;
}

/* A form that can name something: resource, resource.group, "*.", "*.group", "*.*". */
static bool is_resource(const char *s)
{
    const char *rest = strncmp(s, "*.", 2) == 0 ? s + 2 : s;

    if (strcmp(s, "*.") == 0 || strcmp(s, "*.*") == 0)
        return true;
    return *rest && *rest != '.' && strlen(s) <= NAME_MAX_BYTES &&
           strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(rest);
}

/* What an API server refuses to hear of (apiserver/pkg/apis/apiserver/validation), or NULL. */
static const char *why_not(const char *s)
{
    static const char *const no_api[] = {"apiserveripinfo", "serviceipallocations",
                                         "servicenodeportallocations"};
    const char *dot = strchr(s, '.');

    if (strcmp(s, "*") == 0)
        return "is a bare star: *. is all of the core group, *.* is everything";
    for (const char *c = s; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            return "has capital letters";
    if (dot && strcmp(dot, ".extensions") == 0)
        return "is of the group extensions, which is gone";
    if (dot && strcmp(dot, ".events.k8s.io") == 0)
        return "is stored as the core's: name events instead";
    for (size_t i = 0; i < LH_ARRAY_LEN(no_api); i++)
        if (strcmp(s, no_api[i]) == 0)
            return "has no API, and cannot be encrypted by itself";
    return NULL;
}

static int read_resource(struct reader *r, struct lh_atrest_rule *rule, const lh_json *v,
                         const char *where)
{
    struct lh_str s;
    const char *why;
    char *copy;

    if (!lh_json_str(v, &s) || memchr(s.p, '\0', s.n))
        return REFUSE(r, "ResourceName", where, "is not text");
    copy = lh_str_dup(s);
    if (!copy || !lh_vec_push(&rule->resources, &copy)) {
        lh_free(copy);
        return lh_err_nomem(r->err);
    }
    why = why_not(copy);
    if (why)
        return REFUSE(r, "ResourceName", where, "%s", why);
    if (is_resource(copy))
        return 0;
    return finding_add(r->findings, "ResourceForm", LH_ATREST_MEDIUM, ACCEPTED, where, r->err,
                       "names nothing that is stored: it is resource, resource.group, *., *.group "
                       "or *.*");
}

static int read_lists(struct reader *r, struct lh_atrest_rule *rule, const lh_json *obj,
                      const char *where)
{
    const lh_json *resources = lh_json_get(obj, "resources");
    const lh_json *providers = lh_json_get(obj, "providers");
    char path[PATH];
    int rc = 0;

    if (lh_json_len(resources) > RESOURCES_MAX || lh_json_len(providers) > PROVIDERS_MAX)
        return REFUSE(r, "TooMany", where, "has over 1000 resources or 100 providers");
    if (lh_json_type(resources) != LH_JSON_ARRAY || lh_json_len(resources) == 0)
        rc = REFUSE(r, "NoResources", where, "names no resources");
    if (rc == 0 && (lh_json_type(providers) != LH_JSON_ARRAY || lh_json_len(providers) == 0))
        rc = REFUSE(r, "NoProviders", where, "names no providers");
    for (size_t i = 0; rc == 0 && i < lh_json_len(resources); i++) {
        put_path(path, "%s.resources[%zu]", where, i);
        rc = read_resource(r, rule, lh_json_at(resources, i), path);
    }
    for (size_t i = 0; rc == 0 && i < lh_json_len(providers); i++) {
        put_path(path, "%s.providers[%zu]", where, i);
        rc = read_provider(r, rule, lh_json_at(providers, i), path);
    }
    return rc;
}

static int read_rule(struct reader *r, struct lh_atrest_config *c, const lh_json *obj, size_t i)
{
    static const char *const known[] = {"resources", "providers", NULL};
    struct lh_atrest_rule rule;
    char where[PATH];
    int rc;

    lh_vec_init(&rule.resources, sizeof(char *));
    lh_vec_init(&rule.providers, sizeof(struct lh_atrest_provider));
    put_path(where, "resources[%zu]", i);
    rc = only_known(r, obj, where, known);
    if (rc == 0)
        rc = read_lists(r, &rule, obj, where);
    if (rc == 0 && !lh_vec_push(&c->rules, &rule))
        rc = lh_err_nomem(r->err);
    if (rc < 0)
        rule_done(&rule);
    return rc;
}

/* "# leasehold rotation: FROM -> TO" as the first line. What cannot be read is no rotation. */
static void read_rotation(struct lh_str text, struct lh_atrest_rotation *out)
{
    struct lh_str line, rest, mark = LH_STR(ROTATION_COMMENT);
    struct lh_atrest_ref from, to;
    struct lh_atrest_rotation rot = {.from = ""};
    const char *arrow;

    lh_str_cut(text, '\n', &line, &rest);
    if (!lh_str_starts(line, mark))
        return;
    line = (struct lh_str){line.p + mark.n, line.n - mark.n};
    arrow = line.n ? memmem(line.p, line.n, " -> ", 4) : NULL;
    if (!arrow || (size_t)(arrow - line.p) >= sizeof(rot.from) ||
        (size_t)(line.p + line.n - arrow - 4) >= sizeof(rot.to))
        return;
    memcpy(rot.from, line.p, (size_t)(arrow - line.p));
    memcpy(rot.to, arrow + 4, (size_t)(line.p + line.n - arrow - 4));
    if (lh_atrest_ref_parse(rot.from, &from, NULL) == 0 &&
        lh_atrest_ref_parse(rot.to, &to, NULL) == 0)
        *out = rot;
}

static int read_document(struct reader *r, struct lh_atrest_config *c, const lh_json *doc,
                         const char *what)
{
    static const char *const known[] = {"apiVersion", "kind", "resources", NULL};
    const char *version = lh_json_get_z(doc, "apiVersion"), *kind = lh_json_get_z(doc, "kind");
    const lh_json *rules = lh_json_get(doc, "resources");
    int rc;

    if (!version || !kind || strcmp(version, "apiserver.config.k8s.io/v1") != 0 ||
        strcmp(kind, "EncryptionConfiguration") != 0)
        return lh_err_set(r->err, LH_E_INVALID,
                          "%s: is no EncryptionConfiguration of apiserver.config.k8s.io/v1", what);
    rc = only_known(r, doc, "", known);
    if (rc == 0 && lh_json_len(rules) > RESOURCES_MAX)
        return lh_err_set(r->err, LH_E_TOOBIG, "%s: has over 1000 rules", what);
    if (rc == 0 && (lh_json_type(rules) != LH_JSON_ARRAY || lh_json_len(rules) == 0))
        rc = REFUSE(r, "NoRules", "resources", "has no rule");
    for (size_t i = 0; rc == 0 && i < lh_json_len(rules); i++)
        rc = read_rule(r, c, lh_json_at(rules, i), i);
    return rc;
}

int lh_atrest_config_read(struct lh_str text, const char *what, struct lh_atrest_config *out,
                          struct lh_vec *findings, struct lh_err *err)
{
    static const struct lh_json_limits limits = {
        .max_bytes = LH_ATREST_CONFIG_MAX_BYTES, .max_depth = 16, .max_keys = 20000};
    struct reader r = {.findings = findings, .err = err};
    struct lh_atrest_config c = {.rotation = {.from = ""}};
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0;
    int rc = lh_yaml_parse(text, what, &limits, &docs, &n, err);

    if (rc < 0)
        return rc;
    lh_vec_init(&c.rules, sizeof(struct lh_atrest_rule));
    if (n != 1)
        rc = lh_err_set(err, LH_E_INVALID, "%s: holds %s", what,
                        n ? "several documents" : "nothing");
    else
        rc = read_document(&r, &c, docs[0].value, what);
    lh_yaml_free(docs, n);
    if (rc < 0) {
        lh_atrest_config_done(&c);
        return rc;
    }
    read_rotation(text, &c.rotation);
    *out = c;
    return 0;
}
