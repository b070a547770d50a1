"""The WSGI application of the demo LMS."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_lms.settings")
application = get_wsgi_application()
