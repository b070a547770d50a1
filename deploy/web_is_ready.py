"""Exit status 0 when the web process on this machine can serve: asks /health/ready as the public host would."""

import os
import sys
import urllib.request
from urllib.parse import urlsplit

host = urlsplit(os.environ.get("BASE_URL", "http://localhost")).netloc
address = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/health/ready"
try:
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host}), timeout=4) as answer:
        sys.exit(answer.status != 200)
except OSError:
    sys.exit(1)
