"""Settings of the demo LMS. `demo_lms.run` sets the environment; nothing here is meant for the open internet."""

from urllib.parse import urlsplit

import environ

from demo_lms.environment import BASE_DIR, own_url

env = environ.Env()

DEBUG = False
SECRET_KEY = env.str("DEMO_LMS_SECRET_KEY")
ALLOWED_HOSTS = [urlsplit(own_url()).hostname, "127.0.0.1", "localhost"]

INSTALLED_APPS = ["django.contrib.staticfiles", "django.contrib.humanize", "demo_lms"]
MIDDLEWARE = [
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "demo_lms.urls"
WSGI_APPLICATION = "demo_lms.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "demo_lms.views.page_context",
            ]
        },
    }
]

# Who is chosen is all that a session holds. The names differ from the platform's, since ports share cookies.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_NAME = "demo_lms_session"
CSRF_COOKIE_NAME = "demo_lms_csrf"
# Launch pages, the way back and the content application are shown in this LMS's own frames.
X_FRAME_OPTIONS = "SAMEORIGIN"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TZ", default="") or "UTC"
USE_TZ = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
