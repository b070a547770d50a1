"""Types of single values in answers."""

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

# A decimal as a JSON number (two decimal places at most, which a double holds exactly enough).
Number = Annotated[Decimal, PlainSerializer(float, return_type=float), WithJsonSchema({"type": "number"})]
