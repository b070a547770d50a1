from django.apps import AppConfig


class DemoLmsConfig(AppConfig):
    name = "demo_lms"
    verbose_name = "Demo LMS"
