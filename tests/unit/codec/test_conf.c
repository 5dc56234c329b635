/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "leasehold/codec/conf.h"
#include "leasehold/core/mem.h"

struct options {
    bool once, verbose;
    const char *file, *tls_cert, *listen;
    int64_t retries, timeout, size;
};

#define AT(member) offsetof(struct options, member)
static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE", NULL, "The manifest to read.", false, AT(file)},
    {"tls-cert", 0, LH_OPT_STRING, "FILE", NULL, "Certificate of the server.", true, AT(tls_cert)},
    {"listen", 0, LH_OPT_STRING, "ADDR:PORT", ":8443", "Where requests come in.", true, AT(listen)},
    {"once", 'o', LH_OPT_BOOL, NULL, NULL, "Fetch once and exit.", false, AT(once)},
    {"verbose", 'v', LH_OPT_BOOL, NULL, "false", "Say more.", true, AT(verbose)},
    {"max-retries", 'r', LH_OPT_INT, NULL, "3", "How often a|b is tried at most.", true,
     AT(retries)},
    {"timeout", 't', LH_OPT_DURATION, NULL, "30s", "Longest wait.", true, AT(timeout)},
    {"size", 0, LH_OPT_QUANTITY, NULL, "4Mi", "Size of the volume.", false, AT(size)},
    {0},
};
static const struct lh_opt_set set = {"leasehold run", "leasehold run -f FILE [--once]",
                                      "Fetches secrets into a folder.", opts};

static const char *const variables[] = {"LEASEHOLD_FILE",    "LEASEHOLD_TLS_CERT",
                                        "LEASEHOLD_LISTEN",  "LEASEHOLD_VERBOSE",
                                        "LEASEHOLD_TIMEOUT", "LEASEHOLD_MAX_RETRIES"};
static char path[] = "/tmp/lh-test-conf-XXXXXX";

static int write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    int rc = f && fputs(text, f) >= 0 ? 0 : -1;

    if (f)
        fclose(f);
    return rc;
}

/* words: one command line, split at spaces; env: "NAME=VALUE" or NULL. */
static int run(const char *words, const char *env, const char *file, struct options *o,
               struct lh_conf **conf, const char *const **args, struct lh_err *err)
{
    static char copy[1000];
    static char *argv[32];
    int argc = 0;

