"""Bodies too large for the service's front door go straight to its storage, by a link that the service signs."""

from longrun.models import Upload
from longrun.service import Service, encoded
from longrun.steps import Send, Steps

#: Bodies over this many bytes are uploaded; API Gateway and Lambda carry little more than it.
LARGE = 4_000_000


def upload(service: Service, content: bytes) -> Steps[str]:
    """The id under which `content` now waits in storage. Raises ApiProblem (413: too large), TransferFailed."""
    # Asking twice for a link does no harm: one that is never used just runs out.
    asked = encoded({"bytes": len(content)}, "the upload")
    request = service.request("POST", "/uploads", headers=JSON, content=asked, harmless_twice=True)
    slot = (yield from service.ask(request)).parse(Upload)
    # The link is its own permission. Our key stays here.
    yield from service.transfer("upload", Send(slot.method, slot.url, {}, slot.headers, content, harmless_twice=True))
    return slot.upload_id


JSON = {"Content-Type": "application/json"}
