from django.apps import AppConfig


class GradesConfig(AppConfig):
    name = "grades"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from events.senders import register
        from grades.outbox import KIND
        from grades.passback import GradeSender

        register(KIND, GradeSender())
