# syntax=docker/dockerfile:1
# One image for web, worker, beat and migrations; docker-compose.yml says which is which.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
COPY requirements/base.txt /tmp/base.txt
# Every package is a wheel with a pinned hash: no compiler is needed, and nothing else can be installed.
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/base.txt

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 platform \
    && useradd --uid 10001 --gid platform --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin platform
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
# Settings refuse to start without keys; these live for this one command only.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
    FIELD_ENCRYPTION_KEYS="$(python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')" \
    python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q . \
    && chown platform:platform var
USER platform
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["python", "deploy/web_is_ready.py"]
CMD ["gunicorn", "lti_platform.wsgi"]
