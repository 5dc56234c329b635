/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

static char *print(const lh_json *v, bool yaml)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n;

    lh_buf_init(&b, 1 << 24);
    if (yaml)
        lh_yaml_write(v, &b);
    else
        lh_json_write(v, LH_JSON_COMPACT, &b);
    assert_int_equal(lh_buf_finish(&b, &out, &n, NULL), 0);
    return out;
}

static const struct row {
    const char *name, *text, *want; /* want: as compact JSON, one line a document */
} good[] = {
    {"mapping and sequence", "a:\n- 1\n- b: c\n", "{\"a\":[1,{\"b\":\"c\"}]}\n"},
    {"flow style is JSON", "{\"a\": [1, \"x\", {\"b\": null}]}",
     "{\"a\":[1,\"x\",{\"b\":null}]}\n"},
    {"documents", "a: 1\n---\nb: 2\n...\n---\n- 3\n", "{\"a\":1}\n{\"b\":2}\n[3]\n"},
    {"empty documents are left out", "---\n---\n# only this\n---\na: 1\n---\n", "{\"a\":1}\n"},
    {"nothing", "", ""},
    {"only a comment", "# x\n", ""},
    {"byte order mark",
     "\xef\xbb\xbf"
     "a: 1\n",
     "{\"a\":1}\n"},
    {"booleans of YAML 1.1", "[yes, No, ON, off, y, N, true, False]",
     "[true,false,true,false,true,false,true,false]\n"},
    {"words that are no booleans", "[tRue, yEs, oN, Of, nOne]",
     "[\"tRue\",\"yEs\",\"oN\",\"Of\",\"nOne\"]\n"},
    {"nulls", "[~, null, Null, NULL, nUll]\n", "[null,null,null,null,\"nUll\"]\n"},
    {"no value is null", "a:\nb: \n", "{\"a\":null,\"b\":null}\n"},
    {"quoted is text", "['yes', \"1\", '~', \"\"]", "[\"yes\",\"1\",\"~\",\"\"]\n"},
    {"integers", "[0, 1, -1, +1, 1_000, -0]", "[0,1,-1,1,1000,0]\n"},
    {"octal as file modes are written", "[0440, 0o17, 0O17, -010, 00]", "[288,15,15,-8,0]\n"},
    {"hexadecimal and binary", "[0x1F, -0x1f, 0X10, 0b101, 0x_ff]", "[31,-31,16,5,255]\n"},
    {"no octal", "[08, 0.5, 0780]", "[8,0.5,780]\n"},
    {"no numbers",
     "[0x, 0xg, 1a, 1e, 1e+, -, +, ., --1, 1-1, 0b2, _1, 1.2.3, 1:30, 0x1ffffffffffffffff]",
     "[\"0x\",\"0xg\",\"1a\",\"1e\",\"1e+\",\"-\",\"+\",\".\",\"--1\",\"1-1\",\"0b2\",\"_1\",\"1.2."
     "3\","
     "\"1:30\",\"0x1ffffffffffffffff\"]\n"},
    {"underscores", "[1_0, 0_7, .5_0, ._5, .5_, 1_.5, 0x_1]",
     "[10,7,0.50,\"._5\",\".5_\",1.5,1]\n"},
    {"uint64 and beyond", "[18446744073709551615, 123456789012345678901234567890]",
     "[18446744073709551615,123456789012345678901234567890]\n"},
    {"hexadecimal uint64", "0xFFFFFFFFFFFFFFFF", "18446744073709551615\n"},
    {"floats keep their text", "[1.10, 1e3, 1E-7, 2.50e+1, 1_0.5]",
     "[1.10,1e3,1E-7,2.50e+1,10.5]\n"},
    {"floats that JSON writes otherwise", "[.5, -.5, +1.5, 1., 1.e5, 010.5]",
     "[0.5,-0.5,1.5,1,1e5,10.5]\n"},
    {"past float64 is text", "[12e4567, 1e400]", "[\"12e4567\",\"1e400\"]\n"},
    {"dates are text", "[2001-12-14, 2001-12-14T21:59:43Z]",
     "[\"2001-12-14\",\"2001-12-14T21:59:43Z\"]\n"},
    {"keys of other types become text", "1: a\non: b\n0x10: c\n-3: d\n",
     "{\"1\":\"a\",\"true\":\"b\",\"16\":\"c\",\"-3\":\"d\"}\n"},
    {"quoted key", "\"on\": 1\n\"<<\": 2\n", "{\"on\":1,\"<<\":2}\n"},
    {"literal block", "a: |\n  x\n   y\n\n  z\nb: |-\n  x\nc: |+\n  x\n\n",
     "{\"a\":\"x\\n y\\n\\nz\\n\",\"b\":\"x\",\"c\":\"x\\n\\n\"}\n"},
    {"folded block", "a: >\n  x\n  y\n", "{\"a\":\"x y\\n\"}\n"},
    {"plain over lines", "a: x\n  y\n", "{\"a\":\"x y\"}\n"},
    {"escapes", "\"\\x41\\u00e9\\U0001F600\\0\\n\"", "\"A\xc3\xa9\xf0\x9f\x98\x80\\u0000\\n\"\n"},
    {"explicit key", "? a\n: 1\n", "{\"a\":1}\n"},
    {"empty collections", "a: {}\nb: []\n", "{\"a\":{},\"b\":[]}\n"},
    {"directive", "%YAML 1.1\n---\na: 1\n", "{\"a\":1}\n"},
    {"annotation of ours",
     "metadata:\n  annotations:\n    leasehold.dev/secret.db: database/creds/shop#password\n",
     "{\"metadata\":{\"annotations\":{\"leasehold.dev/secret.db\":\"database/creds/"
     "shop#password\"}}}\n"},
};

