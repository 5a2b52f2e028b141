"""Takes a token from a bucket of zae-limiter for each line that it reads, and answers with `admitted` or `refused`."""

import sys

from zae_limiter import Limit, RateLimitExceeded, SyncRateLimiter, SyncRepository

endpoint, per_minute, burst = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# Not `SyncRepository.open`, which deploys a CloudFormation stack.
repository = SyncRepository("zae-limiter", "us-east-1", endpoint, _skip_deprecation_warning=True)
repository.create_table()
limiter = SyncRateLimiter(repository=repository)
# Stored, because it remembers refusals only for stored limits.
limiter.set_limits("account", [Limit.per_minute("requests", per_minute, burst=burst)], resource="api")

for _ in sys.stdin:
    try:
        with limiter.acquire(entity_id="account", resource="api", consume={"requests": 1}):
            print("admitted", flush=True)
    except RateLimitExceeded:
        print("refused", flush=True)
