/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold kms conformance: does a KMS v2 plugin, any, do what the API server asks of it? */
#include "cmd_kms.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "kms_kit.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"

#define OUT_MAX ((size_t)1024 * 1024)

/* As every command that judges: 0 fine, 1 failed, 2 could not run. */
enum { CANNOT_RUN = CLI_USAGE };

struct options {
    const char *socket, *second, *format, *rotate, *restart, *outage, *recover, *only;
    int64_t timeout_ms, settle_ms;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"socket", 0, LH_OPT_STRING, "PATH", NULL, "The plugin's UNIX socket.", false, AT(socket)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", "text", "text or json.", false, AT(format)},
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "3s",
     "How long a call may take: `timeout` of the EncryptionConfiguration.", false, AT(timeout_ms)},
    {"only", 0, LH_OPT_STRING, "ID", NULL, "Run this test alone.", false, AT(only)},
    {"rotate", 0, LH_OPT_STRING, "COMMAND", NULL,
     "Shell command that rotates the plugin's key; left out, the test of a rotation is skipped.",
     false, AT(rotate)},
    {"restart", 0, LH_OPT_STRING, "COMMAND", NULL,
     "Shell command that restarts the plugin; left out, the test of a restart is skipped.", false,
     AT(restart)},
    {"second", 0, LH_OPT_STRING, "PATH", NULL,
     "Socket of another plugin of the same key, as on another node; left out, the tests of two are "
     "skipped.",
     false, AT(second)},
    {"outage", 0, LH_OPT_STRING, "COMMAND", NULL,
     "Shell command that takes the plugin's backend away; with --recover, else the test of an "
     "outage is skipped.",
     false, AT(outage)},
    {"recover", 0, LH_OPT_STRING, "COMMAND", NULL, "Shell command that brings it back.", false,
     AT(recover)},
    {"settle", 0, LH_OPT_DURATION, "DURATION", "5m",
     "How long a rotation, a restart or a recovery may take until it shows.", false, AT(settle_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_kms_option_set = {
    .program = "leasehold kms",
    .usage = "leasehold kms conformance --socket PATH [--second PATH] [--rotate COMMAND] "
             "[--restart COMMAND] [--outage COMMAND --recover COMMAND] [-o text|json]",
    .summary =
        "Tests a KMS v2 plugin, any, through its socket: what kube-apiserver asks of answers, time "
        "and load, gRPC's frames, and who may connect. Each failure comes with the rule and where "
        "it is written. The last line (with json: on stderr) is `N passed, N failed, N skipped`. "
        "Exit status 1: a test failed; 2: it could not run.",
    .opts = opts,
};

static const struct kms_test *const groups[] = {kms_host_tests,      kms_contract_tests,
                                                kms_failure_tests,   kms_twin_tests,
                                                kms_transport_tests, kms_flow_tests};

static bool is_wanted(const struct options *o, const struct kms_test *t)
{
    return !o->only || strcmp(o->only, t->id) == 0;
}

static void count(struct kms_totals *t, enum kms_verdict v)
{
    t->passed += v == KMS_PASSED;
    t->failed += v == KMS_FAILED;
    t->skipped += v == KMS_SKIPPED;
}

static int say(const struct kms_row *row)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, OUT_MAX);
    kms_print_row(row, &b);
    return cli_print(&b);
}

/* All that is wanted, told as it goes where people read it. */
static int run_tests(const struct options *o, struct kms_kit *k, bool json, struct lh_vec *rows,
                     struct kms_totals *t)
{
    int status = CLI_OK;

    for (size_t g = 0; g < LH_ARRAY_LEN(groups) && status == CLI_OK; g++) {
        for (const struct kms_test *test = groups[g]; test->id && status == CLI_OK; test++) {
            struct kms_row *row = is_wanted(o, test) ? lh_vec_push(rows, NULL) : NULL;

            if (!row)
                continue;
            row->test = test;
            test->run(k, &row->result);
            count(t, row->result.verdict);
            status = json ? CLI_OK : say(row);
        }
    }
    return status;
}

static int say_json(const struct kms_kit *k, const struct lh_vec *rows, const struct kms_totals *t)
{
    lh_auto_json lh_json *doc = kms_report_json(k, rows->p, rows->n, t);
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, OUT_MAX);
    if (!doc)
        return CANNOT_RUN;
    lh_json_write(doc, LH_JSON_PRETTY, &b);
    lh_buf_put_c(&b, '\n');
    return cli_print(&b);
}

static int conformance(const struct options *o, bool json)
{
    const struct kms_options ko = {.socket = o->socket,
                                   .rotate = o->rotate,
                                   .restart = o->restart,
                                   .second = o->second,
                                   .outage = o->outage,
                                   .recover = o->recover,
                                   .timeout_ms = (unsigned)o->timeout_ms,
                                   .settle_ms = (unsigned)o->settle_ms};
    struct kms_totals t = {0};
    struct kms_kit k = {0};
    struct lh_vec rows;
    struct lh_err err = {0};
    int status;

    lh_vec_init(&rows, sizeof(struct kms_row));
    if (kms_kit_open(&ko, &k, &err) < 0) {
        status = cli_fail(&cmd_kms_option_set, CANNOT_RUN, &err);
    } else {
        status = run_tests(o, &k, json, &rows, &t);
        if (status == CLI_OK && json)
            status = say_json(&k, &rows, &t);
        if (status == CLI_OK && rows.n == 0) {
            lh_err_fill(&err, LH_E_INVALID, "there is no test \"%.60s\"", o->only);
            status = cli_fail(&cmd_kms_option_set, CANNOT_RUN, &err);
        } else if (status == CLI_OK) {
            fprintf(json ? stderr : stdout, "%u passed, %u failed, %u skipped\n", t.passed,
                    t.failed, t.skipped);
            status = t.failed ? CLI_FAILED : CLI_OK;
        } else {
            status = CANNOT_RUN;
        }
    }
    lh_vec_done(&rows);
    kms_kit_close(&k);
    return status;
}

static const char *check(const struct options *o, const char *const *args)
{
    if (!args || !args[0] || strcmp(args[0], "conformance") != 0 || args[1])
        return "say what to do: conformance";
    if (!o->socket)
        return "--socket says where the plugin listens";
    if (o->timeout_ms <= 0 || o->timeout_ms > INT32_MAX || o->settle_ms <= 0 ||
        o->settle_ms > INT32_MAX)
        return "--timeout and --settle must be more than nothing and less than 24 days";
    if (strcmp(o->format, "text") != 0 && strcmp(o->format, "json") != 0)
        return "-o must be text or json";
    return NULL;
}

int cmd_kms(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    const char *wrong;
    int status;

    if (cli_parse(&cmd_kms_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        wrong = check(&o, args);
        if (wrong) {
            lh_err_fill(&err, LH_E_INVALID, "%s", wrong);
            status = cli_fail(&cmd_kms_option_set, CLI_USAGE, &err);
        } else {
            status = conformance(&o, strcmp(o.format, "json") == 0);
        }
    }
    lh_conf_free(conf);
    return status;
}