static void reads(void **state)
{
    const struct row *r = *state;
    struct lh_yaml_doc *docs = NULL;
    struct lh_buf all;
    struct lh_err err = {0};
    size_t n = 7;
    int rc;

    rc = lh_yaml_parse(lh_str(r->text), "f.yaml", NULL, &docs, &n, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    lh_buf_init(&all, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        lh_json_write(docs[i].value, LH_JSON_COMPACT, &all);
        lh_buf_put_c(&all, '\n');
    }
    assert_string_equal(lh_buf_peek(&all).p ? lh_buf_peek(&all).p : "", r->want);
    lh_buf_done(&all);
    lh_yaml_free(docs, n);
}

static const struct bad {
    const char *name;
    struct lh_str text;
    int code;
    const char *msg;
} bad[] = {
    {"anchor on a scalar", LH_STR("a: 1\nb: &x 2\n"), LH_E_INVALID, "f.yaml:2: anchors"},
    {"anchor on a mapping", LH_STR("a: &x\n  b: 1\n"), LH_E_INVALID, "f.yaml:1: anchors"},
    {"anchor on a sequence", LH_STR("&x [1]"), LH_E_INVALID, "f.yaml:1: anchors"},
    {"anchor on a key", LH_STR("a: 1\n&x b: 1\n"), LH_E_INVALID, "f.yaml:2: anchors"},
    {"alias", LH_STR("a: 1\nb: *x\n"), LH_E_INVALID, "f.yaml:2: aliases"},
    {"alias as a key", LH_STR("*x : 1\n"), LH_E_INVALID, "f.yaml:1: aliases"},
    {"tag", LH_STR("a: !!str 1\n"), LH_E_INVALID, "f.yaml:1: tags"},
    {"tag on a mapping", LH_STR("a: !!map {}\n"), LH_E_INVALID, "f.yaml:1: tags"},
    {"tag on a sequence", LH_STR("- !x []\n"), LH_E_INVALID, "f.yaml:1: tags"},
    {"exclamation mark alone", LH_STR("a: ! x\n"), LH_E_INVALID, "f.yaml:1: tags"},
    {"merge key", LH_STR("a: 1\n<<: {b: 1}\n"), LH_E_INVALID, "f.yaml:2: merge keys"},
    {"duplicate key", LH_STR("a: 1\nb: 1\na: 2\n"), LH_E_INVALID, "f.yaml:3: duplicate key"},
    {"duplicate by another spelling", LH_STR("on: 1\n\"true\": 2\n"), LH_E_INVALID,
     "f.yaml:2: duplicate key"},
    {"null as a key", LH_STR("~: 1\n"), LH_E_INVALID, "f.yaml:1: a key"},
    {"mapping as a key", LH_STR("{a: 1}: 1\n"), LH_E_INVALID, "f.yaml:1: a key"},
    {"infinity", LH_STR("a: .inf\n"), LH_E_INVALID, "f.yaml:1: JSON has no such number"},
    {"minus infinity", LH_STR("a: -.Inf\n"), LH_E_INVALID, "f.yaml:1: JSON has no such number"},
    {"not a number", LH_STR("a:\n- .NaN\n"), LH_E_INVALID, "f.yaml:2: JSON has no such number"},
    {"fraction as a key", LH_STR("1.5: 1\n"), LH_E_INVALID,
     "f.yaml:1: a number as a key: quote it"},
    {"uint64 as a key", LH_STR("18446744073709551615: 1\n"), LH_E_INVALID,
     "f.yaml:1: a number as a key"},
    {"NUL in a key", LH_STR("\"a\\0\": 1\n"), LH_E_INVALID, "f.yaml:1: NUL in a key"},
    {"wrong indentation", LH_STR("a:\n  b: 1\n c: 2\n"), LH_E_INVALID, "f.yaml:3: "},
    {"tab as indentation", LH_STR("a:\n\tb: 1\n"), LH_E_INVALID, "f.yaml:2: "},
    {"cut flow", LH_STR("a: 1\nb: [1,\n"), LH_E_INVALID, "f.yaml:3: "},
    {"cut string", LH_STR("a: \"x\n"), LH_E_INVALID, "f.yaml:2: "},
    {"control character", LH_STR("a: 1\nb: \x01\n"), LH_E_INVALID, "f.yaml:2: "},
    {"invalid UTF-8", LH_STR("a: 1\nb: \xff\n"), LH_E_INVALID, "f.yaml:2: "},
    {"UTF-16",
     LH_STR("\xff\xfe"
            "a\0"),
     LH_E_INVALID, "f.yaml:1: "},
    {"two values in a document", LH_STR("a: 1\n- 2\n"), LH_E_INVALID, "f.yaml:2: "},
    {"too deep", LH_STR("[[[[[1]]]]]"), LH_E_TOOBIG, "f.yaml:1: nested too deep"},
    {"too many members", LH_STR("a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\n"), LH_E_TOOBIG,
     "f.yaml:8: too many members"},
    {"too many documents", LH_STR("---\n---\n---\n---\n---\n---\n---\n---\n---\n"), LH_E_TOOBIG,
     "too many members"},
    {"too many bytes", LH_STR("a: 0123456789012345678901234567890123456789012345678901234567890\n"),
     LH_E_TOOBIG, "f.yaml: 65 bytes are more than 60"},
};

static void refuses(void **state)
{
    const struct lh_json_limits limits = {.max_bytes = 60, .max_depth = 4, .max_keys = 8};
    const struct bad *r = *state;
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err = {0};
    size_t n = 7;

    assert_int_equal(lh_yaml_parse(r->text, "f.yaml", &limits, &docs, &n, &err), -r->code);
    assert_null(docs);
    assert_int_equal(n, 7);
    if (!strstr(err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
}

static void never_quotes_the_input(void **state)
{
    static const char *const texts[] = {"a: s3: cr3t: x", "s3cr3t: [",       "- s3cr3t\nb: 1",
                                        "%s3cr3t\n---\n", "s3c: 1\ns3c: 2",  "a: *s3cr3t",
                                        "a: @s3cr3t",     "a: \"\\s3cr3t\"", "a: !s3%cr3t x"};
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err;
    size_t n;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++) {
        assert_int_equal(lh_yaml_parse(lh_str(texts[i]), "f", NULL, &docs, &n, &err),
                         -LH_E_INVALID);
        assert_null(strstr(err.msg, "s3c"));
    }
}

static const char manifest[] = "# a comment\n"                        /* 1 */
                               "\n"                                   /* 2 */
                               "apiVersion: leasehold.dev/v1alpha1\n" /* 3 */
                               "metadata:\n"                          /* 4 */
                               "  annotations:\n"                     /* 5 */
                               "    leasehold.dev/secret.db: x\n"     /* 6 */
                               "spec:\n"                              /* 7 */
                               "  items:\n"                           /* 8 */
                               "  - name: a\n"                        /* 9 */
                               "  - name: b\n"                        /* 10 */
                               "    path: p\n"                        /* 11 */
                               "---\n"                                /* 12 */
                               "---\n"                                /* 13 */
                               "kind: Second\n";                      /* 14 */

static const struct line {
    const char *name;
    size_t document;
    const char *path;
    int want;
} lines[] = {
    {"line of the document", 0, "", 3},
    {"line of a key", 0, "metadata.annotations", 5},
    {"line of a key with dots", 0, "metadata.annotations.leasehold.dev/secret.db", 6},
    {"line of a key in brackets", 0, "metadata.annotations[leasehold.dev/secret.db]", 6},
    {"line of an item", 0, "spec.items[1]", 10},
    {"line in an item", 0, "spec.items[1].path", 11},
    {"line of the parent of what is missing", 0, "spec.items[0].path", 9},
    {"line of the list that is too short", 0, "spec.items[2].path", 8},
    {"line of the document of what is missing", 0, "status", 3},
    {"line in the second document that holds anything", 1, "kind", 14},
    {"line in no document", 2, "kind", 0},
};

static void finds_lines(void **state)
{
    const struct line *r = *state;

    assert_int_equal(lh_yaml_line_of(lh_str(manifest), r->document, r->path), r->want);
}

static void line_of_what_is_no_yaml(void **state)
{
    (void)state;
    assert_int_equal(lh_yaml_line_of(LH_STR("[a: {\n"), 1, "a.b"), 0);
    assert_int_equal(lh_yaml_line_of(LH_STR("a:\n  b: [\n"), 0, "a.b.c"), 2);
}

static const struct written {
    const char *name, *json, *want;
} written[] = {
    {"writes blocks", "{\"a\":[1,{\"b\":\"c\",\"d\":[2]},[3,[4]]],\"e\":{\"f\":true}}",
     "a:\n- 1\n- b: c\n  d:\n  - 2\n- - 3\n  - - 4\ne:\n  f: true\n"},
    {"writes empty ones", "{\"a\":[],\"b\":{},\"c\":null,\"d\":\"\",\"e\":[[],{}]}",
     "a: []\nb: {}\nc: null\nd: \"\"\ne:\n- []\n- {}\n"},
    {"writes numbers as they are", "[1.10,1e3,99999999999999999999,-5]",
     "- 1.10\n- 1e3\n- 99999999999999999999\n- -5\n"},
    {"writes plain texts",
     "[\"abc\",\"a b\",\"a:b\",\"http://x/y?z\",\"24Mi\",\"5m\",\"a@b\",\"/run/x\"]",
     "- abc\n- a b\n- a:b\n- \"http://x/y?z\"\n- 24Mi\n- 5m\n- a@b\n- /run/x\n"},
    {"quotes other types",
     "[\"yes\",\"n\",\"true\",\"null\",\"~\",\"1\",\"0x1\",\"1e3\",\"1_0\",\".5\",\"1:30\",\"08\","
     "\"<<\",\"=\"]",
     "- \"yes\"\n- \"n\"\n- \"true\"\n- \"null\"\n- \"~\"\n- \"1\"\n- \"0x1\"\n- \"1e3\"\n- "
     "\"1_0\"\n- \".5\"\n"
     "- \"1:30\"\n- \"08\"\n- \"<<\"\n- \"=\"\n"},
    {"quotes dates", "[\"2001-12-14\",\"2001-12-14T21:59:43Z\"]",
     "- \"2001-12-14\"\n- \"2001-12-14T21:59:43Z\"\n"},
    {"quotes syntax",
     "[\" a\",\"a \",\"a: b\",\"a #b\",\"- a\",\"#a\",\"a:\",\"*a\",\"{a\",\"---\"]",
     "- \" a\"\n- \"a \"\n- \"a: b\"\n- \"a #b\"\n- \"- a\"\n- \"#a\"\n- \"a:\"\n- \"*a\"\n- "
     "\"{a\"\n- \"---\"\n"},
    {"single quotes around JSON", "{\"a\":\"{\\\"b\\\":'c'}\"}", "a: '{\"b\":''c''}'\n"},
    {"escapes what YAML cannot hold", "[\"\\u0000\\u0007\\u007f\\u0085\\u2028\\ufeff\\r\"]",
     "- \"\\x00\\x07\\x7f\\x85\\u2028\\ufeff\\r\"\n"},
    {"several lines", "{\"a\":\"x\\n  y\\n\\nz\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\"}",
     "a: |\n  x\n    y\n\n  z\nb: |-\n  x\n  y\nc: |+\n  x\n\n"},
    {"lines that start with space", "[\"  x\\ny\",\"\\nx\"]", "- \"  x\\ny\"\n- \"\\nx\"\n"},
    {"lines in a list in a map", "{\"a\":[{\"b\":\"x\\ny\\n\"}]}", "a:\n- b: |\n    x\n    y\n"},
    {"keys", "{\"on\":1,\"a b\":2,\"a: \":3,\"x\\ny\":4,\"\":5,\"1\":6}",
     "\"on\": 1\na b: 2\n\"a: \": 3\n\"x\\ny\": 4\n\"\": 5\n\"1\": 6\n"},
    {"a scalar alone", "\"x\\ny\"", "|-\n  x\n  y\n"},
};

static void writes(void **state)
{
    const struct written *r = *state;
    lh_auto_json lh_json *v = NULL;
    lh_auto_free char *text = NULL;

    assert_int_equal(lh_json_parse(lh_str(r->json), NULL, &v, NULL), 0);
    text = print(v, true);
    assert_string_equal(text, r->want);
}

static void assert_round_trip(const lh_json *v)
{
    lh_auto_free char *text = print(v, true);
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err;
    size_t n = 0;
    bool same;

    if (lh_yaml_parse(lh_str(text), "again", NULL, &docs, &n, &err) < 0)
        fail_msg("%s\n%s", err.msg, text);
    same = n == 1 && lh_json_equal(v, docs[0].value);
    lh_yaml_free(docs, n);
    if (!same)
        fail_msg("read again it differs:\n%s", text);
}

/* Pieces that mean something to YAML; random texts are glued together from them. */
static const char *const pieces[] = {
    "yes",
    "no",
    "on",
    "y",
    "true",
    "null",
    "~",
    "1",
    "0",
    "0x1",
    "1e3",
    ".5",
    "-",
    "- ",
    "? ",
    ": ",
    ":",
    " #",
    "#",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r",
    "\"",
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a",
    "*a",
    "!",
    "|",
    ">",
    "%",
    "@",
    "`",
    "---",
    "...",
    "<<",
    "=",
    "a",
    "Z",
    "_",
    ".inf",
    "\x01",
    "\x7f",
    "\xc2\x85",
    "\xe2\x80\xa8",
    "\xef\xbb\xbf",
    "\xc3\xa9",
    "\xf0\x9f\x98\x80",
    "1:30",
    "24Mi",
    "\xef\xbf\xbe",
};

static lh_json *random_text(int most)
{
    struct lh_buf b;
    lh_json *v;

    lh_buf_init(&b, 1 << 16);
    for (int64_t i = lh_rand_between(0, most); i > 0; i--)
        lh_buf_put_z(&b, pieces[lh_rand_between(0, (int64_t)LH_ARRAY_LEN(pieces) - 1)]);
    v = lh_json_new_str(lh_buf_peek(&b));
    lh_buf_done(&b);
    return v;
}

static lh_json *random_value(int depth)
{
    lh_json *v;

    switch (lh_rand_between(0, depth > 0 ? 7 : 4)) {
    case 0:
        return lh_json_new_null();
    case 1:
        return lh_json_new_bool(lh_rand_between(0, 1) == 1);
    case 2:
        return lh_json_new_int(lh_rand_between(-1000, 1000));
    case 3:
    case 4:
        return random_text(8);
    case 5:
        v = lh_json_new_array();
        for (int64_t i = lh_rand_between(0, 3); i > 0; i--)
            lh_json_push(v, random_value(depth - 1));
        return v;
    default:
        v = lh_json_new_object();
        for (int64_t i = lh_rand_between(0, 4); i > 0; i--) {
            lh_auto_json lh_json *key = random_text(lh_rand_between(0, 9) == 0 ? 600 : 4);
            struct lh_str k;

            lh_json_str(key, &k);
            lh_json_setn(v, k, random_value(depth - 1));
        }
        return v;
    }
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    lh_rand_seed(20);
    for (int i = 0; i < 3000; i++) {
        lh_auto_json lh_json *v = random_value(4);

        if (lh_json_type(v) != LH_JSON_NULL)
            assert_round_trip(v);
    }
}

/* Each character and each pair of pieces, as a value and as a key. */
static void every_pair_of_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(pieces); i++) {
        for (size_t k = 0; k < LH_ARRAY_LEN(pieces); k++) {
            lh_auto_json lh_json *o = lh_json_new_object();
            lh_auto_free char *text = lh_asprintf("%s%s", pieces[i], pieces[k]);

            lh_json_set(o, text, lh_json_new_z(text));
            assert_round_trip(o);
        }
    }
    for (long cp = 1; cp < 0x300; cp++) {
        char text[3] = {(char)cp, 0, 0};
        lh_auto_json lh_json *o = lh_json_new_object();

        if (cp >= 0x80) {
            text[0] = (char)(0xc0 | (cp >> 6));
            text[1] = (char)(0x80 | (cp & 0x3f));
        }
        lh_json_set(o, text, lh_json_new_z(text));
        assert_round_trip(o);
    }
}

