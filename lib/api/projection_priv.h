/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_PROJECTION_PRIV_H
#define LEASEHOLD_API_PROJECTION_PRIV_H

#include "leasehold/api/projection.h"

#define NAME_BYTES 63
#define PATH_BYTES 512
#define YEAR_MS    (INT64_C(365) * 86400000)
#define LEAST_MS   100

/* By the enums of projection.h, NULL-terminated. */
extern const char *const projection_format_names[];
extern const char *const projection_then_names[];
extern const char *const projection_revocation_names[];

#endif
