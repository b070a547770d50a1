"""Two owners set up meeting servers at the same moment: one default, each name once."""

import threading

import pytest
from django.db import connection

from recordings.connecting import ServerError, change_server, make_server
from recordings.models import MeetingServer
from tests.factories import MeetingServerFactory, OrganizationFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]
VALUES = {"kind": "sandbox", "url": "https://meet.example", "api_key": "key", "api_secret": "secret"}


def at_once(deeds):
    """What each deed returned or raised."""
    barrier, results = threading.Barrier(len(deeds)), []

    def work(deed):
        barrier.wait()
        try:
            results.append(deed())
        except ServerError as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_first_servers_of_an_organization():
    organization = OrganizationFactory()
    names = ["a", "b", "c", "c"]
    results = at_once([lambda name=name: make_server(organization, name=name, **VALUES) for name in names])
    assert sorted(organization.meeting_servers.values_list("name", flat=True)) == ["a", "b", "c"]
    assert organization.meeting_servers.filter(is_default=True).count() == 1
    assert [error.taken for error in results if isinstance(error, ServerError)] == [True]


def test_each_is_made_the_default():
    organization = OrganizationFactory()
    servers = MeetingServerFactory.create_batch(4, organization=organization)
    results = at_once([lambda server=server: change_server(server, is_default=True) for server in servers])
    assert len(results) == 4
    assert not any(isinstance(result, ServerError) for result in results)
    assert MeetingServer.objects.filter(organization=organization, is_default=True).count() == 1
