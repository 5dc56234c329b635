/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"

static const struct path {
    const char *name;
    const char *path;
    const char *says; /* NULL: it is a path */
} paths[] = {
    {"one segment", "secret", NULL},
    {"several segments", "database/creds/shop", NULL},
    {"dots inside names", "secret/shop.example/v1.2", NULL},
    {"three dots are a name", "secret/...", NULL},
    {"a space inside", "secret/my app", NULL},
    {"plus and star are characters of a path", "secret/a+b/c*d", NULL},
    {"other alphabets", "secret/caf\xc3\xa9/\xe5\xaf\x86", NULL},
    {"placeholders", "secret/{namespace}/db", NULL},
    {"nothing", "", "empty"},
    {"a slash in front", "/secret/a", "begins with a slash"},
    {"a slash at the end", "secret/a/", "ends with a slash"},
    {"an empty segment", "secret//a", "empty segment"},
    {"only slashes", "//", "slash"},
    {"dot", "secret/./a", ". or .."},
    {"dot alone", ".", ". or .."},
    {"dot dot", "secret/../sys", ". or .."},
    {"dot dot in front", "../sys", ". or .."},
    {"dot dot at the end", "secret/..", ". or .."},
    {"encoded dots", "secret/%2e%2e/sys", "%"},
    {"encoded slash", "secret%2fa", "%"},
    {"doubly encoded", "secret/%252e", "%"},
    {"a query", "secret/a?version=1", "? or #"},
    {"a fragment", "secret/a#key", "? or #"},
    {"a backslash", "secret\\..\\sys", "backslash"},
    {"a line end", "secret/a\n", "control"},
    {"carriage return", "secret/a\rX: y", "control"},
    {"a tab", "secret/\ta", "control"},
    {"delete", "secret/\x7f", "control"},
    {"a control character of Latin-1", "secret/\xc2\x85", "control"},
    {"invalid UTF-8", "secret/\xff", "UTF-8"},
    {"an overlong slash", "secret/\xc0\xaf", "UTF-8"},
    {"an overlong dot", "secret/\xc0\xae\xc0\xae/sys", "UTF-8"},
    {"a surrogate", "secret/\xed\xa0\x80", "UTF-8"},
    {"space in front of a segment", "secret/ ..", "space"},
    {"space behind a segment", "secret/.. /a", "space"},
};

static void path_is_judged(void **state)
{
    const struct path *r = *state;
    struct lh_err err = {0};
    int rc = lh_path_check(r->path, &err);

    if (!r->says) {
        assert_int_equal(rc, 0);
        return;
    }
    assert_int_equal(rc, -LH_E_INVALID);
    assert_string_equal(err.reason, LH_REASON_PathInvalid);
    assert_says(err, r->says);
}

static void path_has_at_most_1024_bytes(void **state)
{
    char text[1026];

    (void)state;
    memset(text, 'a', sizeof(text));
    text[1024] = 0;
    assert_int_equal(lh_path_check(text, NULL), 0);
    text[1024] = 'a';
    text[1025] = 0;
    assert_int_equal(lh_path_check(text, NULL), -LH_E_INVALID);
}

static const struct pattern {
    const char *name;
    const char *pattern;
    bool ok;
} patterns[] = {
    {"a path", "secret/shop/db", true},
    {"a star at the end of a segment", "secret/shop-*", true},
    {"a star as last segment", "secret/shop/*", true},
    {"a star alone", "*", true},
    {"plus as a segment", "secret/+/db", true},
    {"plus first", "+/creds/shop", true},
    {"plus last", "secret/+", true},
    {"plus and star", "secret/+/shop-*", true},
    {"placeholders", "secret/{namespace}/*", true},
    {"a star in the middle", "secret/*/db", false},
    {"two stars", "secret/**", false},
    {"plus inside a segment", "secret/a+/db", false},
    {"plus beside plus", "secret/++", false},
    {"plus with a star", "secret/+*", false},
    {"dot dot", "secret/../*", false},
    {"an empty segment", "secret//*", false},
    {"a slash in front", "/secret/*", false},
    {"a slash at the end", "secret/", false},
    {"only slash star", "/*", false},
    {"percent", "secret/%2e*", false},
    {"nothing", "", false},
};

