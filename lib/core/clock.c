/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
    bool fake;
    lh_ms now;
    int64_t wall_ms;
} test_clock;

static int64_t read_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

lh_ms lh_clock_now(void)
{
    return test_clock.fake ? test_clock.now : read_ms(CLOCK_BOOTTIME);
}

int64_t lh_clock_wall_ms(void)
{
    return test_clock.fake ? test_clock.wall_ms : read_ms(CLOCK_REALTIME);
}

void lh_clock_fake(lh_ms now, int64_t wall_ms)
{
    test_clock.fake = true;
    test_clock.now = now;
    test_clock.wall_ms = wall_ms;
}

void lh_clock_step(lh_ms by)
{
    test_clock.now += by;
    test_clock.wall_ms += by;
}

void lh_clock_real(void)
{
    test_clock.fake = false;
}

int lh_clock_is_fake(void)
{
    return test_clock.fake;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

const char *lh_clock_format(int64_t wall_ms, char buf[32])
{
    time_t sec = (time_t)floor_div(wall_ms, 1000);
    int ms = (int)(wall_ms - (int64_t)sec * 1000);
    struct tm tm;

    if (!gmtime_r(&sec, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        snprintf(buf, 32, "0000-00-00T00:00:00.000Z");
        return buf;
    }
    /* Unsigned and reduced, so that the compiler sees that it fits. */
    snprintf(buf, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100,
             (unsigned)ms % 1000);
    return buf;
}

/* Exactly count digits at *at, moved behind them; -1 on anything else. */
static int digits(const char **at, int count)
{
    int v = 0;

    for (int i = 0; i < count; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return -1;
        v = v * 10 + (**at - '0');
    }
    return v;
}

static bool expect(const char **at, const char *any)
{
    if (**at == '\0' || !strchr(any, **at))
        return false;
    ++*at;
    return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's days_from_civil). */
static int64_t days_from_civil(int y, int m, int d)
{
    int64_t era, yoe, doy, doe;

    y -= m <= 2;
    era = floor_div(y, 400);
    yoe = y - era * 400;
    doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int days_in(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0))
        return 29;
    return days[m - 1];
}

static int parse_fraction_ms(const char **at)
{
    int ms = 0, n = 0;

    for (; **at >= '0' && **at <= '9'; ++*at, n++) {
        if (n < 3)
            ms = ms * 10 + (**at - '0');
    }
    if (n == 0)
        return -1;
    for (; n < 3; n++)
        ms *= 10;
    return ms;
}

static int parse_offset_min(const char **at, int *out)
{
    int sign, h, m;

    if (expect(at, "Zz")) {
        *out = 0;
        return 0;
    }
    sign = **at == '-' ? -1 : 1;
    if (!expect(at, "+-"))
        return -1;
    h = digits(at, 2);
    if (h < 0 || h > 23 || !expect(at, ":"))
        return -1;
    m = digits(at, 2);
    if (m < 0 || m > 59)
        return -1;
    *out = sign * (h * 60 + m);
    return 0;
}

static int parse_date(const char **at, int64_t *days)
{
    int y, m, d;

    y = digits(at, 4);
    if (y < 0 || !expect(at, "-"))
        return -1;
    m = digits(at, 2);
    if (m < 1 || m > 12 || !expect(at, "-"))
        return -1;
    d = digits(at, 2);
    if (d < 1 || d > days_in(y, m))
        return -1;
    *days = days_from_civil(y, m, d);
    return 0;
}

static int parse_time(const char **at, int64_t *sec)
{
    int h, m, s;

    h = digits(at, 2);
    if (h < 0 || h > 23 || !expect(at, ":"))
        return -1;
    m = digits(at, 2);
    if (m < 0 || m > 59 || !expect(at, ":"))
        return -1;
    s = digits(at, 2);
    if (s < 0 || s > 60) /* a leap second counts as the next one */
        return -1;
    *sec = h * 3600 + m * 60 + s;
    return 0;
}

int lh_clock_parse(const char *text, int64_t *wall_ms)
{
    const char *at = text;
    int64_t days, sec;
    int ms = 0, offset;

    if (parse_date(&at, &days) < 0 || !expect(&at, "Tt ") || parse_time(&at, &sec) < 0)
        return -1;
    if (expect(&at, ".")) {
        ms = parse_fraction_ms(&at);
        if (ms < 0)
            return -1;
    }
    if (parse_offset_min(&at, &offset) < 0 || *at != '\0')
        return -1;
    *wall_ms = ((days * 24 * 60 - offset) * 60 + sec) * 1000 + ms;
    return 0;
}
