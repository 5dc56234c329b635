/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "cmd_audit.h"
#include "cmd_check.h"
#include "cmd_docs.h"
#include "cmd_drain.h"
#include "cmd_encryption.h"
#include "cmd_explain.h"
#include "cmd_inject.h"
#include "cmd_kms.h"
#include "cmd_lint.h"
#include "cmd_policy.h"
#include "cmd_run.h"
#include "cmd_status.h"
#include "cmd_version.h"

const struct cli_command cli_commands[] = {
    {"inject", cmd_inject, &cmd_inject_option_set, false},
    {"lint", cmd_lint, &cmd_lint_option_set, false},
    {"run", cmd_run, &cmd_run_option_set, false},
    {"check", cmd_check, &cmd_check_option_set, false},
    {"policy", cmd_policy, &cmd_policy_option_set, false},
    {"status", cmd_status, &cmd_status_option_set, false},
    {"drain", cmd_drain, &cmd_drain_option_set, false},
    {"kms", cmd_kms, &cmd_kms_option_set, false},
    {"encryption", cmd_encryption, &cmd_encryption_option_set, false},
    {"audit", cmd_audit, &cmd_audit_option_set, false},
    {"explain", cmd_explain, &cmd_explain_option_set, false},
    {"version", cmd_version, &cmd_version_option_set, false},
    {"docs", cmd_docs, &cmd_docs_option_set, true},
    {0},
};