    snprintf(copy, sizeof(copy), "leasehold %s", words);
    for (char *w = strtok(copy, " "); w && argc < 31; w = strtok(NULL, " "))
        argv[argc++] = w;
    argv[argc] = NULL;
    for (size_t i = 0; i < LH_ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    if (env)
        putenv((char *)(uintptr_t)env);
    if (file && write_file(file) < 0)
        fail_msg("cannot write %s", path);
    return lh_conf_parse(&set, argc, argv, file ? path : NULL, o, conf, args, err);
}

/* What differs from these stands behind them in a row. */
#define DEFAULTS .listen = ":8443", .retries = 3, .timeout = 30000, .size = 4 << 20
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct row {
    const char *name, *words, *env, *file;
    struct options want;
    const char *args; /* joined by spaces */
} good[] = {
    {"defaults", "", NULL, NULL, {DEFAULTS}, ""},
    {"flags",
     "--file a --once --timeout=1m30s --size 1Ki --max-retries -1",
     NULL,
     NULL,
     {DEFAULTS, .file = "a", .once = true, .timeout = 90000, .size = 1024, .retries = -1},
     ""},
    {"letters",
     "-f a -o -t 5s",
     NULL,
     NULL,
     {DEFAULTS, .file = "a", .once = true, .timeout = 5000},
     ""},
    {"letters in one word",
     "-ovfa",
     NULL,
     NULL,
     {DEFAULTS, .file = "a", .once = true, .verbose = true},
     ""},
    {"standard input", "-f -", NULL, NULL, {DEFAULTS, .file = "-"}, ""},
    {"a flag turned off", "--once --once=false", NULL, NULL, {DEFAULTS}, ""},
    {"the last one wins", "--file a --file b", NULL, NULL, {DEFAULTS, .file = "b"}, ""},
    {"an empty text", "--listen=", NULL, NULL, {DEFAULTS, .listen = ""}, ""},
    {"arguments between flags",
     "x --once y -f a -",
     NULL,
     NULL,
     {DEFAULTS, .once = true, .file = "a"},
     "x y -"},
    {"two dashes end flags", "x -- --once -f", NULL, NULL, {DEFAULTS}, "x --once -f"},
    {"environment", "", "LEASEHOLD_TLS_CERT=c", NULL, {DEFAULTS, .tls_cert = "c"}, ""},
    {"environment that is not read", "", "LEASEHOLD_FILE=c", NULL, {DEFAULTS}, ""},
    {"an empty variable is unset", "", "LEASEHOLD_LISTEN=", NULL, {DEFAULTS}, ""},
    {"file",
     "",
     NULL,
     "tlsCert: c\nonce: true\nmaxRetries: 5\ntimeout: 1m\nsize: 1024\n",
     {DEFAULTS, .tls_cert = "c", .once = true, .retries = 5, .timeout = 60000, .size = 1024},
     ""},
    {"empty file", "", NULL, "# nothing\n", {DEFAULTS}, ""},
    {"flag over environment",
     "--listen a",
     "LEASEHOLD_LISTEN=b",
     "listen: c\n",
     {DEFAULTS, .listen = "a"},
     ""},
    {"environment over file",
     "",
     "LEASEHOLD_LISTEN=b",
     "listen: c\n",
     {DEFAULTS, .listen = "b"},
     ""},
    {"file over default", "", NULL, "listen: c\n", {DEFAULTS, .listen = "c"}, ""},
    {"flag turns off what the file turns on",
     "--verbose=false",
     NULL,
     "verbose: yes\n",
     {DEFAULTS},
     ""},
};

#pragma GCC diagnostic pop

static void assert_text(const char *got, const char *want)
{
    if (!got || !want)
        assert_true(got == want);
    else
        assert_string_equal(got, want);
}

static void parses(void **state)
{
    const struct row *r = *state;
    struct options o = {.retries = -77};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    struct lh_buf joined;

    if (run(r->words, r->env, r->file, &o, &conf, &args, &err) < 0)
        fail_msg("%s", err.msg);
    assert_text(o.file, r->want.file);
    assert_text(o.tls_cert, r->want.tls_cert);
    assert_text(o.listen, r->want.listen);
    assert_int_equal(o.once, r->want.once);
    assert_int_equal(o.verbose, r->want.verbose);
    assert_int_equal(o.retries, r->want.retries);
    assert_int_equal(o.timeout, r->want.timeout);
    assert_int_equal(o.size, r->want.size);
    lh_buf_init(&joined, 100);
    lh_buf_put_z(&joined, "");
    for (; *args; args++)
        lh_buf_printf(&joined, "%s%s", joined.n ? " " : "", *args);
    assert_true(lh_str_eqz(lh_buf_peek(&joined), r->args));
    lh_buf_done(&joined);
    lh_conf_free(conf);
}

static const struct bad {
    const char *name, *words, *env, *file, *msg;
} bad[] = {
    {"unknown flag", "--frob", NULL, NULL, "unknown flag --frob"},
    {"near flag", "--time-out 5s", NULL, NULL, "unknown flag --time-out, did you mean --timeout?"},
    {"near flag with a value", "--tls-cret=x", NULL, NULL, "--tls-cret, did you mean --tls-cert?"},
    {"no prefix of a flag", "--verb", NULL, NULL, "unknown flag --verb"},
    {"no negated flag", "--no-once", NULL, NULL, "unknown flag --no-once"},
    {"unknown letter", "-x", NULL, NULL, "unknown flag -x"},
    {"unknown letter behind a known one", "-ox", NULL, NULL, "unknown flag -x"},
    {"no value", "--file", NULL, NULL, "--file needs a value: --file FILE"},
    {"the next flag is no value", "--file --once", NULL, NULL, "--file needs a value"},
    {"no value for a letter", "-f", NULL, NULL, "-f needs a value"},
    {"neither true nor false", "--once=1", NULL, NULL, "--once: write true or false"},
    {"bad number", "--max-retries 1x", NULL, NULL, "--max-retries: not a whole number"},
    {"bad duration", "-t 5", NULL, NULL, "-t: not a duration"},
    {"bad quantity", "--size 5MB", NULL, NULL, "--size: not a quantity"},
    {"bad environment", "", "LEASEHOLD_TIMEOUT=x", NULL,
     "environment variable LEASEHOLD_TIMEOUT: not a duration"},
    {"unknown key", "", NULL, "once: true\nfrob: 1\n", "XXXXXX:2: unknown key \"frob\""},
    {"near key", "", NULL, "tlsCerts: 1\n",
     "XXXXXX:1: unknown key \"tlsCerts\", did you mean \"tlsCert\"?"},
    {"key written as a flag", "", NULL, "tls-cert: x\n",
     "unknown key \"tls-cert\", did you mean \"tlsCert\"?"},
    {"key that is not ASCII", "", NULL, "\"\\e[1m\": 1\n", "unknown key \"?[1m\""},
    {"number for a text", "", NULL, "\n\nfile: 0440\n", "XXXXXX:3: file: not a text: quote it"},
    {"text for a number", "", NULL, "maxRetries: \"5\"\n",
     "XXXXXX:1: maxRetries: write a whole number"},
    {"fraction for a number", "", NULL, "maxRetries: 5.5\n", "maxRetries: not a whole number"},
    {"number for a duration", "", NULL, "timeout: 30\n", "timeout: write a text such as 30s"},
    {"text for a boolean", "", NULL, "once: \"true\"\n", "once: write true or false"},
    {"null", "", NULL, "file:\n", "file: not a text"},
    {"list", "", NULL, "file: [a]\n", "file: not a text"},
    {"NUL in a text", "", NULL, "file: \"a\\0b\"\n", "file: the text holds a NUL"},
    {"a list of a file", "", NULL, "- once\n", "XXXXXX:1: not a mapping"},
    {"two documents", "", NULL, "once: true\n---\nonce: true\n",
     "XXXXXX:3: more than one document"},
    {"no YAML", "", NULL, "a: [\n", "XXXXXX:2: "},
    {"duplicate key", "", NULL, "once: true\nonce: true\n", "XXXXXX:2: duplicate key"},
};

/* The name of the scratch file is random; rows write it as XXXXXX. */
static const char *with_path(const char *msg, char buf[200])
{
    const char *x = strstr(msg, "XXXXXX");

    if (!x)
        return msg;
    snprintf(buf, 200, "%s%s", path, x + 6);
    return buf;
}

static void refuses(void **state)
{
    const struct bad *r = *state;
    struct options o = {.retries = -77, .file = "before"};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    char buf[200];

    assert_int_equal(run(r->words, r->env, r->file, &o, &conf, &args, &err), -LH_E_INVALID);
    assert_null(conf);
    assert_null(args);
    assert_int_equal(o.retries, -77);
    assert_string_equal(o.file, "before");
    if (!strstr(err.msg, with_path(r->msg, buf)))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
}

static void says_which_file_is_missing(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "x", NULL};
    struct options o = {.retries = -77};
    struct lh_conf *conf = NULL;
    struct lh_err err;

