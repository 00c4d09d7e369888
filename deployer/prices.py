"""What a node costs an hour. Pure; nothing is asked of the outside.

Source: the Azure Retail Prices API (pay-as-you-go, Linux, East US, US dollars), as published in November 2026. Prices differ
by region, contract, reservation and spot market: ``SLIPWAY_PRICES__PER_HOUR`` says yours, in whatever currency you name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

LISTED: Mapping[str, float] = {
    "Standard_NC4as_T4_v3": 0.526,
    "Standard_NC8as_T4_v3": 0.752,
    "Standard_NC16as_T4_v3": 1.204,
    "Standard_NC64as_T4_v3": 4.352,
    "Standard_NV6ads_A10_v5": 0.454,
    "Standard_NV12ads_A10_v5": 0.908,
    "Standard_NV18ads_A10_v5": 1.6,
    "Standard_NV36ads_A10_v5": 3.2,
    "Standard_NC24ads_A100_v4": 3.673,
    "Standard_NC48ads_A100_v4": 9.554,
    "Standard_NC96ads_A100_v4": 19.108,
    "Standard_NC40ads_H100_v5": 6.98,
    "Standard_NC80adis_H100_v5": 17.64,
    "Standard_D2s_v5": 0.096,
    "Standard_D4s_v5": 0.192,
    "Standard_D8s_v5": 0.384,
    "Standard_D2s_v3": 0.096,
    "Standard_D4s_v3": 0.192,
    "Standard_DS2_v2": 0.146,
}


@dataclass(frozen=True)
class Prices:
    """Prices of nodes by VM size, without regard to case: those given before those listed."""

    per_hour: Mapping[str, float]
    currency: str = "USD"

    def of(self, size: str) -> float | None:
        """The price of one node of this size for an hour; None where nobody has said."""
        wanted = size.casefold()
        for table in (self.per_hour, LISTED):
            for name, price in table.items():
                if name.casefold() == wanted:
                    return price
        return None
