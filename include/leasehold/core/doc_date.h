/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_DOC_DATE_H
#define LEASEHOLD_CORE_DOC_DATE_H

/* The date of a page of documentation, as mdoc's .Dd wants it: "November 24, 2026". Today or, for
 * output that must not differ between builds, the day of SOURCE_DATE_EPOCH in the environment. */
enum { LH_DOC_DATE = 64 };

void lh_doc_date(char out[LH_DOC_DATE]);

#endif
