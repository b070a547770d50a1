"""Static files: hashed names where `collectstatic` ran, plain ones where it did not."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ForgivingManifestStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's manifest storage that serves a file by its plain name when the manifest does not know it.

    A missing `collectstatic` costs far-future caching, never a page.
    """

    def stored_name(self, name: str) -> str:
        try:
            return str(super().stored_name(name))
        except ValueError:
            return name
