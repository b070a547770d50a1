"""What happens in this room that rooms above it act on (imports go down, never up).

Receivers run in the sender's transaction.
"""

from django.dispatch import Signal

# A shared secret was shown: key (LtiKey), actor (User), reason (str).
secret_revealed = Signal()
# A second secret was made for a key: key (LtiKey), actor (User or None), overlap_seconds (int).
secret_reset = Signal()
# An owner allowed a service host: installation (Installation), host (str), actor (User).
service_host_allowed = Signal()
# An LTI 1.3 registration was made: registration (Registration), actor (User or None: the LMS itself, or a file).
registration_created = Signal()
# A person who comes from an LMS got a sign-in of their own, or gave it up: person (Person), signs_in (bool).
own_sign_in_changed = Signal()
# A new key will sign for an organization: tool_key (ToolKey).
tool_key_rotated = Signal()
