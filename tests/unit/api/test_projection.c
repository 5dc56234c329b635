/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/projection.h"
#include "leasehold/api/reasons.h"

#define HEAD     "apiVersion: leasehold.dev/v1alpha1\nkind: SecretProjection\n"
#define META     HEAD "metadata: {name: db, namespace: shop}\n"
#define ITEMS(v) META "spec: {items: [" v "]}\n"
#define ITEM(v)  ITEMS("{name: db, path: database/creds/shop" v "}")
#define FILE_(v) ITEM(", files: [" v "]")

static const struct bad {
    const char *name;
    const char *text;
    const char *says;
    const char *reason; /* NULL: ConfigInvalid */
} bad[] = {
    {"another kind", "apiVersion: leasehold.dev/v1alpha1\nkind: SecretStore\n",
     "kind: must be SecretProjection", NULL},
    {"no items", META "spec: {}\n", "spec.items: is required", NULL},
    {"no items in the list", META "spec: {items: []}\n", "spec.items: is required", NULL},
    {"an unknown field", META "spec: {item: []}\n", "the nearest known is \"items\"", NULL},
    {"no name", ITEMS("{path: a}"), "spec.items[0].name: is required", NULL},
    {"a name with a slash", ITEMS("{name: a/b, path: a}"), "spec.items[0].name: must be a name",
     NULL},
    {"a name of dots", ITEMS("{name: .., path: a}"), "spec.items[0].name: must be a name", NULL},
    {"no path", ITEMS("{name: a}"), "spec.items[0].path: is required", NULL},
    {"a path with dots", ITEMS("{name: a, path: a/../b}"), "spec.items[0].path: has a segment",
     LH_REASON_PathInvalid},
    {"version 0", ITEM(", version: 0"), "spec.items[0].version: must be a whole number from 1",
     NULL},
    {"version and params", ITEM(", version: 1, params: {}"), "give one of them", NULL},
    {"params of another type", ITEM(", params: a"), "spec.items[0].params: must be an object",
     NULL},
    {"optional of another type", ITEM(", optional: \"yes\""),
     "spec.items[0].optional: must be true or false", NULL},
    {"no file path", FILE_("{key: a}"), "spec.items[0].files[0].path: is required", NULL},
    {"an absolute file", FILE_("{path: /etc/passwd}"), "without a slash in front", NULL},
    {"a file outside", FILE_("{path: a/../../b}"), "begins with ..", NULL},
    {"the data link", FILE_("{path: ..data}"), "begins with ..", NULL},
    {"a file of a dot", FILE_("{path: a/./b}"), "segment .", NULL},
    {"a file with an empty segment", FILE_("{path: a//b}"), "segments of 1 to 255", NULL},
    {"a file with a control character", FILE_("{path: \"a\\nb\"}"), "control", NULL},
    {"a long segment",
     FILE_(
         "{path: "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "}"),
     "segments of 1 to 255", NULL},
    {"a mode of letters", FILE_("{path: a, mode: rw}"), "mode: must be three or four octal", NULL},
    {"a mode past 0777", FILE_("{path: a, mode: \"4755\"}"), "at most \"0777\"", NULL},
    {"a mode as a number", FILE_("{path: a, mode: 440}"), "mode: must be a string", NULL},
    {"an unknown format", FILE_("{path: a, format: toml}"),
     "format: must be one of raw, json, yaml, env, properties, template", NULL},
    {"a template of another format", FILE_("{path: a, template: x, format: json}"),
     "format can only be template", NULL},
    {"no template", FILE_("{path: a, format: template}"), "no template", NULL},
    {"a key in another format", FILE_("{path: a, key: k, format: json}"), "written raw", NULL},
    {"a key and a template", FILE_("{path: a, key: k, template: x}"), "written raw", NULL},
    {"two items of one name", ITEMS("{name: a, path: a/b}, {name: a, path: c/d}"), "of one name",
     LH_REASON_FileConflict},
    {"two files at one place",
     ITEMS(
         "{name: a, path: a/b, files: [{path: f, key: k}]}, {name: b, path: c/d, files: [{path: f, "
         "key: k}]}"),
     "would write the same place", LH_REASON_FileConflict},
    {"a file and a folder of one name",
     ITEMS("{name: a, path: a/b}, {name: b, path: c/d, files: [{path: a, key: k}]}"),
     "a file and a folder of one name", LH_REASON_FileConflict},
    {"a file where a folder is wanted",
     ITEMS("{name: a, path: a/b, files: [{path: f, key: k}]}, {name: b, path: c/d, files: [{path: "
           "f/g, key: k}]}"),
     "a file and a folder of one name", LH_REASON_FileConflict},
    {"refresh as text", META "spec: {items: [{name: a, path: a/b}], refresh: 5m}\n",
     "spec.refresh: must be an object", NULL},
    {"staleness of another word",
     META "spec: {items: [{name: a, path: a/b}], staleness: {then: Drop}}\n",
     "spec.staleness.then: must be one of Keep, Remove", NULL},
    {"revocation of another word", META "spec: {items: [{name: a, path: a/b}], revocation: No}\n",
     "spec.revocation: must be one of Revoke, Retain", NULL},
    {"a store of another kind",
     META "spec: {storeRef: {kind: Vault, name: a}, items: [{name: a, path: a/b}]}\n",
     "spec.storeRef.kind: must be one of SecretStore, ClusterSecretStore", NULL},
    {"a copy without a name",
     META "spec: {items: [{name: a, path: a/b}], kubernetesSecret: {type: Opaque}}\n",
     "spec.kubernetesSecret.name: is required", NULL},
};