static void numbers_are_read_again(void **state)
{
    lh_auto_json lh_json *v = NULL;

    (void)state;
    assert_int_equal(
        lh_json_parse(LH_STR("[0,-1,1.10,1e3,1E-7,-0.0,0.5,99999999999999999999,-0,1.5e+300,"
                             "-9223372036854775808,0e0]"),
                      NULL, &v, NULL),
        0);
    assert_round_trip(v);
}

/* Every allocation of ours fails once; libyaml has its own allocator. */
static void survives_want_of_memory(void **state)
{
    struct lh_str text = LH_STR("a: [1, 1.50, x]\n\"b\": {c: null, on: yes}\n---\nd: 0440\n");
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        struct lh_yaml_doc *docs = NULL;
        size_t n_docs = 0;

        lh_mem_fail_at(++n);
        rc = lh_yaml_parse(text, "f", NULL, &docs, &n_docs, NULL);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_null(docs);
        }
        lh_yaml_free(docs, n_docs);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 10, 1000);
}

int main(void)
{
    lh_json_init();
    ROWS(reads, good);
    ROWS(refuses, bad);
    ROWS(finds_lines, lines);
    ROWS(writes, written);
    ONE(never_quotes_the_input);
    ONE(line_of_what_is_no_yaml);
    ONE(what_is_written_is_read_again);
    ONE(every_pair_of_pieces);
    ONE(numbers_are_read_again);
    ONE(survives_want_of_memory);
    return rows_run("yaml");
}
