"""Settings, from the environment (docs/settings.md lists them)."""

import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
# Where the embedded default keeps its files: database, queue, collected static files.
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS", default=[])
if DEBUG and not SECRET_KEY:
    SECRET_KEY = "insecure-key-for-debugging-only"  # noqa: S105 - refused below unless DEBUG is on
if DEBUG and not FIELD_ENCRYPTION_KEYS:
    FIELD_ENCRYPTION_KEYS = ["aW5zZWN1cmUta2V5LWZvci1kZWJ1Z2dpbmctb25seSE="]
if not DEBUG and (len(SECRET_KEY) < 32 or "insecure" in SECRET_KEY):
    raise ImproperlyConfigured(
        "SECRET_KEY is missing, too short or a default one. Set it to at least 32 random characters "
        "(python -c 'import secrets; print(secrets.token_urlsafe(50))'), or set DEBUG=true on a laptop."
    )
if not FIELD_ENCRYPTION_KEYS:
    raise ImproperlyConfigured(
        "FIELD_ENCRYPTION_KEYS is missing. Set it to a comma list of Fernet keys, the first of which encrypts "
        "(python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')."
    )

# The public URL that LMSs sign against and that every link starts with.
BASE_URL = (env.str("BASE_URL", default="") or "http://localhost:8000").rstrip("/")
_base = urlsplit(BASE_URL)
if _base.scheme not in ("http", "https") or not _base.hostname or _base.path or _base.query:
    raise ImproperlyConfigured("BASE_URL must be scheme://host[:port], without a path.")
SECURE = _base.scheme == "https"
# Empty counts as left out, here and below: docker-compose.yml passes every name on.
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or [_base.hostname, "localhost", "127.0.0.1"]
CSRF_TRUSTED_ORIGINS = [BASE_URL]
# Addresses or networks of reverse proxies whose X-Forwarded-* headers are believed.
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])

LTI_TIMESTAMP_WINDOW = env.int("LTI_TIMESTAMP_WINDOW", default=300)
if not 0 < LTI_TIMESTAMP_WINDOW <= 5400:
    raise ImproperlyConfigured("LTI_TIMESTAMP_WINDOW must be 1 to 5400 seconds (A15: 90 minutes at most).")
OUTBOUND_ALLOW_HTTP = env.bool("OUTBOUND_ALLOW_HTTP", default=False)
OUTBOUND_ALLOWED_PRIVATE_HOSTS = env.list("OUTBOUND_ALLOWED_PRIVATE_HOSTS", default=[])
LAUNCH_LOG_DAYS = env.int("LAUNCH_LOG_DAYS", default=30)
DELIVERY_LOG_DAYS = env.int("DELIVERY_LOG_DAYS", default=90)
REFUSED_LAUNCHES_PER_MINUTE = env.int("REFUSED_LAUNCHES_PER_MINUTE", default=120)
API_REQUESTS_PER_MINUTE = env.int("API_REQUESTS_PER_MINUTE", default=6000)  # of one token
DELIVERY_FIRST_RETRY_SECONDS = env.float("DELIVERY_FIRST_RETRY_SECONDS", default=30)
DELIVERY_MAX_AGE_HOURS = env.float("DELIVERY_MAX_AGE_HOURS", default=72)
DELIVERY_LEASE_SECONDS = env.float("DELIVERY_LEASE_SECONDS", default=60)
# Whether events are held to their description (events/event_types.py). Not in production, where a slip in a
# description must not keep the change from happening that the event tells of.
EVENT_DATA_CHECKED = DEBUG
DELIVERY_HOST_LIMIT = env.int("DELIVERY_HOST_LIMIT", default=60)  # under way to one host, over all workers
if DELIVERY_HOST_LIMIT < 1:
    raise ImproperlyConfigured("DELIVERY_HOST_LIMIT must be at least 1, or nothing is ever sent.")
LOG_FORMAT = env.str("LOG_FORMAT", default="") or ("console" if DEBUG else "json")
SENTRY_DSN = env.str("SENTRY_DSN", default="")

INSTALLED_APPS = [
    # Before the admin, whose templates they replace.
    "unfold.apps.BasicAppConfig",  # the site is ours
    "unfold.contrib.filters",
    "organizations.admin_site.PlatformAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "axes",
    "csp",
    "django_structlog",
    "ninja",
    "organizations",
    "events",
    "courses",
    "grades",
    "recordings",
    "launches",
    "api",
    "lti_platform",
]

MIDDLEWARE = [
    "lti_platform.observation.ObservationMiddleware",
    "lti_platform.middleware.TrustedProxyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "lti_platform.middleware.PartitionedCookieMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "lti_platform.middleware.PagePolicyMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "lti_platform.urls"
WSGI_APPLICATION = "lti_platform.wsgi.application"
# A launch URL is signed to the letter, and a redirect would turn its POST into a GET (A1).
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASE_URL = env.str("DATABASE_URL", default="") or f"sqlite:///{VAR_DIR / 'platform.sqlite3'}"
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # One file for web and worker: WAL lets readers work beside the one writer, and IMMEDIATE makes writers queue up
    # instead of failing half-way.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
    }
    if DATABASES["default"]["NAME"] != ":memory:":
        Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