static void projection_is_refused(void **state)
{
    const struct bad *r = *state;
    struct lh_projection *p = NULL;
    lh_json *obj = yaml(r->text);
    struct lh_err err = {0};
    int rc = lh_projection_parse(obj, NULL, &p, &err);

    lh_json_unref(obj);
    assert_int_equal(rc, -LH_E_INVALID);
    assert_null(p);
    assert_string_equal(err.reason, r->reason ? r->reason : LH_REASON_ConfigInvalid);
    assert_says(err, r->says);
}

static struct lh_projection *good(const char *text)
{
    struct lh_projection *p = NULL;
    lh_json *obj = yaml(text);
    struct lh_err err = {0};
    int rc = lh_projection_parse(obj, NULL, &p, &err);

    lh_json_unref(obj);
    if (rc < 0)
        fail_msg("%s", err.msg);
    return p;
}

static void files_left_out_are_a_folder(void **state)
{
    struct lh_projection *p = good(ITEM(""));

    (void)state;
    assert_string_equal(p->name, "db");
    assert_string_equal(p->namespace_, "shop");
    assert_false(p->has_store);
    assert_int_equal(p->items[0].n_files, 1);
    assert_string_equal(p->items[0].files[0].path, "db");
    assert_true(p->items[0].files[0].folder);
    assert_int_equal(p->refresh_ms, -1);
    assert_int_equal(p->overlap_ms, 300000);
    assert_int_equal(p->max_age_ms, -1);
    assert_int_equal(p->revocation, LH_REVOKE);
    lh_projection_free(p);
}

static const char whole[] =
    META "spec:\n"
         "  storeRef: {kind: ClusterSecretStore, name: vault}\n"
         "  role: shop-db\n"
         "  items:\n"
         "  - name: db\n"
         "    path: database/creds/shop\n"
         "    refresh: {interval: 90s}\n"
         "    overlap: 1m30s\n"
         "    files:\n"
         "    - {path: db/username, key: username, mode: \"0440\"}\n"
         "    - {path: db.env, format: env}\n"
         "    - {path: url, template: \"postgres://{{ .username }}@db\"}\n"
         "  - {name: kv, path: secret/shop, version: 3, optional: true}\n"
         "  - {name: pki, path: pki/issue/web, params: {common_name: a.example, ttl: 1.50}}\n"
         "  refresh: {interval: 10m}\n"
         "  overlap: 0s\n"
         "  staleness: {maxAge: 24h, then: Remove}\n"
         "  revocation: Retain\n"
         "  kubernetesSecret: {name: db, type: Opaque, adopt: false}\n"
         "  onChange: {restart: [{kind: Deployment, name: shop}]}\n"
         "  serviceAccountName: shop\n";

static void every_field_is_read(void **state)
{
    struct lh_projection *p = good(whole);

    (void)state;
    assert_true(p->has_store && p->store_cluster_scoped);
    assert_string_equal(p->store_name, "vault");
    assert_string_equal(p->role, "shop-db");
    assert_int_equal(p->n_items, 3);
    assert_int_equal(p->items[0].refresh_ms, 90000);
    assert_int_equal(p->items[0].overlap_ms, 90000);
    assert_string_equal(p->items[0].files[0].key, "username");
    assert_true(p->items[0].files[0].has_mode);
    assert_int_equal(p->items[0].files[0].mode, 0440);
    assert_false(p->items[0].files[0].folder);
    assert_int_equal(p->items[0].files[1].format, LH_FORMAT_ENV);
    assert_false(p->items[0].files[1].folder);
    assert_int_equal(p->items[0].files[2].format, LH_FORMAT_TEMPLATE);
    assert_int_equal(p->items[1].version, 3);
    assert_true(p->items[1].optional);
    assert_non_null(p->items[2].params);
    assert_int_equal(p->refresh_ms, 600000);
    assert_int_equal(p->overlap_ms, 0);
    assert_int_equal(p->max_age_ms, 86400000);
    assert_int_equal(p->then, LH_STALE_REMOVE);
    assert_int_equal(p->revocation, LH_RETAIN);
    assert_string_equal(p->service_account, "shop");
    assert_non_null(p->kubernetes_secret);
    assert_non_null(p->on_change);
    lh_projection_free(p);
}