    (void)state;
    assert_int_equal(lh_conf_parse(&set, 1, argv, "/nonexistent/a.yaml", &o, &conf, NULL, &err),
                     -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/a.yaml"));
    assert_int_equal(o.retries, -77);
}

static void prints_help(void **state)
{
    struct lh_str rest, line;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1 << 16);
    lh_conf_help(&set, &b);
    rest = lh_buf_peek(&b);
    assert_non_null(strstr(rest.p, "Usage: leasehold run -f FILE [--once]\n\n"
                                   "Fetches secrets into a folder.\n\nOptions:\n"));
    assert_non_null(strstr(rest.p, "  -f, --file FILE\n        The manifest to read.\n"));
    assert_non_null(strstr(rest.p, "      --listen ADDR:PORT\n        Where requests come in. "
                                   "Default: :8443. Environment: LEASEHOLD_LISTEN.\n"));
    assert_non_null(strstr(rest.p,
                           "        How often a|b is tried at most. Default: 3. Environment:\n"
                           "        LEASEHOLD_MAX_RETRIES.\n"));
    assert_non_null(strstr(rest.p, "  -o, --once\n        Fetch once and exit.\n"));
    assert_null(strstr(rest.p, "Default: false"));
    while (lh_str_cut(rest, '\n', &line, &rest))
        assert_in_range(line.n, 0, 80);
    lh_buf_done(&b);
}

static void prints_markdown(void **state)
{
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1 << 16);
    lh_conf_markdown(&set, &b);
    assert_non_null(strstr(lh_buf_peek(&b).p,
                           "| `-f`, `--file FILE` | `file` |  |  | The manifest to read. |\n"));
    assert_non_null(strstr(lh_buf_peek(&b).p,
                           "| `-r`, `--max-retries N` | `maxRetries` | `LEASEHOLD_MAX_RETRIES` | "
                           "`3` | How often a\\|b is tried at most. |\n"));
    lh_buf_done(&b);
}

static void prints_a_man_page(void **state)
{
    struct lh_buf b;

    (void)state;
    setenv("SOURCE_DATE_EPOCH", "0", 1);
    lh_buf_init(&b, 1 << 16);
    lh_conf_man(&set, "First.\n.Sh not a heading\nback\\slash", &b);
    unsetenv("SOURCE_DATE_EPOCH");
    assert_non_null(strstr(lh_buf_peek(&b).p, ".Dd January 01, 1970\n.Dt leasehold-run 1\n"));
    assert_non_null(
        strstr(lh_buf_peek(&b).p, ".Sh DESCRIPTION\nFirst.\n\\&.Sh not a heading\nback\\eslash\n"));
    assert_non_null(
        strstr(lh_buf_peek(&b).p, ".It Fl f , Fl -file Ar FILE\nThe manifest to read.\n"));
    assert_non_null(strstr(lh_buf_peek(&b).p, ".Ev LEASEHOLD_LISTEN .\n"));
    lh_buf_done(&b);
}

static void survives_want_of_memory(void **state)
{
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        struct options o = {.retries = -77};
        struct lh_conf *conf = NULL;
        const char *const *args = NULL;

        lh_mem_fail_at(++n);
        rc = run("--file a x", "LEASEHOLD_LISTEN=b", "tlsCert: c\ntimeout: 5s\n", &o, &conf, &args,
                 NULL);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_int_equal(o.retries, -77);
        }
        lh_conf_free(conf);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 10, 1000);
}

int main(void)
{
    int fd = mkstemp(path), rc;

    if (fd < 0)
        return 1;
    close(fd);
    ROWS(parses, good);
    ROWS(refuses, bad);
    ONE(says_which_file_is_missing);
    ONE(prints_help);
    ONE(prints_markdown);
    ONE(prints_a_man_page);
    ONE(survives_want_of_memory);
    rc = rows_run("conf");
    unlink(path);
    return rc;
}