static void pattern_is_judged(void **state)
{
    const struct pattern *r = *state;

    assert_int_equal(lh_pattern_check(r->pattern, NULL), r->ok ? 0 : -LH_E_INVALID);
}

static const struct match {
    const char *name;
    const char *pattern, *path;
    bool match;
} matches[] = {
    {"equal", "secret/shop", "secret/shop", true},
    {"longer path", "secret/shop", "secret/shop/db", false},
    {"shorter path", "secret/shop/db", "secret/shop", false},
    {"no prefix without a star", "secret/shop", "secret/shop2", false},
    {"star after a slash", "secret/shop/*", "secret/shop/db", true},
    {"star goes deep", "secret/shop/*", "secret/shop/a/b/c", true},
    {"star needs the slash", "secret/shop/*", "secret/shop", false},
    {"star of another name", "secret/shop/*", "secret/shopping/db", false},
    {"star inside a segment", "secret/shop-*", "secret/shop-eu", true},
    {"star matches nothing", "secret/shop-*", "secret/shop-", true},
    {"star inside a segment goes deep", "secret/shop*", "secret/shopping/x", true},
    {"star alone", "*", "anything/at/all", true},
    {"plus is one segment", "secret/+/db", "secret/shop/db", true},
    {"plus is not two", "secret/+/db", "secret/a/b/db", false},
    {"plus is not none", "secret/+/db", "secret/db", false},
    {"plus at the end", "secret/+", "secret/shop", true},
    {"plus at the end is one", "secret/+", "secret/shop/db", false},
    {"plus first", "+/creds/shop", "database/creds/shop", true},
    {"plus twice", "+/+/shop", "database/creds/shop", true},
    {"plus then star", "secret/+/a*", "secret/x/abc/d", true},
    {"plus then star, other name", "secret/+/a*", "secret/x/b", false},
    {"a plus of a path is a character", "secret/a+b", "secret/a+b", true},
    {"a star of a path is a character", "secret/a*", "secret/a*", true},
    {"a star of a path is no pattern", "secret/shop", "secret/*", false},
    {"case counts", "secret/Shop", "secret/shop", false},
    {"other mount", "secret/*", "secrets/shop", false},
};

static void pattern_matches(void **state)
{
    const struct match *r = *state;

    assert_int_equal(lh_pattern_match(r->pattern, r->path), r->match);
}

static const struct normal {
    const char *name;
    const char *path, *want;
} normals[] = {
    {"data is left out", "secret/data/shop/db", "secret/shop/db"},
    {"metadata is left out", "secret/metadata/shop/db", "secret/shop/db"},
    {"once only", "secret/data/data/db", "secret/data/db"},
    {"of a mount only", "kv/data/shop", "kv/data/shop"},
    {"of a mount with a slash", "team/kv/data/shop", "team/kv/shop"},
    {"of the mount written with a slash at the end", "slashed/data/a", "slashed/a"},
    {"a name that begins like the mount", "secrets/data/shop", "secrets/data/shop"},
    {"a name that begins like data", "secret/database/shop", "secret/database/shop"},
    {"data alone is a name", "secret/data", "secret/data"},
    {"a pattern", "secret/data/*", "secret/*"},
    {"without data", "secret/shop", "secret/shop"},
};

static void path_is_normalised(void **state)
{
    const struct normal *r = *state;
    char *const mounts[] = {(char *)"secret", (char *)"team/kv", (char *)"slashed/", NULL};
    char *got = NULL;

    assert_int_equal(lh_path_normalise(r->path, mounts, &got, NULL), 0);
    assert_string_equal(got, r->want);
    lh_free(got);
}

int main(void)
{
    ROWS(path_is_judged, paths);
    ONE(path_has_at_most_1024_bytes);
    ROWS(pattern_is_judged, patterns);
    ROWS(pattern_matches, matches);
    ROWS(path_is_normalised, normals);
    return rows_run("path");
}
