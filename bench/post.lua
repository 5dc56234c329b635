-- SPDX-License-Identifier: Apache-2.0
-- wrk: POST the file named by REVIEW.
local file = assert(io.open(os.getenv("REVIEW"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
