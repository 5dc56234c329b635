/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/annotations.h"

static const struct row {
    const char *name; /* the key */
    const char *found, *suffix;
    const char *nearest;
} rows[] = {
    {"leasehold.dev/secret.db", "secret", "db", NULL},
    {"leasehold.dev/secret.db.v2", "secret", "db.v2", NULL},
    {"leasehold.dev/store", "store", "", NULL},
    {"leasehold.dev/overlap", "overlap", "", NULL},
    {"leasehold.dev/overlap.db", "overlap", "db", NULL},
    {"leasehold.dev/on-change", "on-change", "", NULL},
    {"leasehold.dev/status", "status", "", NULL},
    {"leasehold.dev/secret", NULL, NULL, "secret.NAME"},
    {"leasehold.dev/secret.", NULL, NULL, "secret.NAME"},
    {"leasehold.dev/secrets.db", NULL, NULL, "secret.NAME"},
    {"leasehold.dev/store.db", NULL, NULL, "store"},
    {"leasehold.dev/stores", NULL, NULL, "store"},
    {"leasehold.dev/mount-paht", NULL, NULL, "mount-path"},
    {"leasehold.dev/Secret.db", NULL, NULL, "secret.NAME"},
    {"leasehold.dev/frobnicate", NULL, NULL, NULL},
    {"leasehold.dev/", NULL, NULL, NULL},
    {"example.org/secret.db", NULL, NULL, NULL},
};

static void key_is_found(void **state)
{
    const struct row *r = *state;
    struct lh_str suffix = {NULL, 0};
    const char *nearest = "unset";
    const struct lh_annotation *a = lh_annotation_find(lh_str(r->name), &suffix, &nearest);

    if (r->found) {
        assert_non_null(a);
        assert_string_equal(a->name, r->found);
        assert_true(lh_str_eqz(suffix, r->suffix));
        return;
    }
    assert_null(a);
    if (r->nearest) {
        assert_non_null(nearest);
        assert_string_equal(nearest, r->nearest);
    } else {
        assert_null(nearest);
    }
}

static void table_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < LH_ANN_COUNT; i++) {
        assert_int_equal(lh_annotations[i].id, i);
        assert_non_null(lh_annotations[i].name);
        assert_non_null(lh_annotations[i].help);
        if (lh_annotations[i].arity != LH_ANN_RESERVED)
            assert_non_null(lh_annotations[i].value);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(lh_annotations[i].name, lh_annotations[k].name);
    }
}

int main(void)
{
    ROWS(key_is_found, rows);
    ONE(table_is_whole);
    return rows_run("annotations");
}
