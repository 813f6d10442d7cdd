"""Loaded by the interpreters of the API and of the functions as they start, so that they find what they find on Lambda.

The SAM CLI brings these packages into our environment, and botocore loads them where it finds them, which takes a while.
"""

import sys

#: None in the place of a module refuses its import.
sys.modules.update(dict.fromkeys(("awscrt", "OpenSSL")))  # type: ignore[arg-type]
