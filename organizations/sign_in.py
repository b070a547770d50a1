"""Direct sign-in: for owners, teachers and operators. Nobody signs up by themselves."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Members are invited by an owner; operators are made by `createsuperuser`."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
