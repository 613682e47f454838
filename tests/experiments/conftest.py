"""The providers' own files, as the tests of the data room find them."""

from tests.data.conftest import provider_data

__all__ = ["provider_data"]