static char *printed(const struct lh_projection *p)
{
    lh_json *spec = NULL;
    struct lh_buf b;
    char *text = NULL;
    size_t n;

    if (lh_projection_to_json(p, &spec, NULL) < 0)
        return NULL;
    lh_buf_init(&b, 65536);
    lh_json_write(spec, LH_JSON_SORTED, &b);
    lh_json_unref(spec);
    if (lh_buf_finish(&b, &text, &n, NULL) < 0)
        return NULL;
    return text;
}

static void parse_of_print_is_equal(void **state)
{
    struct lh_projection *p = good(whole), *again = NULL;
    char *one = printed(p), *two;
    lh_json *spec = yaml(one);

    (void)state;
    assert_int_equal(lh_projection_parse_spec(spec, NULL, "shop", "db", &again, NULL), 0);
    two = printed(again);
    assert_string_equal(one, two);
    assert_non_null(strstr(one, "\"ttl\":1.50")); /* numbers stay as they were written */
    lh_free(one);
    lh_free(two);
    lh_json_unref(spec);
    lh_projection_free(p);
    lh_projection_free(again);
}

static void file_may_lie_in_a_folder_of_keys(void **state)
{
    struct lh_projection *p = good(ITEMS(
        "{name: db, path: a/b}, {name: url, path: a/b, files: [{path: db/url, template: a}]}"));

    (void)state;
    assert_int_equal(p->n_items, 2);
    lh_projection_free(p);
}

static struct lh_projection *many(size_t n)
{
    struct lh_projection *p = lh_projection_new();

    for (size_t i = 0; i < n; i++) {
        struct lh_item *it = lh_projection_add_item(p);
        struct lh_file_spec *f = lh_item_add_file(it);

        it->name = lh_asprintf("n%zu", i);
        it->path = lh_strdup("secret/a");
        f->path = lh_strdup(it->name);
        f->folder = true;
    }
    return p;
}

static void there_are_at_most_256_files(void **state)
{
    struct lh_projection *p = many(256), *q = many(257);
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_projection_check(p, NULL, &err), 0);
    assert_int_equal(lh_projection_check(q, NULL, &err), -LH_E_INVALID);
    assert_says(err, "more than 256 files");
    lh_projection_free(p);
    lh_projection_free(q);
}

static void template_has_at_most_64_kib(void **state)
{
    struct lh_projection *p = many(1);
    struct lh_file_spec *f = &p->items[0].files[0];
    struct lh_err err = {0};

    (void)state;
    f->folder = false;
    f->format = LH_FORMAT_TEMPLATE;
    f->template_ = lh_calloc(1, 65538);
    memset(f->template_, 'x', 65536);
    assert_int_equal(lh_projection_check(p, NULL, &err), 0);
    f->template_[65536] = 'x';
    assert_int_equal(lh_projection_check(p, NULL, &err), -LH_E_TOOBIG);
    assert_string_equal(err.reason, LH_REASON_TooLarge);
    lh_projection_free(p);
}

static const struct mode {
    const char *name; /* the text */
    int mode;         /* -1: none */
} modes[] = {
    {"0440", 0440}, {"440", 0440}, {"0777", 0777}, {"000", 0}, {"1777", -1}, {"44", -1},
    {"04400", -1},  {"0o440", -1}, {"0448", -1},   {"", -1},   {"-440", -1}, {" 0440", -1},
};

static void mode_is_read(void **state)
{
    const struct mode *r = *state;
    mode_t m = 07;
    int rc = lh_mode_parse(r->name, &m, NULL);

    assert_int_equal(rc, r->mode < 0 ? -LH_E_INVALID : 0);
    assert_int_equal(m, r->mode < 0 ? 07 : r->mode);
}

static void memory_that_runs_out_is_survived(void **state)
{
    lh_json *obj = yaml(whole);
    unsigned long n;
    int rc = -1;

    (void)state;
    for (n = 1; rc < 0 && n < 2000; n++) {
        struct lh_projection *p = NULL;
        size_t before = lh_mem_live_blocks();
        struct lh_err err = {0};
        lh_json *spec = NULL;

        lh_mem_fail_at(n);
        rc = lh_projection_parse(obj, NULL, &p, &err);
        if (rc == 0)
            rc = lh_projection_to_json(p, &spec, &err);
        lh_mem_fail_at(0);
        lh_json_unref(spec);
        lh_projection_free(p);
        if (rc < 0)
            assert_int_equal(rc, -LH_E_NOMEM);
        assert_int_equal(lh_mem_live_blocks(), before);
    }
    lh_json_unref(obj);
    assert_int_equal(rc, 0);
    assert_true(n > 50);
}

int main(void)
{
    ROWS(projection_is_refused, bad);
    ONE(files_left_out_are_a_folder);
    ONE(every_field_is_read);
    ONE(parse_of_print_is_equal);
    ONE(file_may_lie_in_a_folder_of_keys);
    ONE(there_are_at_most_256_files);
    ONE(template_has_at_most_64_kib);
    ROWS(mode_is_read, modes);
    ONE(memory_that_runs_out_is_survived);
    return rows_run("projection");
}