else:
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        DATABASES["default"]["ENGINE"] = "lti_platform.postgresql"
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "lti_platform.cache.ForgivingRedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# The queue only wakes workers up; what there is to do is in our tables. No results are kept.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object]
if CELERY_BROKER_URL:
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 5, "visibility_timeout": 3600}
else:
    CELERY_BROKER_URL = "filesystem://"
    _queue = VAR_DIR / "queue"
    for _folder in ("messages", "control"):
        (_queue / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue / "messages"),
        "data_folder_out": str(_queue / "messages"),
        "control_folder": str(_queue / "control"),
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Acknowledged on receipt: a wake-up that dies with its worker is made up for by the next one, while a late
# acknowledgement to a Redis that went away meanwhile leaves the worker deaf.
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_POOL = "threads"
# One of them sends grades; those that wait for an LMS's roster or for meeting servers must leave it a place.
CELERY_WORKER_CONCURRENCY = env.int("WORKER_THREADS", default=8)
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "deliver what a lost wake-up left behind": {"task": "events.deliver_due", "schedule": 10.0},
    "forget what is past its age": {"task": "launches.purge", "schedule": 3600.0},
    "send mails that are due": {"task": "events.send_mails", "schedule": 60.0},
    "write digests of failed grades": {"task": "grades.write_digests", "schedule": 600.0},
    "read rosters that are due": {"task": "courses.refresh_rosters", "schedule": 60.0},
    "process what meeting servers told": {"task": "recordings.process_webhooks", "schedule": 10.0},
    "grade attendance that has changed": {"task": "recordings.grade_attendance", "schedule": 30.0},
    "tell meeting servers of titles and deletions": {"task": "recordings.carry_out", "schedule": 30.0},
    "ask meeting servers what webhooks missed": {"task": "recordings.reconcile", "schedule": 60.0},
    "delete recordings that are past their days": {"task": "recordings.tidy", "schedule": 3600.0},
}

AUTH_USER_MODEL = "organizations.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "organizations.sign_in.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = "strict"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
# Members' addresses are vouched for by whoever added them; nobody signs up by themselves.
MFA_ALLOW_UNVERIFIED_EMAIL = True
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "login"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_IPWARE_PROXY_COUNT = 0
SILENCED_SYSTEM_CHECKS = [
    "axes.W003",  # our backend stands first where it counts
    "security.W005",  # other subdomains and the preload list are the domain owner's to decide, not this application's
    "security.W021",
    "security.W008",  # a redirect to https would turn a launch's POST into a GET (A1); the proxy does it for pages
]

UNFOLD = {
    "SITE_TITLE": "LTI platform",
    "SITE_HEADER": "organizations.navigation.site_header",
    "SITE_SUBHEADER": "organizations.navigation.site_subheader",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "organizations.navigation.icon"}],
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": ["organizations.navigation.stylesheet"],
    "SCRIPTS": ["organizations.navigation.script"],
    "SIDEBAR": {"navigation": "organizations.navigation.sidebar"},
    "COLORS": {
        "primary": {
            "50": "#eff6ff",
            "100": "#dbeafe",
            "200": "#bfdbfe",
            "300": "#93c5fd",
            "400": "#60a5fa",
            "500": "#3b82f6",
            "600": "#1d5fd1",
            "700": "#1a4fb0",
            "800": "#1a438f",
            "900": "#1b3a75",
            "950": "#142549",
        },
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
_testing = "pytest" in sys.modules
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or _testing
        else "lti_platform.static_files.ForgivingManifestStorage"
    },
}
WHITENOISE_USE_FINDERS = True
# Nothing collected is nothing to warn of: the finders have everything.
warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_SECURE = SECURE
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = SECURE
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "lti_platform.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if SECURE else 0
# Pages opened from an LMS must keep their opener: a new window tells the frame that it is done.
SECURE_CROSS_ORIGIN_OPENER_POLICY = None
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "https:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://" if DEBUG else "dummymail://")
vars().update(EMAIL_CONFIG)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="") or f"no-reply@{_base.hostname}"

NINJA_PAGINATION_MAX_LIMIT = 500
DJANGO_STRUCTLOG_CELERY_ENABLED = True

from lti_platform.logging import configure_logging  # noqa: E402 - needs nothing of the above, but must run after it

LOGGING_CONFIG = None
configure_logging(LOG_FORMAT, env.str("LOG_LEVEL", default="") or "INFO")

if SENTRY_DSN:
    import sentry_sdk

    from lti_platform.logging import redact_sentry_event

    sentry_sdk.init(
        dsn=SENTRY_DSN, send_default_pii=False, before_send=redact_sentry_event, max_request_body_size="never"
    )
