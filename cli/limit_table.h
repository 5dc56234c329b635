/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_LIMIT_TABLE_H
#define LEASEHOLD_CLI_LIMIT_TABLE_H

/* The limits that users meet, for docs/reference. Numbers come from the headers that state them. */
#include "leasehold/core/buf.h"

enum cli_limit_unit { CLI_LIMIT_COUNT, CLI_LIMIT_BYTES };

struct cli_limit {
    const char *input;
    size_t most;
    enum cli_limit_unit unit;
    const char *past;
};
extern const struct cli_limit cli_limits[]; /* ended by input NULL */

void cli_limit_put(struct lh_buf *b, const struct cli_limit *l);

#endif
