"""Loaded by the interpreters of the emulator, the functions and the API as they start, so that they find what Lambda has.

The SAM CLI brings these packages into our environment; botocore and the emulator load them where they find them, which takes
them a third of a second each time. (The emulator would also tidy up containers.)
"""

import sys

#: None in the place of a module refuses its import.
sys.modules.update(dict.fromkeys(("awscrt", "docker", "OpenSSL")))  # type: ignore[arg-type]
