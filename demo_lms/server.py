"""gunicorn's settings for the demo LMS. Threads, because a slow outcome service must not stop the pages."""

wsgi_app = "demo_lms.wsgi"
workers = 1
worker_class = "gthread"
threads = 16
timeout = 150
keepalive = 75
graceful_timeout = 2
control_socket_disable = True
