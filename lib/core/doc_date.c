/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/doc_date.h"

#include <stdlib.h>
#include <time.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/str.h"

void lh_doc_date(char out[LH_DOC_DATE])
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    time_t t = (time_t)(lh_clock_wall_ms() / 1000);
    long long seconds;
    struct tm tm;

    if (epoch && lh_str_to_i64(lh_str(epoch), 0, INT64_C(253402300799), &seconds))
        t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || strftime(out, LH_DOC_DATE, "%B %d, %Y", &tm) == 0)
        out[0] = '\0';
}
