"""The floor: the least that any launch must do, with nothing verified. One key look-up, one nonce, one person upsert
and one launch row in one transaction, then the redirect: four statements, BEGIN and COMMIT. Over LTI 1.3 the same after
one RS256 verification."""

import os
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from lti.v1p3 import vocabulary as names

CLIENT_ID = "bench-client"
TABLES = """
    CREATE TABLE bare_key (id serial PRIMARY KEY, consumer_key text UNIQUE NOT NULL, secret text NOT NULL);
    CREATE TABLE bare_nonce (key_id integer, nonce text, at timestamptz DEFAULT now(), PRIMARY KEY (key_id, nonce));
    CREATE TABLE bare_person (id serial PRIMARY KEY, key_id integer, lms_user_id text, name text, email text,
        UNIQUE (key_id, lms_user_id));
    CREATE TABLE bare_launch (id uuid PRIMARY KEY, key_id integer, person_id integer, resource_link_id text, roles text,
        at timestamptz DEFAULT now());
"""


def launch(request: HttpRequest) -> HttpResponse:
    form = request.POST
    return _take_in(
        form["oauth_consumer_key"],
        form["oauth_nonce"],
        (form["user_id"], form["lis_person_name_full"], form["lis_person_contact_email_primary"]),
        form["resource_link_id"],
        form["roles"],
    )


def launch_1p3(request: HttpRequest) -> HttpResponse:
    claims = jwt.decode(request.POST["id_token"], _public_key(), algorithms=["RS256"], audience=CLIENT_ID)
    return _take_in(
        CLIENT_ID,
        claims["nonce"],
        (claims["sub"], claims["name"], claims["email"]),
        claims[names.RESOURCE_LINK]["id"],
        " ".join(claims[names.ROLES]),
    )


@lru_cache(maxsize=1)
def _public_key() -> Any:
    return load_pem_public_key(Path(os.environ["BARE_PUBLIC_KEY"]).read_bytes())


def _take_in(key: str, nonce: str, person: tuple[str, str, str], link: str, roles: str) -> HttpResponse:
    launch_id = uuid.uuid4()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id, secret FROM bare_key WHERE consumer_key = %s", [key])
        key_id, _secret = cursor.fetchone()
        cursor.execute("INSERT INTO bare_nonce (key_id, nonce) VALUES (%s, %s)", [key_id, nonce])
        cursor.execute(
            "INSERT INTO bare_person (key_id, lms_user_id, name, email) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (key_id, lms_user_id) DO UPDATE SET name = EXCLUDED.name, email = EXCLUDED.email RETURNING id",
            [key_id, *person],
        )
        person_id = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO bare_launch (id, key_id, person_id, resource_link_id, roles) VALUES (%s, %s, %s, %s, %s)",
            [str(launch_id), key_id, person_id, link, roles],
        )
    response = HttpResponseRedirect(f"/launches/{launch_id}/")
    response.headers["Content-Length"] = "0"
    response.set_cookie("browser", launch_id.hex, secure=True, httponly=True, samesite="None")
    return response


urlpatterns = [path("lti/v1", launch), path("lti/1p3", launch_1p3)]

if os.environ.get("DJANGO_SETTINGS_MODULE") == "bench.bare_settings":
    application = get_wsgi_application()
