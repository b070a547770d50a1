from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from events import key_events, receivers  # noqa: F401 - connects them
        from events.fan_out import KIND
        from events.senders import register
        from events.webhooks import WebhookSender

        register(KIND, WebhookSender())
