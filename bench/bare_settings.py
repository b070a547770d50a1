"""Settings of the floor: Django, PostgreSQL, one view, and nothing else."""

import os

import environ

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "bench.bare"
MIDDLEWARE: list[str] = []
INSTALLED_APPS: list[str] = []
DATABASES = {"default": {**environ.Env().db_url_config(os.environ["DATABASE_URL"]), "CONN_MAX_AGE": 60}}
USE_TZ = True
