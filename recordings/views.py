"""Where meeting servers tell us what happens (contract §3)."""

from uuid import UUID

import structlog
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from recordings.meeting_server import WebhookRefused
from recordings.receiving import LARGEST_BODY, receive, server_for_webhook

logger = structlog.get_logger(__name__)


@csrf_exempt
@require_POST
def webhook(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Keeps a signed webhook: 200. One text for all that is not believed (401), whatever was wrong with it."""
    server = server_for_webhook(server_id)
    if server is None:
        raise Http404
    body = request.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        return HttpResponse("A webhook has at most 256 KiB.\n", status=413, content_type="text/plain")
    try:
        is_new = receive(server, request.headers, body)
    except WebhookRefused as refused:
        logger.warning("meeting_webhook_refused", server=str(server.pk), code=refused.code)
        return HttpResponse(
            "Not a webhook that is signed with this server's API key and secret.\n",
            status=401,
            content_type="text/plain",
        )
    return HttpResponse("Kept.\n" if is_new else "Known.\n", content_type="text/plain")
